package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"certd/acme/acmetest"
)

// withMetrics has s count in a textfile, for wantValidatedBy.
func withMetrics(s *site) *site {
	s.write("acme/conf/certd.yaml", s.read("acme/conf/certd.yaml")+"metrics: {textfile: "+filepath.Join(s.dir, "certd.prom")+"}\n")
	return s
}

// A record that stays proves a wildcard without any provider or hook; one that
// does not say so costs no order (draft-ietf-acme-dns-persist).
func TestPersistentRecord(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	s := withMetrics(pebbleSite(t, ca))
	s.must(0, "want", "first.example.com")
	account := strings.TrimSpace(s.must(0, "account", "url").out)
	record := "pebble.letsencrypt.org; accounturi=" + account
	ca.DNS().AddDNSTXTRecord("_validation-persist.example.com.", record+"; policy=wildcard")
	ca.DNS().AddDNSTXTRecord("_validation-persist.example.net.", record)
	s.must(0, "want", "*.example.com", "example.com")
	s.leaf("*.example.com")
	s.leaf("example.com")
	wantValidatedBy(t, s, "dns-persist-01")
	wantValidatedBy(t, s, "http-01") // the name beside it
	ca.ResetRequests()
	if r := s.must(1, "want", "*.example.net"); !strings.Contains(r.out, "dns-persist-01: its TXT record is not there") {
		t.Errorf("the failure does not speak of the record: %v", r)
	}
	if n := acmetest.Count(ca.Requests(), "order"); n > 0 {
		t.Errorf("%d requests for an order that nothing could prove", n)
	}
	// With the method dns, and nobody to set records, names are proven by it as well.
	s.write("acme/desired/net", "satisfy: {names: [example.net]}\nrequest: {challenge: {method: dns}}\n")
	s.must(0, "unwant", "*.example.net")
	s.must(0, "reconcile", "net")
	s.leaf("example.net")
}

// The record of dns-01 is an alias into a zone that cannot be written to;
// dns-account-01 has a record of its own (draft-ietf-acme-dns-account-label).
func TestDNSAccount(t *testing.T) {
	t.Parallel()
	needHelper(t)
	b := startBIND(t, "_acme-challenge.www CNAME www.elsewhere.test.\n")
	ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
	s := withMetrics(dnsSite(t, b, ca, ""))
	s.write("acme/conf/target", fmt.Sprintf("request: {challenge: {method: dns, dns-provider: rfc2136, dns-env-file: %q}}\n", b.envFile(s)))
	s.must(0, "want", "www.example.com")
	wantValidatedBy(t, s, "dns-account-01")
	wantNoRecord(t, b, s, "_acme-challenge.www.example.com")
}
