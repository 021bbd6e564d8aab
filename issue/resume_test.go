package issue

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
)

// A cutter ends something at the nth event.
type cutter struct {
	n   int64
	at  int64 // zero: never
	cut func()
}

// event reports whether this was the one.
func (c *cutter) event() bool {
	if atomic.AddInt64(&c.n, 1) != c.at {
		return false
	}
	if c.cut != nil {
		c.cut()
	}
	return true
}

// goOn issues req on what the disk of b has, as the next run of the process does,
// and wants one order and one key in all.
func (b *bench) goOn(req Request, cut int64) {
	b.t.Helper()
	before, journaled := b.disk.open()
	b.observe, b.disk.before = nil, nil
	cert := b.must(b.disk.resume(req))
	if n := newOrders(b.ca.Requests()); n != 1 {
		b.t.Errorf("cut at %d: %d orders at the CA, want 1", cut, n)
	}
	if journaled && cert.Open.URL != before.URL {
		b.t.Errorf("cut at %d: the certificate is of order %s, want the journaled %s", cut, cert.Open.URL, before.URL)
	}
	if journaled && before.KeyID != "" && cert.KeyID != before.KeyID {
		b.t.Errorf("cut at %d: the certificate's key is %s, want the journaled %s", cut, cert.KeyID, before.KeyID)
	}
	if left := b.solver.left(); len(left) > 0 {
		b.t.Errorf("cut at %d: left behind for %v", cut, left)
	}
}

// newOrders counts those that made an order.
func newOrders(requests []acmetest.Request) int {
	made := slices.DeleteFunc(requests, func(r acmetest.Request) bool { return r.Status != http.StatusCreated })
	return acmetest.Count(made, "order")
}

// Issue is stopped by its context at every event, which is a durable write or an
// answer of the CA, and once more after that.
func TestResumeAfterCancellationAnywhere(t *testing.T) {
	t.Parallel()
	for at := int64(1); ; at++ {
		b := newBench(t, acmetest.Options{})

		req := b.request("a.example.com", "b.example.com")
		ctx, cancel := context.WithCancel(t.Context())
		c := &cutter{at: at, cut: cancel}
		b.observe = func(acme.Exchange) { c.event() }
		b.disk.before = func(string) error { c.event(); return nil }
		_, err := b.issuer().Issue(ctx, b.disk.resume(req))
		cancel()
		if err == nil {
			if at > c.n {
				return // there was nothing left to cut
			}
			continue // the cut came too late to matter
		}
		if _, ok := errors.AsType[*acme.Problem](err); !ok || !errors.Is(err, context.Canceled) {
			t.Errorf("cut at %d: the error is %v, want a Problem of a cancellation", at, err)
		}
		b.goOn(req, at)
	}
}

// The answers of the CA are lost one after the other, after it has acted on the
// request: the next run finds out what became of it.
func TestResumeAfterLostAnswers(t *testing.T) {
	t.Parallel()
	for at := int64(1); ; at++ {
		c := &cutter{}
		b := newBench(t, acmetest.Options{Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !c.event() {
					next.ServeHTTP(w, r)
					return
				}
				next.ServeHTTP(lost{w}, r)
				panic(http.ErrAbortHandler)
			})
		}})

		req := b.request("a.example.com", "b.example.com")
		atomic.StoreInt64(&c.n, 0)
		c.at = at
		_, err := b.issuer().Issue(t.Context(), b.disk.resume(req))
		if err == nil {
			if at > c.n {
				return
			}
			continue
		}
		if acme.ClassOf(err) != acme.ClassTransient {
			t.Errorf("answer %d lost: the error is %s (%v), want transient", at, acme.ClassOf(err), err)
		}
		b.goOn(req, at)
	}
}

// A lost answer has a status, and nothing else.
type lost struct{ http.ResponseWriter }

func (lost) Write(p []byte) (int, error) { return len(p), nil }

// The disk fails at every write.
func TestResumeAfterFailedWrites(t *testing.T) {
	t.Parallel()
	for at := int64(1); at <= 4; at++ {
		b := newBench(t, acmetest.Options{})
		req := b.request("a.example.com")
		full := errors.New("no space left on device")
		c := &cutter{at: at}
		b.disk.before = func(string) error {
			if c.event() {
				return full
			}
			return nil
		}
		_, err := b.issuer().Issue(t.Context(), b.disk.resume(req))
		if _, ok := errors.AsType[*acme.Problem](err); !ok || !errors.Is(err, full) {
			t.Errorf("write %d failed: the error is %v", at, err)
		}
		b.goOn(req, at)
	}
}

