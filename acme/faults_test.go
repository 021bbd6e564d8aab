package acme_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"certd/acme"
	"certd/acme/acmetest"
)

// TestFaults obtains a certificate from a CA that misbehaves in each way of the
// table, and looks at the error.
func TestFaults(t *testing.T) {
	t.Parallel()
	var g errgroup.Group
	g.SetLimit(16) // most of them wait
	for _, f := range acmetest.Faults() {
		g.Go(func() error {
			runFault(t, f)
			return nil
		})
	}
	_ = g.Wait() // always nil: failures are the test's
}

// runFault is TestFaults for one fault.
func runFault(t *testing.T, f acmetest.Fault) {
	ca, err := acmetest.NewFaulty(acmetest.FaultyOptions{Faults: []acmetest.Fault{f}})
	if err != nil {
		t.Errorf("%s: %v", f.Name, err)
		return
	}
	defer ca.Close()
	patience, timeout := 2*time.Minute, 30*time.Second
	if f.Endless {
		patience, timeout = 3*time.Second, 300*time.Millisecond
	}
	if f.Endless && f.Class == acme.ClassWait { // it answers, and a busy machine must not look like silence
		patience, timeout = 10*time.Second, 10*time.Second
	}
	c, err := acme.New(acme.Options{Name: "test", Directory: ca.URL(), Key: newKey(t), RootsPEM: ca.RootsPEM(), Timeout: timeout})
	if err != nil {
		t.Errorf("%s: %v", f.Name, err)
		return
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	checkFault(t, f, endure(ctx, c))
	if strays := ca.Strays(); len(strays) > 0 {
		t.Errorf("%s: requests went astray: %v", f.Name, strays)
	}
}

// endure registers an account and obtains a certificate.
func endure(ctx context.Context, c *acme.Client) error {
	if _, err := c.Register(ctx, nil, nil); err != nil {
		return err
	}
	chain, _, err := obtain(ctx, c, nil, acme.OrderSpec{Identifiers: identifiers("www.example.com", "example.com")})
	if err != nil {
		return err
	}
	for _, url := range chain.Alternates {
		if _, err := c.Certificate(ctx, url); err != nil {
			return err
		}
	}
	return nil
}

// checkFault fails the test unless err is what f must lead to.
func checkFault(t *testing.T, f acmetest.Fault, err error) {
	t.Helper()
	switch {
	case err == nil:
		if f.Terminal && !f.Acceptance && !f.Optional {
			t.Errorf("%s: %s, and nobody noticed", f.Name, f.Doc)
		}
		return
	case f.Acceptance:
		return // noticed sooner than it must be
	case !f.Terminal && !f.Optional:
		t.Errorf("%s: got %v, want the certificate nevertheless", f.Name, err)
	}
	if f.Endless && errors.Is(err, context.DeadlineExceeded) {
		return
	}
	p, ok := errors.AsType[*acme.Problem](err)
	if !ok {
		t.Errorf("%s: got %v, want a *Problem", f.Name, err)
		return
	}
	if f.Class != "" && p.Class != f.Class {
		t.Errorf("%s: got class %s of %v, want %s", f.Name, p.Class, err, f.Class)
	}
	if p.CA != "test" || p.Operation == "" || strings.ContainsAny(err.Error(), "\n\r\x1b\x00") || len(err.Error()) > 4096 {
		t.Errorf("%s: got %q, want one clean line that names CA and operation", f.Name, err)
	}
}
