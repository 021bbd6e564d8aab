package issue

import (
	"strings"
	"testing"

	"certd/acme"
)

// challenge of an authorization that is pending, with what a Client adds.
func challenge(kind string, status acme.Status) acme.Challenge {
	return acme.Challenge{Type: kind, URL: "https://ca.example/" + kind, Status: status, Token: "token", KeyAuthorization: "token.thumb"}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	const pending, processing = acme.StatusPending, acme.StatusProcessing
	tests := []struct {
		name    string
		solvers string // types
		offered []acme.Challenge
		want    string // type
		answer  bool   // the CA has to be told
		present bool
		words   string // of the error
	}{
		{"http-01 first", "http-01 dns-01 tls-alpn-01",
			[]acme.Challenge{challenge("dns-01", pending), challenge("tls-alpn-01", pending), challenge("http-01", pending)}, "http-01", true, true, ""},
		{"tls-alpn-01 before dns-01", "dns-01 tls-alpn-01",
			[]acme.Challenge{challenge("dns-01", pending), challenge("tls-alpn-01", pending), challenge("http-01", pending)}, "tls-alpn-01", true, true, ""},
		{"what there is a solver for", "dns-01",
			[]acme.Challenge{challenge("http-01", pending), challenge("dns-01", pending)}, "dns-01", true, true, ""},
		{"processing is not answered again", "http-01",
			[]acme.Challenge{challenge("http-01", processing)}, "http-01", false, true, ""},
		{"processing wins", "http-01 dns-01",
			[]acme.Challenge{challenge("http-01", pending), challenge("dns-01", processing)}, "dns-01", false, true, ""},
		{"processing without a solver", "http-01",
			[]acme.Challenge{challenge("http-01", pending), challenge("dns-01", processing)}, "dns-01", false, false, ""},
		{"an invalid one is no choice", "http-01 dns-01",
			[]acme.Challenge{challenge("http-01", acme.StatusInvalid), challenge("dns-01", pending)}, "dns-01", true, true, ""},
		{"no token", "http-01", []acme.Challenge{{Type: "http-01", Status: pending}}, "", false, false, "the CA offers http-01"},
		{"unknown types", "http-01", []acme.Challenge{challenge("smoke-signal-01", pending)}, "", false, false, "the CA offers smoke-signal-01"},
		{"none offered", "http-01 dns-01", nil, "", false, false, "the CA offers no challenge, and certd is set up for http-01, dns-01"},
		{"none to present", "", []acme.Challenge{challenge("http-01", pending)}, "", false, false, "certd is set up for no challenge"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := &run{Issuer: &Issuer{Solvers: make(map[string]Solver)}}
			for _, kind := range strings.Fields(tt.solvers) {
				r.Solvers[kind] = newSolver()
			}
			p := &proof{
				name:  acme.NewIdentifier("a.example.com"),
				authz: &acme.Authorization{Status: pending, Identifier: acme.NewIdentifier("a.example.com"), Challenges: tt.offered},
			}
			err := r.choose(t.Context(), p)
			if tt.words != "" {
				if acme.ClassOf(err) != acme.ClassOperator || !strings.Contains(err.Error(), tt.words) {
					t.Errorf("the error is %v, want it to say %q", err, tt.words)
				}
				return
			}
			if err != nil || p.ch.Type != tt.want || p.pending != tt.answer || (p.solver != nil) != tt.present {
				t.Errorf("%s, to be answered %v, presented %v (%v); want %s, %v, %v",
					p.ch.Type, p.pending, p.solver != nil, err, tt.want, tt.answer, tt.present)
			}
		})
	}
}

