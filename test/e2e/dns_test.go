package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"certd/acme/acmetest"
)

// helperBuild is held while certd-dns is built.
var helperBuild sync.Mutex

// dnsSite is a site whose names are proven in the DNS of b; extra goes into
// request.challenge of conf/target.
func dnsSite(t testing.TB, b *bind, ca *acmetest.CA, extra string) *site {
	t.Helper()
	s := newSite(t, ca, b.settings())
	s.write("acme/conf/target", "request: {challenge: {method: dns"+extra+"}}\n")
	return s
}

// wantNoRecord checks that no TXT record is left, and nothing in the journal.
func wantNoRecord(t testing.TB, b *bind, s *site, names ...string) {
	t.Helper()
	for _, name := range names {
		if left := b.texts(name); len(left) > 0 {
			t.Errorf("%s still has the TXT records %q", name, left)
		}
	}
	entries, err := os.ReadDir(filepath.Join(s.state, "dns"))
	if err != nil || len(entries) > 0 {
		t.Errorf("the journal of records still has %v, %v", entries, err)
	}
}

// A name and its wildcard in one certificate, by lego's rfc2136 with TSIG; the
// secondary shows the records seconds later, and is waited for.
func TestDNSByRFC2136(t *testing.T) {
	t.Parallel()
	needHelper(t)
	for _, reuse := range []int{0, 50} {
		b := startBIND(t, "")
		ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr(), AuthzReuse: reuse})
		s := dnsSite(t, b, ca, "")
		s.write("acme/conf/target", fmt.Sprintf("request: {challenge: {method: dns, dns-provider: rfc2136, dns-env-file: %q}}\n", b.envFile(s)))
		s.must(0, "want", "*.example.com", "example.com", "www.example.com")
		leaf := s.leaf("*.example.com")
		if want := []string{"*.example.com", "example.com", "www.example.com"}; !slices.Equal(slices.Sorted(slices.Values(leaf.DNSNames)), want) {
			t.Errorf("the certificate is for %q, want %q", leaf.DNSNames, want)
		}
		s.leaf("example.com")
		wantNoRecord(t, b, s, "_acme-challenge.example.com", "_acme-challenge.www.example.com")
	}
}

// The record is an alias for one in another zone, which alone can be written to.
func TestDNSDelegated(t *testing.T) {
	t.Parallel()
	needHelper(t)
	for _, delegate := range []string{"", ", delegate: x7.acme.example.net"} {
		b := startBIND(t, "_acme-challenge.www CNAME hop.example.com.\nhop CNAME x7.acme.example.net.\n")
		ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
		s := dnsSite(t, b, ca, "")
		s.write("acme/conf/target", fmt.Sprintf("request: {challenge: {method: dns, dns-provider: rfc2136, dns-env-file: %q%s}}\n", b.envFile(s), delegate))
		s.must(0, "want", "www.example.com")
		wantNoRecord(t, b, s, "x7.acme.example.net")
	}
}

// Aliases that go in circles, and a delegate that nothing leads to, are told
// before the CA is asked to look.
func TestDNSDelegatedWrongly(t *testing.T) {
	t.Parallel()
	needHelper(t)
	b := startBIND(t, "_acme-challenge.loop CNAME a.example.com.\na CNAME _acme-challenge.loop\n")
	ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
	s := dnsSite(t, b, ca, "")
	env := b.envFile(s)
	s.write("acme/desired/loop.example.com", fmt.Sprintf("request: {challenge: {dns-provider: rfc2136, dns-env-file: %q}}\n", env))
	s.write("acme/desired/www.example.com", fmt.Sprintf("request: {challenge: {dns-provider: rfc2136, dns-env-file: %q, delegate: x7.acme.example.net}}\n", env))
	r := s.must(1, "reconcile")
	for _, want := range []string{"is a circle", "_acme-challenge.www.example.com leads to _acme-challenge.www.example.com; create the record"} {
		if !strings.Contains(r.err+r.out, want) {
			t.Errorf("the failure does not say %q: %v", want, r)
		}
	}
	wantNoRecord(t, b, s, "x7.acme.example.net", "_acme-challenge.www.example.com")
	if t.Failed() {
		t.Log(r)
		for _, e := range must(os.ReadDir(filepath.Join(s.state, "dns"))) {
			t.Log(s.read("acme/dns/" + e.Name()))
		}
	}
}

func must[T any](v T, _ error) T { return v }
