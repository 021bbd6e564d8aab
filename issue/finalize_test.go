package issue

import (
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
)

// problemAfter serves the first request for path, and answers it with a problem nevertheless.
func problemAfter(path, kind string) func(http.Handler) http.Handler {
	c := &cutter{at: 1}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, path) || !c.event() {
				next.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(muted{w}, r)
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"type":"urn:ietf:params:acme:error:` + kind + `","detail":"no"}`))
		})
	}
}

// A muted answer has headers, and nothing else.
type muted struct{ http.ResponseWriter }

func (muted) Write(p []byte) (int, error) { return len(p), nil }
func (muted) WriteHeader(int)             {}

// The CSR arrived though the answer says no: nothing is finalized twice.
func TestFinalizeOfAnOrderThatWentOn(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{Wrap: problemAfter("/finalize-order/", "orderNotReady")})
	b.must(b.request("a.example.com"))
	if n := b.count("finalize"); n != 1 {
		t.Errorf("finalized %d times, want once", n)
	}
}

// A CA whose order gets ready a moment after its authorizations is asked again, and
// one that is quick is not asked at all.
func TestFinalizeOfAnOrderThatLags(t *testing.T) {
	t.Parallel()
	late := acmetest.Respond("finalize", http.StatusForbidden, http.Header{"Content-Type": {"application/problem+json"}},
		`{"type":"urn:ietf:params:acme:error:orderNotReady","detail":"a moment"}`)
	for _, tt := range []struct {
		name            string
		faults          []acmetest.Fault
		finalize, polls int
	}{{"quick", nil, 1, 1}, {"late", []acmetest.Fault{late.Nth(1)}, 2, 2}} {
		b := newFaultyBench(t, tt.faults...)
		cert := b.must(b.request("a.example.com"))
		if n, polls := b.count("finalize"), b.count("order-poll"); n != tt.finalize || polls != tt.polls {
			t.Errorf("%s: finalized %d times, the order read %d times; want %d and %d", tt.name, n, polls, tt.finalize, tt.polls)
		}
		if cert.KeyID != cert.Open.KeyID {
			t.Errorf("%s: the certificate is for the key %s, the journal says %s", tt.name, cert.KeyID, cert.Open.KeyID)
		}
	}
}

func TestAnswerThatArrivedNevertheless(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{Wrap: problemAfter("/chalZ/", "malformed")})
	b.must(b.request("a.example.com"))
	if n := b.count("challenge"); n != 1 {
		t.Errorf("answered %d times, want once", n)
	}
}

func TestRefusedCSRGetsANewOrderAndKey(t *testing.T) {
	t.Parallel()
	refuse := acmetest.Respond("finalize", http.StatusBadRequest, http.Header{"Content-Type": {"application/problem+json"}},
		`{"type":"urn:ietf:params:acme:error:badPublicKey","detail":"this key is known to be weak"}`)
	b := newFaultyBench(t, refuse.Nth(1))
	b.fail(b.issuer(), t.Context(), b.request("a.example.com"), acme.ClassOperator)
	if len(b.disk.closed) != 1 || len(b.disk.orders) != 0 {
		t.Fatalf("the order whose key was refused is still journaled: %v", b.disk.orders)
	}
	if cert := b.must(b.disk.resume(b.request("a.example.com"))); cert.KeyID == b.disk.closed[0].KeyID {
		t.Errorf("the refused key was used again")
	}
}

// A list of orders that can't be read holds a new order up only for a while.
func TestUnreadableOrdersList(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		status int
		body   string
		age    time.Duration // of the intent
		orders bool          // a new order is sent
	}{
		{"out of order", http.StatusInternalServerError, "sorry", time.Minute, false},
		{"out of order for long", http.StatusInternalServerError, "sorry", 2 * time.Hour, true},
		{"not offered after all", http.StatusNotFound, `{"type":"urn:ietf:params:acme:error:malformed"}`, time.Minute, true},
		{"too many requests", http.StatusTooManyRequests, `{"type":"urn:ietf:params:acme:error:rateLimited"}`, time.Minute, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newFaultyBench(t, acmetest.Respond("orders-list", tt.status, nil, tt.body))
			req := b.request("a.example.com")
			req.Adopt, req.Open.Created = true, time.Now().Add(-tt.age)
			if err := b.disk.OpenOrder(req.Open); err != nil {
				t.Fatal(err)
			}
			_, err := b.issuer().Issue(t.Context(), req)
			if ordered := b.count("order") > 0; ordered != tt.orders || ordered != (err == nil) {
				t.Errorf("ordered: %v (%v), want %v", ordered, err, tt.orders)
			}
			if err != nil && b.disk.intent == nil {
				t.Errorf("the intent is forgotten")
			}
		})
	}
}

func TestKeysThatCanNotBeHad(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(req *Request)
		words  string
	}{
		{"one to use again", func(r *Request) { r.KeyID = "lost" }, "load the key lost that is to be used again"},
		{"a new one", func(r *Request) {
			r.NewKey = func() (crypto.Signer, error) { return nil, errors.New("no entropy") }
		}, "make certificate key: no entropy"},
		{"one no CA takes", func(r *Request) {
			r.NewKey = func() (crypto.Signer, error) { return ecKey(t, elliptic.P224()), nil }
		}, "want RSA, or ECDSA on P-256, P-384 or P-521"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newFaultyBench(t)
			req := b.request("a.example.com")
			tt.change(&req)
			err := b.fail(b.issuer(), t.Context(), req, acme.ClassOperator)
			if !strings.Contains(err.Error(), tt.words) || b.count("finalize") > 0 {
				t.Errorf("%d CSRs were sent; the error is %v, want it to say %q", b.count("finalize"), err, tt.words)
			}
		})
	}
}

// An order that was finalized a day ago and gives no certificate never will.
func TestStuckOrdersAreLetGo(t *testing.T) {
	t.Parallel()
	for _, age := range []time.Duration{time.Hour, 25 * time.Hour} {
		b := newFaultyBench(t, acmetest.Respond("cert", http.StatusNotFound, nil, "not here"))
		b.fail(b.issuer(), t.Context(), b.request("a.example.com"), acme.ClassTransient)
		req := b.disk.resume(b.request("a.example.com"))
		req.Open.Created = req.Open.Created.Add(-age)
		b.fail(b.issuer(), t.Context(), req, acme.ClassTransient)
		if _, kept := b.disk.open(); kept != (age < stuckAfter) {
			t.Errorf("after %v the order is kept: %v", age, kept)
		}
	}
}

// The certificate is for a chain that ends elsewhere: refused, and not asked for again.
func TestUnacceptableCertificate(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	req := b.request("a.example.com")
	req.Roots = x509.NewCertPool()
	err := b.fail(b.issuer(), t.Context(), req, acme.ClassOperator)
	p, _ := errors.AsType[*acme.Problem](err)
	if p.Operation != "cert" || !strings.Contains(err.Error(), "trusted root") {
		t.Errorf("the error is of %q: %v", p.Operation, err)
	}
	if len(b.disk.orders) != 0 || len(b.disk.keys) != 1 {
		t.Errorf("journal %v, %d keys; want no order and its key", b.disk.orders, len(b.disk.keys))
	}
}
