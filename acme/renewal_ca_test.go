package acme_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
)

// TestRenewalInfoOfPebble: the window of a real certificate, by a client without
// an account, and what it is after it was moved, spoilt and replaced.
func TestRenewalInfoOfPebble(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{AlwaysValid: true, NonceReject: 40})
	c := registered(t, ca)
	names := identifiers("a.test", "b.test")
	chain, _, err := obtain(t.Context(), c, nil, acme.OrderSpec{Identifiers: names})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(chain.DER[0])
	if err != nil {
		t.Fatal(err)
	}
	id, err := acme.CertID(leaf)
	if err != nil {
		t.Fatal(err)
	}
	anybody := newClient(t, ca, func(o *acme.Options) { o.Key = nil })
	info, err := anybody.RenewalInfo(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if info.RetryAfter != 6*time.Hour || info.Start.Before(leaf.NotBefore) || info.End.After(leaf.NotAfter) {
		t.Errorf("the window is %+v of a certificate from %v to %v", info, leaf.NotBefore, leaf.NotAfter)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})
	start := time.Now().UTC().Truncate(time.Second)
	ca.SetWindowT(t, certPEM, start, start.Add(time.Hour), "https://ca.example/why")
	if info, err = anybody.RenewalInfo(t.Context(), id); err != nil || !info.Start.Equal(start) || info.Explanation != "https://ca.example/why" {
		t.Errorf("after the window was moved it is %+v, %v", info, err)
	}
	if err := ca.SetRenewalInfo(certPEM, "no JSON"); err != nil {
		t.Fatal(err)
	}
	if _, err := anybody.RenewalInfo(t.Context(), id); !acme.LastingRenewalError(err) {
		t.Errorf("a spoilt window is %v, want an error that lasts", err)
	}
	p, _ := errors.AsType[*acme.Problem](noInfo(t, anybody, "AQ.AQ"))
	if p == nil || p.Status != http.StatusBadRequest || p.Operation != "ari" {
		t.Errorf("another CA's certificate is %+v, want a refusal of the operation ari", p)
	}

	order, err := c.NewOrder(t.Context(), acme.OrderSpec{Identifiers: names, Replaces: id})
	if err != nil || order.Replaces != id {
		t.Fatalf("an order that replaces %s: %+v, %v", id, order, err)
	}
}

func noInfo(t *testing.T, c *acme.Client, id string) error {
	t.Helper()
	_, err := c.RenewalInfo(t.Context(), id)
	return err
}

// TestScriptedRenewal: the scripted CA offers renewal information and refuses to
// replace what it is told to refuse.
func TestScriptedRenewal(t *testing.T) {
	t.Parallel()
	ca, err := acmetest.NewFaulty(acmetest.FaultyOptions{Renewal: &acmetest.Renewal{
		Info: func(certID string) (int, http.Header, string) {
			return http.StatusOK, http.Header{"Retry-After": {"60"}}, acmetest.Window(time.Now(), time.Now().Add(time.Hour), "https://ca.example/"+certID)
		},
		Refuse: func(certID string) *acme.Problem {
			if certID == "AQ.Ag" {
				return &acme.Problem{Status: http.StatusConflict, Type: "alreadyReplaced", Detail: "replaced"}
			}
			return nil
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	c := registered(t, ca)
	info, err := c.RenewalInfo(t.Context(), "AQ.AQ")
	if err != nil || info.Explanation != "https://ca.example/AQ.AQ" || info.RetryAfter != time.Minute {
		t.Errorf("renewal information is %+v, %v", info, err)
	}
	order, err := c.NewOrder(t.Context(), acme.OrderSpec{Identifiers: identifiers("a.test"), Replaces: "AQ.AQ"})
	if err != nil || order.Replaces != "AQ.AQ" {
		t.Errorf("the order is %+v, %v, want it to replace AQ.AQ", order, err)
	}
	_, err = c.NewOrder(t.Context(), acme.OrderSpec{Identifiers: identifiers("a.test"), Replaces: "AQ.Ag"})
	if p, ok := errors.AsType[*acme.Problem](err); !ok || p.Status != http.StatusConflict || p.Type != "alreadyReplaced" {
		t.Errorf("replacing what is replaced gave %v, want 409 alreadyReplaced", err)
	}
}
