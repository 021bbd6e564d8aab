package issue

import (
	"context"
	"crypto/elliptic"
	"errors"
	"fmt"
	"sync"
	"testing"

	"certd/acme"
	"certd/acme/acmetest"
)

// A standing solver's answer is there already; Prepared waits until several names
// were asked about.
type standing struct {
	*solver
	prepared func(ctx context.Context) error
}

func (s standing) Prepared(ctx context.Context, _ acme.Identifier, _ acme.Challenge) error {
	return s.prepared(ctx)
}

// Preparers are asked about the names of an order together, but not about all at once.
func TestPreparedTogether(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{AlwaysValid: true})
	b := &bench{t: t, ca: ca, account: ecKey(t, elliptic.P256()), solver: newSolver(), disk: newDisk()}
	b.register()
	var mu sync.Mutex
	met := make(chan struct{})
	now, most, asked := 0, 0, 0
	i := b.issuer()
	i.Solvers = map[string]Solver{"http-01": standing{b.solver, func(ctx context.Context) error {
		mu.Lock()
		now++
		most = max(most, now)
		if asked++; asked == parallel {
			close(met)
		}
		mu.Unlock()
		select {
		case <-met:
		case <-ctx.Done():
			return ctx.Err()
		}
		mu.Lock()
		defer mu.Unlock()
		now--
		return nil
	}}}
	var names []string
	for n := range 2 * parallel {
		names = append(names, fmt.Sprintf("n%d.example.com", n))
	}
	if _, err := i.Issue(t.Context(), b.request(names...)); err != nil {
		t.Fatalf("issue: %v", err)
	}
	if most != parallel {
		t.Errorf("%d names were looked up at once, want %d", most, parallel)
	}
}

// An order is not given up because the pass ends while a Preparer looks.
func TestPreparedCutOff(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{AlwaysValid: true})
	b := &bench{t: t, ca: ca, account: ecKey(t, elliptic.P256()), solver: newSolver(), disk: newDisk()}
	b.register()
	ctx, cancel := context.WithCancel(t.Context())
	i := b.issuer()
	i.Solvers = map[string]Solver{"http-01": standing{b.solver, func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}}}
	if _, err := i.Issue(ctx, b.request("a.example.com")); !errors.Is(err, context.Canceled) {
		t.Fatalf("the error is %v, want the cancellation", err)
	}
	open, ok := b.disk.open()
	if !ok {
		t.Fatal("the order is not journaled any more")
	}
	again := b.request("a.example.com")
	again.Open = open
	if _, err := b.issuer().Issue(t.Context(), again); err != nil {
		t.Fatalf("go on with the order: %v", err)
	}
}
