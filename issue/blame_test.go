package issue

import (
	"context"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
)

func TestBlameOf(t *testing.T) {
	t.Parallel()
	ca := func(class acme.Class, typ string, status int) *acme.Problem {
		return &acme.Problem{CA: "ca", Operation: "order", Class: class, Type: typ, Status: status}
	}
	account := ca(acme.ClassOperator, "", 400)
	account.Operation = "account"
	name := ca(acme.ClassName, "dns", 400)
	for _, tt := range []struct {
		name string
		err  error
		want Blame
	}{
		{"success", nil, ""},
		{"no answer", ca(acme.ClassTransient, "", 0), BlameCA},
		{"an error of the CA", ca(acme.ClassTransient, "serverInternal", 500), BlameCA},
		{"maintenance", ca(acme.ClassWait, "serverInternal", 503), BlameCA},
		{"too many requests, says a load balancer", ca(acme.ClassWait, "", 429), BlameCA},
		{"a rate limit", ca(acme.ClassWait, "rateLimited", 429), BlameLimit},
		{"nonsense", broken{&acme.Problem{Class: acme.ClassTransient}}, BlameCA},
		{"an unacceptable certificate", broken{&acme.Problem{Class: acme.ClassOperator}}, BlameCA},
		{"new terms", ca(acme.ClassOperator, "userActionRequired", 403), BlameRefusal},
		{"no external account binding", ca(acme.ClassOperator, "externalAccountRequired", 403), BlameRefusal},
		{"a deactivated account", ca(acme.ClassOperator, "unauthorized", 401), BlameRefusal},
		{"no such profile", ca(acme.ClassOperator, "invalidProfile", 400), BlameRefusal},
		{"trouble with the account", account, BlameRefusal},
		{"no such kind of name", ca(acme.ClassName, "unsupportedIdentifier", 400), BlameRefusal},
		{"a refused name", ca(acme.ClassName, "rejectedIdentifier", 400), BlameOwn},
		{"a name that is not validated", name, BlameOwn},
		{"a name that is not validated, and an error of the CA", join([]error{ca(acme.ClassTransient, "", 500), name}), BlameOwn},
		{"a CSR that the CA cannot stand", ca(acme.ClassOperator, "badCSR", 400), BlameOwn},
		{"the self-test", &acme.Problem{Operation: "authz", Class: acme.ClassName}, BlameOwn},
		{"a disk that is full", fmt.Errorf("journal: %w", errors.New("no space left")), BlameOwn},
	} {
		if got := BlameOf(tt.err); got != tt.want {
			t.Errorf("%s: blame %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestTooLate: that an order takes too long is the CA's fault where it had the
// turn, and not where something here had.
func TestTooLate(t *testing.T) {
	t.Parallel()
	slow, ok := acmetest.FaultNamed("order/processing-forever")
	if !ok {
		t.Fatal("no such fault")
	}
	b := newFaultyBench(t, slow)
	issuer := b.issuer()
	issuer.Timeout = 5 * time.Second // to get as far as that on a busy machine
	req := b.request("a.example.com")
	req.SelfTest = false
	if _, err := issuer.Issue(t.Context(), req); BlameOf(err) != BlameCA {
		t.Errorf("processing for ever: blame %q, want the CA's: %v", BlameOf(err), err)
	}
	b = newFaultyBench(t)
	issuer = b.issuer()
	issuer.Timeout, issuer.Solvers = 5*time.Second, map[string]Solver{"http-01": stuck{}}
	if _, err := issuer.Issue(t.Context(), b.request("a.example.com")); BlameOf(err) != BlameOwn {
		t.Errorf("a solver that does not come to an end: blame %q, want our own: %v", BlameOf(err), err)
	}
}

// stuck presents until it is told to stop.
type stuck struct{}

func (stuck) Present(ctx context.Context, _ acme.Identifier, _ acme.Challenge) error {
	<-ctx.Done()
	return ctx.Err()
}

func (stuck) CleanUp(context.Context, acme.Identifier, acme.Challenge) error { return nil }

// TestAdmit: an order that is not admitted is not sent, and nothing of it kept;
// one that is gone on with needs no admission.
func TestAdmit(t *testing.T) {
	t.Parallel()
	b := newFaultyBench(t)
	req := b.request("a.example.com")
	req.SelfTest = false
	refusal := &acme.Problem{Class: acme.ClassWait, Detail: "later"}
	asked := 0
	req.Admit = func() error { asked++; return refusal }
	_, err := b.issuer().Issue(t.Context(), req)
	if !errors.Is(err, refusal) || b.count("order") > 0 || asked != 1 {
		t.Errorf("%v after %d orders and %d questions, want the refusal, none and one", err, b.count("order"), asked)
	}
	if len(b.disk.orders) > 0 || b.disk.intent != nil {
		t.Errorf("journaled: %v %v, want nothing", b.disk.orders, b.disk.intent)
	}
	req.Admit = func() error { asked++; return nil }
	b.must(req)
	if asked != 2 || b.count("order") != 1 {
		t.Errorf("%d questions for %d orders", asked-1, b.count("order"))
	}
}

// TestAnchors: a chain of one certificate is accepted if a root that is trusted
// for that signed it; for longer chains the roots say nothing.
func TestAnchors(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	pool := func(certs ...*x509.Certificate) *x509.CertPool {
		out := x509.NewCertPool()
		for _, c := range certs {
			out.AddCert(c)
		}
		return out
	}
	alone := p.issue(p.leaf, p.key, p.root)
	stranger := p.selfSigned(p.caTemplate("Root"), ecKey(t, elliptic.P256()))
	for _, tt := range []struct {
		name    string
		chain   [][]byte
		anchors *x509.CertPool
		ok      bool
	}{
		{"a leaf alone, and no root", ders(alone), nil, false},
		{"a leaf alone, signed by the root", ders(alone), pool(p.root.cert), true},
		{"a leaf alone, signed by another root of the name", ders(alone), pool(stranger.cert), false},
		{"a leaf alone, signed by an intermediate that is missing", ders(p.good()), pool(p.root.cert), false},
		{"a chain, and another root", ders(p.good(), p.middle), pool(stranger.cert), true},
	} {
		want := p.wanted()
		want.Anchors = tt.anchors
		accepted, err := Accept(tt.chain, want)
		if (err == nil) != tt.ok {
			t.Errorf("%s: accepted %t, want %t: %v", tt.name, err == nil, tt.ok, err)
		}
		if err == nil && len(tt.chain) == 1 && len(accepted.ChainPEM) > 0 {
			t.Errorf("%s: something is published as its chain", tt.name)
		}
	}
}
