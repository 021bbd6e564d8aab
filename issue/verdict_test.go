package issue

import (
	"context"
	"crypto/elliptic"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
)

// newScripted starts a scripted CA with an account.
func newScripted(t *testing.T, o acmetest.FaultyOptions) *bench {
	t.Helper()
	ca, err := acmetest.NewFaulty(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ca.Close() })
	b := &bench{t: t, ca: ca, account: ecKey(t, elliptic.P256()), solver: newSolver(), disk: newDisk()}
	b.register()
	return b
}

// A challenge that failed and is pending again is answered once more; then the
// run ends with the CA's words, and the next one goes on with the order.
func TestChallengeThatIsPendingAgain(t *testing.T) {
	t.Parallel()
	for _, failures := range []int64{1, 3} {
		var seen atomic.Int64
		b := newScripted(t, acmetest.FaultyOptions{
			PendingAgain: true,
			Validate: func(context.Context, acme.Identifier, string, string, string) error {
				if seen.Add(1) <= failures {
					return &acme.Problem{Type: "connection", Detail: "nobody is there"}
				}
				return nil
			},
		})
		req := b.request("a.example.com")
		if failures > 1 {
			err := b.fail(b.issuer(), t.Context(), req, acme.ClassName)
			if n := b.count("challenge"); n != 2 || !strings.Contains(err.Error(), "a.example.com: http-01: connection (403): nobody is there") {
				t.Errorf("after %d answers the error is %v, want two answers and the CA's words", n, err)
			}
			if _, kept := b.disk.open(); !kept {
				t.Fatal("the order is not journaled, though it can go on")
			}
		}
		b.goOn(req, 0)
		if n := b.count("challenge"); int64(n) != failures+1 {
			t.Errorf("%d answers for %d failures", n, failures)
		}
	}
}

// A CA that has too much to do, while it validates, is waited for: the answer
// stays where it is.
func TestBusyCAIsWaitedFor(t *testing.T) {
	t.Parallel()
	header := http.Header{"Retry-After": {"1"}, "Content-Type": {"application/problem+json"}}
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		busy := acmetest.Respond("authz", status, header, `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"slow down"}`)
		busy.After, busy.Times = 1, 6 // more than verdictTries
		b := newFaultyBench(t, busy)
		b.must(b.request("a.example.com"))
		b.solver.mu.Lock()
		if last := b.solver.log[len(b.solver.log)-1]; last != "clean up" || len(b.solver.log) != 3 {
			t.Errorf("status %d: the solver did %v, want it to clean up last, once", status, b.solver.log)
		}
		b.solver.mu.Unlock()
	}
}

func TestPatiently(t *testing.T) {
	t.Parallel()
	of := func(class acme.Class, status int, wait time.Duration) error {
		return &acme.Problem{Class: class, Status: status, RetryAt: time.Now().Add(wait)}
	}
	for _, tt := range []struct {
		name  string
		errs  func() []error
		ended bool
		took  time.Duration
		looks int
		class acme.Class // of the result
	}{
		{"at once", func() []error { return []error{nil} }, false, 0, 1, ""},
		{"busy for long", func() []error { return []error{of(acme.ClassWait, 429, time.Hour), nil} }, false, busyWait, 2, ""},
		{"busy until a moment ago", func() []error { return []error{of(acme.ClassWait, 503, -time.Hour), nil} }, false, time.Second, 2, ""},
		{"the verdict is to wait", func() []error { return []error{of(acme.ClassWait, 200, time.Hour)} }, true, 0, 1, acme.ClassWait},
		{"the network", func() []error { return []error{of(acme.ClassTransient, 0, 0), of(acme.ClassTransient, 502, 0), nil} }, false, 300 * time.Millisecond, 3, ""},
		{"the network for long", func() []error { return slices.Repeat([]error{of(acme.ClassTransient, 0, 0)}, 9) }, false, 700 * time.Millisecond, verdictTries, acme.ClassTransient},
		{"refused", func() []error { return []error{of(acme.ClassName, 200, 0)} }, false, 0, 1, acme.ClassName},
	} {
		synctest.Test(t, func(t *testing.T) {
			begun, looks, errs := time.Now(), 0, tt.errs()
			err := patiently(t.Context(), func() (bool, error) { looks++; return tt.ended, errs[looks-1] })
			if took := time.Since(begun); took != tt.took || looks != tt.looks || acme.ClassOf(err) != tt.class {
				t.Errorf("%s: %v after %v and %d looks, want class %q after %v and %d", tt.name, err, took, looks, tt.class, tt.took, tt.looks)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		err := patiently(ctx, func() (bool, error) { return false, of(acme.ClassWait, 429, time.Hour) })
		if acme.ClassOf(err) != acme.ClassWait || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("busy to the end: got %v, want the CA's time and the end of the context", err)
		}
	})
}

// The CA is not asked before the time it named in the answers to an answer and
// to finalize.
func TestFirstPollWaits(t *testing.T) {
	t.Parallel()
	answered := make(chan struct{})
	answer := sync.OnceFunc(func() { close(answered) })
	b := newBench(t, acmetest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			challenge := strings.HasPrefix(r.URL.Path, "/chalZ/")
			if challenge || strings.HasPrefix(r.URL.Path, "/finalize-order/") {
				w.Header().Set("Retry-After", "1")
			}
			next.ServeHTTP(w, r)
			if challenge {
				answer()
			}
		})
	}})
	b.solver.mu.Lock()
	b.solver.before = func() { <-answered } // else it may be valid already when it is answered
	b.solver.mu.Unlock()
	b.must(b.request("a.example.com"))
	for after, poll := range map[string]string{"challenge": "authz", "finalize": "order-poll"} {
		var told time.Time
		for _, req := range b.ca.Requests() {
			switch {
			case req.Operation == after:
				told = req.Time
			case req.Operation == poll && !told.IsZero():
				if req.Time.Sub(told) < time.Second {
					t.Errorf("the first %s came %v after the %s, want a second", poll, req.Time.Sub(told), after)
				}
				told = time.Time{}
			}
		}
	}
}
