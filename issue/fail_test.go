package issue

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
)

// fail issues req, which must fail with class, and returns the error.
func (b *bench) fail(issuer *Issuer, ctx context.Context, req Request, class acme.Class) error {
	b.t.Helper()
	_, err := issuer.Issue(ctx, req)
	if err == nil {
		b.t.Fatalf("a certificate was issued")
	}
	if _, ok := errors.AsType[*acme.Problem](err); !ok {
		b.t.Errorf("the error is no Problem: %v", err)
	}
	if acme.ClassOf(err) != class {
		b.t.Errorf("the error is %s, want %s: %v", acme.ClassOf(err), class, err)
	}
	if left := b.solver.left(); len(left) > 0 {
		b.t.Errorf("left behind for %v", left)
	}
	return err
}

// statuses of the authorizations of the order at url, sorted.
func (b *bench) statuses(url string) []acme.Status {
	b.t.Helper()
	client := b.client()
	order, err := client.Order(b.t.Context(), url)
	if err != nil {
		b.t.Fatal(err)
	}
	var all []acme.Status
	for _, url := range order.Authorizations {
		authz, err := client.Authorization(b.t.Context(), url)
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, authz.Status)
	}
	slices.Sort(all)
	return all
}

func TestFailedNamesAreAllNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	b.solver.wrong = map[string]bool{"a.example.com": true, "c.example.com": true}
	err := b.fail(b.issuer(), t.Context(), b.request("a.example.com", "b.example.com", "c.example.com"), acme.ClassName)
	for _, name := range []string{"a.example.com", "c.example.com"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s failed and is not named: %v", name, err)
		}
	}
	if strings.Contains(err.Error(), "b.example.com") {
		t.Errorf("b.example.com did not fail and is named: %v", err)
	}
	if !strings.Contains(err.Error(), "did not match this challenge") {
		t.Errorf("the CA's own words are missing: %v", err)
	}
	if len(b.disk.closed) != 1 || len(b.disk.orders) != 0 {
		t.Errorf("the order that can't go on is still journaled: %v", b.disk.orders)
	}
}

func TestPendingAuthorizationsAreDeactivated(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	b.fail(b.issuer(), t.Context(), b.request("*.example.com", "a.example.com", "b.example.com"), acme.ClassOperator)
	if len(b.disk.closed) != 1 {
		t.Fatalf("closed orders: %v, want one", b.disk.closed)
	}
	want := slices.Repeat([]acme.Status{acme.StatusDeactivated}, 3)
	if got := b.statuses(b.disk.closed[0].URL); !slices.Equal(got, want) {
		t.Errorf("the authorizations are %v, want %v", got, want)
	}
}

func TestGiveUp(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	open := b.pendingOrder(b.request("a.example.com", "b.example.com"))
	if err := b.issuer().GiveUp(t.Context(), open); err != nil {
		t.Fatal(err)
	}
	want := slices.Repeat([]acme.Status{acme.StatusDeactivated}, 2)
	if got := b.statuses(open.URL); !slices.Equal(got, want) || len(b.disk.orders) != 0 {
		t.Errorf("the authorizations are %v, want %v; the journal has %v", got, want, b.disk.orders)
	}
	if err := b.issuer().GiveUp(t.Context(), acme.OpenOrder{}); err != nil {
		t.Errorf("giving up an intent: %v", err)
	}
}

func TestSolverFailures(t *testing.T) {
	t.Parallel()
	broken := errors.New("port 80 is in use")
	tests := []struct {
		name  string
		spoil func(s *solver)
		words string
	}{
		{"present", func(s *solver) {
			s.present = func(id acme.Identifier) error {
				if id.Value == "b.example.com" {
					return broken
				}
				return nil
			}
		}, "b.example.com: present http-01: port 80 is in use"},
		{"self-test", func(s *solver) {
			s.wait = func(_ context.Context, name string) error {
				if name == "b.example.com" {
					return broken
				}
				return nil
			}
		}, "b.example.com: self-test http-01: port 80 is in use"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, acmetest.Options{})
			tt.spoil(b.solver)
			err := b.fail(b.issuer(), t.Context(), b.request("a.example.com", "b.example.com"), acme.ClassName)
			p, _ := errors.AsType[*acme.Problem](err)
			if p.Identifier.Value != "b.example.com" || !errors.Is(err, broken) || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("the error is about %q: %v; want it to say %q", p.Identifier.Value, err, tt.words)
			}
			if n := b.count("challenge"); n != 0 {
				t.Errorf("the CA was told of %d challenges", n)
			}
			b.solver.present, b.solver.wait = nil, nil
			b.goOn(b.request("a.example.com", "b.example.com"), 0)
		})
	}
}

func TestSelfTestCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	b.solver.wait = func(context.Context, string) error { return errors.New("should not have been called") }
	req := b.request("a.example.com")
	req.SelfTest = false
	b.must(req)
}

func TestCleanUpFailureDoesNotCostTheCertificate(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	b.solver.cleanUp = errors.New("file is immutable")
	cert := b.must(b.request("a.example.com"))
	if !errors.Is(cert.CleanUp, b.solver.cleanUp) || !strings.Contains(cert.CleanUp.Error(), "a.example.com") {
		t.Errorf("the leftover is told as %v", cert.CleanUp)
	}
	b.solver.wrong = map[string]bool{"a.example.com": true}
	if err := b.fail(b.issuer(), t.Context(), b.request("a.example.com"), acme.ClassName); !errors.Is(err, b.solver.cleanUp) {
		t.Errorf("the leftover is not told with the failure: %v", err)
	}
}

func TestCancellationCleansUp(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	b.solver.wait = func(ctx context.Context, _ string) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	err := b.fail(b.issuer(), ctx, b.request("a.example.com", "b.example.com"), acme.ClassTransient)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error does not tell of the cancellation: %v", err)
	}
	open, ok := b.disk.open()
	if !ok {
		t.Fatalf("the order is not journaled")
	}
	want := slices.Repeat([]acme.Status{acme.StatusPending}, 2)
	if got := b.statuses(open.URL); !slices.Equal(got, want) {
		t.Errorf("the authorizations are %v, want %v", got, want)
	}
	b.solver.wait = nil
	b.goOn(b.request("a.example.com", "b.example.com"), 0)
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	issuer := b.issuer()
	issuer.Timeout = 5 * time.Second // to get as far as the solver on a busy machine
	b.solver.wait = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
	err := b.fail(issuer, t.Context(), b.request("a.example.com"), acme.ClassTransient)
	if !strings.Contains(err.Error(), "no certificate within 5s") {
		t.Errorf("the error does not tell of the timeout: %v", err)
	}
	b.solver.wait = nil
	b.goOn(b.request("a.example.com"), 0)
}

func TestPanicOfASolverIsTheCallers(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	b.solver.wait = func(context.Context, string) error { panic("solver") }
	defer func() {
		if p := recover(); p != "solver" {
			t.Errorf("recovered %v, want the solver's panic", p)
		}
		if left := b.solver.left(); len(left) > 0 {
			t.Errorf("left behind for %v", left)
		}
	}()
	_, err := b.issuer().Issue(t.Context(), b.request("a.example.com"))
	t.Errorf("no panic but %v", err)
}

func TestRefusedOrdersLeaveNoIntent(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{Blocklist: []string{"a.example.com"}})
	err := b.fail(b.issuer(), t.Context(), b.request("a.example.com"), acme.ClassName)
	if b.disk.intent != nil || len(b.disk.orders) > 0 {
		t.Errorf("the journal has %v and %v after %v", b.disk.intent, b.disk.orders, err)
	}
}

func TestOrderOfAnotherTarget(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	req := b.request("a.example.com")
	req.Claim = func(string) bool { return false }
	b.fail(b.issuer(), t.Context(), req, acme.ClassTransient)
	if b.disk.intent != nil || len(b.disk.orders) > 0 {
		t.Errorf("the journal has %v and %v", b.disk.intent, b.disk.orders)
	}
	if n := b.count("authz"); n != 0 {
		t.Errorf("%d requests about the authorizations of another target's order", n)
	}
}
