package issue

import (
	"crypto/elliptic"
	"net/http"
	"slices"
	"sync"
	"testing"

	"certd/acme"
	"certd/acme/acmetest"
)

// newRenewalBench starts the scripted CA with renewal information.
func newRenewalBench(t testing.TB, renewal *acmetest.Renewal, faults ...acmetest.Fault) *bench {
	t.Helper()
	ca, err := acmetest.NewFaulty(acmetest.FaultyOptions{Renewal: renewal, Faults: faults})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &bench{t: t, ca: ca, account: ecKey(t, elliptic.P256()), solver: newSolver(), disk: newDisk()}
	b.register()
	return b
}

// TestReplaces: an order that must not replace a certificate is sent once more as
// one that does not, and never twice with the same; whatever else is wrong is no
// reason to.
func TestReplaces(t *testing.T) {
	t.Parallel()
	refusal := func(status int, kind, detail string) func(string) *acme.Problem {
		return func(string) *acme.Problem { return &acme.Problem{Status: status, Type: kind, Detail: detail} }
	}
	for _, tt := range []struct {
		name     string
		renewal  *acmetest.Renewal // nil: the CA has no renewal information
		outcomes []string
		orders   int
		fails    bool
	}{
		{"accepted", &acmetest.Renewal{}, []string{"ok"}, 1, false},
		{"accepted without a word", &acmetest.Renewal{Mute: true}, []string{"mute"}, 1, false},
		{"unknown to the CA", nil, nil, 1, false},
		{"replaced already", &acmetest.Renewal{Refuse: refusal(409, "alreadyReplaced", "it is")}, []string{"refused"}, 2, false},
		{"another account's", &acmetest.Renewal{Refuse: refusal(403, "unauthorized", "requester account did not request the certificate being replaced")}, []string{"refused"}, 2, false},
		{"not known", &acmetest.Renewal{Refuse: refusal(404, "malformed", "no such certificate")}, []string{"refused"}, 2, false},
		{"of another issuer", &acmetest.Renewal{Refuse: refusal(400, "malformed", "AKI did not match a known issuer")}, []string{"refused"}, 2, false},
		{"a failure about it", &acmetest.Renewal{Refuse: refusal(500, "serverInternal", "could not find an order for the given certificate")}, []string{"refused"}, 2, false},
		{"a failure about something else", &acmetest.Renewal{Refuse: refusal(500, "serverInternal", "the database is away")}, nil, 1, true},
		{"a rate limit", &acmetest.Renewal{Refuse: refusal(429, "rateLimited", "too many")}, nil, 1, true},
		{"a pause", &acmetest.Renewal{Refuse: refusal(429, "rateLimited", "paused; see https://ca.example/unpause")}, nil, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newRenewalBench(t, tt.renewal)
			var mu sync.Mutex
			var outcomes []string
			issuer := b.issuer()
			issuer.Replaced = func(outcome, why string) {
				mu.Lock()
				defer mu.Unlock()
				outcomes = append(outcomes, outcome)
				if (why != "") != (outcome == ReplaceRefused) {
					t.Errorf("%s because of %q", outcome, why)
				}
			}
			req := b.request("a.test")
			req.Open.Replaces = "AQ.AQ"
			cert, err := issuer.Issue(t.Context(), req)
			if (err != nil) != tt.fails {
				t.Fatalf("issued with error %v, want one: %v", err, tt.fails)
			}
			if n := b.count("order"); n != tt.orders || !slices.Equal(outcomes, tt.outcomes) {
				t.Errorf("%d orders were sent and told as %v, want %d and %v", n, outcomes, tt.orders, tt.outcomes)
			}
			if !tt.fails && (cert.Open.Replaces == "") != slices.Equal(outcomes, []string{"refused"}) {
				t.Errorf("the order is journaled as one that replaces %q", cert.Open.Replaces)
			}
		})
	}
}

// TestReplacedByALostOrder: the order that replaced the certificate is found in
// the account's list, and gone on with.
func TestReplacedByALostOrder(t *testing.T) {
	t.Parallel()
	taken := false
	b := newRenewalBench(t, &acmetest.Renewal{Refuse: func(string) *acme.Problem {
		if taken {
			return &acme.Problem{Status: http.StatusConflict, Type: "alreadyReplaced", Detail: "by another order"}
		}
		taken = true
		return nil
	}})
	lost, err := b.client().NewOrder(t.Context(), acme.OrderSpec{Identifiers: []acme.Identifier{{Type: "dns", Value: "a.test"}}, Replaces: "AQ.AQ"})
	if err != nil {
		t.Fatal(err)
	}
	req := b.request("a.test")
	req.Open.Replaces = "AQ.AQ"
	cert := b.must(req)
	if cert.Open.URL != lost.URL || cert.Open.Replaces != "AQ.AQ" {
		t.Errorf("the certificate is of order %s that replaces %q, want the lost one, %s", cert.Open.URL, cert.Open.Replaces, lost.URL)
	}
	if n := b.count("order"); n != 2 {
		t.Errorf("%d orders were sent, want the lost one and one that was refused", n)
	}
}

// TestReplacesAnswerLost: a newOrder whose answer is lost is not sent again, by
// this run or the next.
func TestReplacesAnswerLost(t *testing.T) {
	t.Parallel()
	lost, ok := acmetest.FaultNamed("reset/header/order")
	if !ok {
		t.Fatal("the table has no answer of newOrder that is lost")
	}
	b := newRenewalBench(t, &acmetest.Renewal{}, lost.Nth(1))
	req := b.request("a.test")
	req.Open.Replaces = "AQ.AQ"
	if _, err := b.issuer().Issue(t.Context(), req); err == nil {
		t.Fatal("a lost answer was no error")
	}
	cert := b.must(b.disk.resume(req))
	if n := b.count("order"); n != 1 || cert.Open.Replaces != "AQ.AQ" {
		t.Errorf("%d orders were sent for one certificate, the last replaces %q", n, cert.Open.Replaces)
	}
}