func TestEndedAuthorizations(t *testing.T) {
	t.Parallel()
	words := &acme.Problem{Type: "dns", Detail: "NXDOMAIN", Class: acme.ClassName, Identifier: acme.NewIdentifier("example.com")}
	tests := []struct {
		status  acme.Status
		problem *acme.Problem
		class   acme.Class
		words   string
	}{
		{acme.StatusInvalid, words, acme.ClassName, "*.example.com: dns: NXDOMAIN"},
		{acme.StatusInvalid, nil, acme.ClassName, "*.example.com: the authorization is invalid"},
		{acme.StatusDeactivated, nil, acme.ClassTransient, "the authorization is deactivated"},
		{acme.StatusExpired, nil, acme.ClassTransient, "the authorization is expired"},
	}
	for _, tt := range tests {
		r := &run{Issuer: &Issuer{}}
		err := r.choose(t.Context(), &proof{
			name: acme.NewIdentifier("*.example.com"),
			authz: &acme.Authorization{
				Status: tt.status, Identifier: acme.NewIdentifier("example.com"), Wildcard: true,
				Challenges: []acme.Challenge{{Type: "dns-01", Status: acme.StatusInvalid, Problem: tt.problem}},
			},
		})
		if acme.ClassOf(err) != tt.class || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: the error is %s: %v, want %s: %s", tt.status, acme.ClassOf(err), err, tt.class, tt.words)
		}
	}
}

func TestSameNames(t *testing.T) {
	t.Parallel()
	id := func(kind, value string) acme.Identifier { return acme.Identifier{Type: kind, Value: value} }
	tests := []struct {
		name  string
		ids   []acme.Identifier
		names string
		want  bool
	}{
		{"in another order", []acme.Identifier{id("dns", "b.test"), id("dns", "a.test")}, "a.test b.test", true},
		{"an address written otherwise", []acme.Identifier{id("ip", "2001:DB8:0::1")}, "2001:db8::1", true},
		{"one missing", []acme.Identifier{id("dns", "a.test")}, "a.test b.test", false},
		{"one twice", []acme.Identifier{id("dns", "a.test"), id("dns", "a.test")}, "a.test b.test", false},
		{"one too many", []acme.Identifier{id("dns", "a.test"), id("dns", "b.test")}, "a.test", false},
		{"another type", []acme.Identifier{id("dns", "192.0.2.1")}, "192.0.2.1", false},
		{"a wildcard", []acme.Identifier{id("dns", "*.a.test")}, "a.test", false},
	}
	for _, tt := range tests {
		if got := sameNames(tt.ids, strings.Fields(tt.names)); got != tt.want {
			t.Errorf("%s: %v are %s: got %v, want %v", tt.name, tt.ids, tt.names, got, tt.want)
		}
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		authz string // "*." for the wildcard flag
		names string
		want  bool
	}{
		{"a.example.com", "a.example.com b.example.com", true},
		{"*.example.com", "a.test *.example.com", true},
		{"example.com", "a.b.example.com", true},
		{"example.com", "*.example.com", true},
		{"example.com", "*.b.example.com", true},
		{"*.example.com", "*.b.example.com", true},
		{"192.0.2.1", "192.0.2.1", true},
		{"*.example.com", "example.com a.example.com", false},
		{"ample.com", "a.example.com", false},
		{"a.example.com", "example.com *.example.com", false},
		{"example.net", "example.com", false},
		{"2.1", "192.0.2.1", false},
	}
	for _, tt := range tests {
		value, wildcard := strings.CutPrefix(tt.authz, "*.")
		authz := &acme.Authorization{Identifier: acme.NewIdentifier(value), Wildcard: wildcard}
		if got := covers(authz, strings.Fields(tt.names)); got != tt.want {
			t.Errorf("an authorization for %s in an order for %s: got %v, want %v", tt.authz, tt.names, got, tt.want)
		}
	}
}

// The first Problem of several is the one that says when to try again.
func TestJoin(t *testing.T) {
	t.Parallel()
	of := func(class acme.Class) error { return &acme.Problem{Class: class, Detail: string(class)} }
	err := join([]error{of(acme.ClassTransient), nil, of(acme.ClassName), of(acme.ClassWait), of(acme.ClassOperator)})
	if acme.ClassOf(err) != acme.ClassWait || err.Error() != "wait\noperator\nname\ntransient" {
		t.Errorf("joined: %q of class %s", err, acme.ClassOf(err))
	}
	if err := join([]error{nil, nil}); err != nil {
		t.Errorf("no errors joined: %v", err)
	}
}
