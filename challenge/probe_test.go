package challenge_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/challenge"

	"github.com/miekg/dns"
)

// TestAddresses: each family is asked for by itself, none is no error, and a
// DNS server that fails is one.
func TestAddresses(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	ca.DNS().AddDNSAAAARecord("both.example.test.", []string{"::1", "::1"})
	ca.DNS().AddDNSServFailRecord("broken.example.test.")
	for _, tt := range []struct {
		host string
		v6   bool
		want string
		fail bool
	}{
		{"both.example.test", true, "[::1]", false},
		{"both.example.test", false, "[127.0.0.1]", false},
		{"four.example.test", true, "[]", false},
		{"broken.example.test", false, "[]", true},
	} {
		got, err := challenge.Addresses(t.Context(), ca.Resolver(), tt.host, tt.v6)
		text := make([]string, len(got))
		for i, a := range got {
			text[i] = a.String()
		}
		if s := "[" + strings.Join(text, " ") + "]"; s != tt.want || (err != nil) != tt.fail {
			t.Errorf("Addresses of %s, v6 %t: %s, %v; want %s, an error: %t", tt.host, tt.v6, s, err, tt.want, tt.fail)
		}
	}
	if got, err := challenge.Addresses(t.Context(), "", "127.0.0.1", true); len(got) > 0 || err != nil {
		t.Errorf("the system gives %v, %v as IPv6 of an IPv4 address, want nothing", got, err)
	}
	if m, err := challenge.Query(t.Context(), ca.Resolver(), "four.example.test", dns.TypeCAA); err != nil || len(m.Answer) > 0 {
		t.Errorf("Query CAA of a name without: %v, %v; want an empty answer", m, err)
	}
}

// TestWaitAddr: one address is looked at by itself, and what stands in the way is told.
func TestWaitAddr(t *testing.T) {
	t.Parallel()
	token := strings.Repeat("t", 43)
	id := acme.NewIdentifier("www.example.test")
	ch := acme.Challenge{Type: "http-01", Token: token, KeyAuthorization: token + ".thumb"}
	r := challenge.NewResponder()
	t.Cleanup(func() { _ = r.Close() })
	release, err := r.Listen([]string{"127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = release() }()
	port := netip.MustParseAddrPort(r.Addrs()[0]).Port()
	h := &challenge.HTTP01{
		Ways:     []challenge.Way{&challenge.Listen{Responder: r}, &challenge.Webroot{Dirs: []string{"/nonexistent/a/b/c"}}},
		SelfTest: &challenge.SelfTest{Port: int(port), Limit: time.Nanosecond},
	}
	here, nobody := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.9.9.9")
	if reached, err := h.WaitAddr(t.Context(), id, ch, here); err == nil || !reached {
		t.Errorf("before Present: reached %t, %v; want a wrong answer", reached, err)
	}
	if err := h.Present(t.Context(), id, ch); err != nil {
		t.Fatal(err)
	}
	if reached, err := h.WaitAddr(t.Context(), id, ch, here); err != nil || !reached {
		t.Errorf("after Present: reached %t, %v; want it to be right", reached, err)
	}
	reached, err := h.WaitAddr(t.Context(), id, ch, nobody)
	if err == nil || reached || !strings.Contains(err.Error(), "requests to the name must reach") || !strings.Contains(err.Error(), "/nonexistent/a/b/c") {
		t.Errorf("an address where nobody listens: reached %t, %v; want the reason, the advice and the way that did not work", reached, err)
	}
	ch.Token = "short"
	if _, err := h.WaitAddr(t.Context(), id, ch, here); !errors.Is(err, challenge.ErrToken) {
		t.Errorf("a malformed token: %v, want ErrToken", err)
	}
}