// An order that is of no use any more is closed and replaced, once.
func TestResumeOrdersAnew(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		spoil  func(b *bench, o *acme.OpenOrder) // the journaled order, which is pending at the CA
		reread int                               // times the old order is looked at
	}{
		{"gone", func(b *bench, o *acme.OpenOrder) { o.URL += "0" }, 1},
		{"another account's", func(b *bench, o *acme.OpenOrder) { o.Account += "0" }, 0},
		{"other names", func(b *bench, o *acme.OpenOrder) { o.Names = []string{"b.example.com"} }, 1},
		{"invalid", func(b *bench, o *acme.OpenOrder) {
			client := b.client()
			order, err := client.Order(b.t.Context(), o.URL)
			if err != nil {
				b.t.Fatal(err)
			}
			if err := client.DeactivateAuthorization(b.t.Context(), order.Authorizations[0]); err != nil {
				b.t.Fatal(err)
			}
		}, 1},
		{"valid, with a key that was lost", func(b *bench, o *acme.OpenOrder) {
			cert := b.must(b.disk.resume(b.request("a.example.com")))
			delete(b.disk.keys, cert.KeyID)
			*o = cert.Open
		}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, acmetest.Options{})
			req := b.request("a.example.com")
			open := b.pendingOrder(req)
			tt.spoil(b, &open)
			b.disk.orders = map[string]acme.OpenOrder{open.URL: open}
			b.ca.ResetRequests()
			req.Open = open
			cert := b.must(req)
			if cert.Open.URL == open.URL {
				t.Errorf("the certificate is of the spoilt order")
			}
			if now, _ := b.disk.open(); len(b.disk.orders) != 1 || now.URL != cert.Open.URL {
				t.Errorf("the journal has %v, want the new order alone", b.disk.orders)
			}
			if n := newOrders(b.ca.Requests()); n != 1 {
				t.Errorf("%d new orders, want 1", n)
			}
			old := 0
			for _, r := range b.ca.Requests() {
				if r.Operation == "order-poll" && b.ca.URL()[:len(b.ca.URL())-len("/dir")]+r.Path == open.URL {
					old++
				}
			}
			if old != tt.reread {
				t.Errorf("the old order was looked at %d times, want %d", old, tt.reread)
			}
		})
	}
}

// pendingOrder is the journaled order of an issuance that was stopped early.
func (b *bench) pendingOrder(req Request) acme.OpenOrder {
	b.t.Helper()
	b.solver.present = func(acme.Identifier) error { return errors.New("not now") }
	defer func() { b.solver.present = nil }()
	if _, err := b.issuer().Issue(b.t.Context(), req); acme.ClassOf(err) != acme.ClassName {
		b.t.Fatalf("issue with a solver that fails: %v", err)
	}
	open, ok := b.disk.open()
	if !ok {
		b.t.Fatalf("the order of a solver that failed is not journaled")
	}
	return open
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(req *Request)
		adopt  bool
	}{
		{"the same", func(*Request) {}, true},
		{"another name", func(r *Request) { r.Open.Names = []string{"b.example.com"} }, false},
		{"more names", func(r *Request) { r.Open.Names = []string{"a.example.com", "b.example.com"} }, false},
		{"another profile", func(r *Request) { r.Open.Profile = "other" }, false},
		{"another target's", func(r *Request) { r.Claim = func(string) bool { return false } }, false},
		{"not asked to", func(r *Request) { r.Adopt = false }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, acmetest.Options{Profiles: profiles("default", "other")})
			req := b.request("a.example.com")
			req.Open.Profile = "default"
			lostOrder := b.pendingOrder(req)
			b.disk.orders = make(map[string]acme.OpenOrder) // its answer never came
			req.Adopt = true
			tt.change(&req)
			if req.Claim != nil {
				req.Claim = func(url string) bool { return url != lostOrder.URL }
			}
			cert := b.must(req)
			if adopted := cert.Open.URL == lostOrder.URL; adopted != tt.adopt {
				t.Errorf("the order was adopted: %v, want %v", adopted, tt.adopt)
			}
		})
	}
}

func profiles(names ...string) map[string]time.Duration {
	m := make(map[string]time.Duration)
	for _, name := range names {
		m[name] = 48 * time.Hour
	}
	return m
}

// A finalized order may be for a key that was lost.
func TestFinalizedOrdersAreNotAdopted(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	req := b.request("a.example.com")
	done := b.must(req)
	b.disk.orders = make(map[string]acme.OpenOrder)
	req.Adopt = true
	if cert := b.must(req); cert.Open.URL == done.Open.URL {
		t.Errorf("a valid order was adopted")
	}
}
