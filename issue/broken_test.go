package issue

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
)

// A certificate that is refused because of its dates alone, which are perhaps
// right, is downloaded again and not ordered again.
func TestOurClockCostsNoOrder(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"cert/future", "cert/expired"} {
		fault, ok := acmetest.FaultNamed(name)
		if !ok {
			t.Fatalf("there is no fault %s", name)
		}
		b := newFaultyBench(t, fault.Nth(1))
		req := b.request("a.example.com")
		err := b.fail(b.issuer(), t.Context(), req, acme.ClassOperator)
		if _, ok := errors.AsType[*DateError](err); !ok || !strings.Contains(err.Error(), "check this machine's clock") {
			t.Errorf("%s: the error is %v, want a DateError", name, err)
		}
		open, kept := b.disk.open()
		if future := name == "cert/future"; kept != future { // the other one was never valid together with its issuer
			t.Errorf("%s: the order is kept: %v, want %v", name, kept, future)
		}
		if !kept {
			continue
		}
		b.goOn(req, 0)
		b.disk.orders = map[string]acme.OpenOrder{}
		open.Created = open.Created.Add(-stuckAfter)
		b = newFaultyBench(t, fault)
		_ = b.fail(b.issuer(), t.Context(), req, acme.ClassOperator)
		stuck := b.disk.resume(req)
		stuck.Open.Created = open.Created
		_ = b.fail(b.issuer(), t.Context(), stuck, acme.ClassOperator)
		if _, kept := b.disk.open(); kept {
			t.Errorf("%s: after a day the order is still kept", name)
		}
	}
}

// A key file that can't be read does not hold its target up.
func TestBrokenKeyFile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		fault  acmetest.Fault
		orders int // in all
	}{
		{"not finalized", acmetest.Respond("finalize", http.StatusInternalServerError, nil, "sorry"), 1},
		{"finalized", acmetest.Respond("cert", http.StatusForbidden, nil, "sorry"), 2},
	} {
		b := newFaultyBench(t, tt.fault.Nth(1))
		req := b.request("a.example.com")
		if _, err := b.issuer().Issue(t.Context(), req); err == nil {
			t.Fatalf("%s: a certificate was issued", tt.name)
		}
		open, ok := b.disk.open()
		if !ok || open.KeyID == "" {
			t.Fatalf("%s: the journal has %+v, want an order with its key", tt.name, open)
		}
		b.disk.broken = errors.New("no PEM in it")
		if tt.orders > 1 {
			err := b.fail(b.issuer(), t.Context(), b.disk.resume(req), acme.ClassTransient)
			if !errors.Is(err, b.disk.broken) || !strings.Contains(err.Error(), open.KeyID) || len(b.disk.orders) > 0 {
				t.Errorf("%s: the journal has %v after %v; want no order, and the key named", tt.name, b.disk.orders, err)
			}
		}
		cert := b.must(b.disk.resume(req))
		if n := newOrders(b.ca.Requests()); n != tt.orders || cert.KeyID == open.KeyID {
			t.Errorf("%s: %d orders and key %s, want %d and another key", tt.name, n, cert.KeyID, tt.orders)
		}
	}
}

// A load balancer's refusal of newOrder is one, too: there is no order to look for.
func TestBareRefusalLeavesNoIntent(t *testing.T) {
	t.Parallel()
	for status, class := range map[int]acme.Class{
		http.StatusForbidden: acme.ClassOperator, http.StatusTooManyRequests: acme.ClassWait, http.StatusRequestEntityTooLarge: acme.ClassTransient,
	} {
		b := newFaultyBench(t, acmetest.Respond("order", status, nil, "<h1>no</h1>"))
		b.fail(b.issuer(), t.Context(), b.request("a.example.com"), class)
		if b.disk.intent != nil {
			t.Errorf("status %d: the intent is still there", status)
		}
	}
}

// The certificate of an order that expired meanwhile is still there.
func TestExpiredOrderWithCertificate(t *testing.T) {
	t.Parallel()
	b := newFaultyBench(t, acmetest.Respond("cert", http.StatusForbidden, nil, "sorry").Nth(1))
	req := b.request("a.example.com")
	if _, err := b.issuer().Issue(t.Context(), req); err == nil {
		t.Fatal("a certificate was issued")
	}
	open, _ := b.disk.open()
	open.Expires = time.Now().Add(-time.Hour)
	b.disk.orders[open.URL] = open
	b.goOn(req, 0)
}
