package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"certd/acme/acmetest"
	"certd/test/ports"
)

// One run proves names in every way there is: http-01 and tls-alpn-01 by listen,
// addresses of both families, a wildcard beside its name by a DNS hook, and by a
// record that stays; with authorizations that are reused by chance and without.
func TestEveryChallengeInOneRun(t *testing.T) {
	t.Parallel()
	for _, reuse := range []int{0, 50} {
		t.Run(fmt.Sprintf("reuse %d", reuse), func(t *testing.T) {
			t.Parallel()
			b := startBIND(t, "")
			ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr(), AuthzReuse: reuse})
			s := newSite(t, ca, fmt.Sprintf("challenge: {http-port: %d, tls-port: %d, proxy-port: %d, resolver: %q, dns-port: %d, dns-settle: 0s}\n",
				ca.HTTPPort(), ca.TLSPort(), ports.Free(t), b.addr(), b.port))
			s = withMetrics(s)
			s.script("hooks/dns.hook", b.nsupdate()+`
case $2 in stays.*) exit 42 ;; esac
case $1 in
challenge-dns-start) nsupdate_ "update add _acme-challenge.$2. 1 TXT $4" ;;
challenge-dns-stop) nsupdate_ "update delete _acme-challenge.$2. TXT $4" ;;
*) exit 42 ;;
esac
`)
			s.write("acme/conf/target", "request: {challenge: {method: listen}}\n")
			s.must(0, "want", "account.example.com")
			account := strings.TrimSpace(s.must(0, "account", "url").out)
			b.update(t, true, "_validation-persist.stays.example.com", "pebble.letsencrypt.org; accounturi="+account)
			s.must(0, "want", "--no-reconcile", "*.example.com", "example.com")
			s.must(0, "want", "--no-reconcile", "127.0.0.1", "::1")
			s.must(0, "want", "--no-reconcile", "www.example.com", "127.0.0.2")
			// An address that this machine does not have leaves tls-alpn-01.
			s.write("acme/desired/alpn", "satisfy: {names: [alpn.example.com]}\nrequest: {challenge: {http-ports: [\"192.0.2.1:80\"]}}\n")
			s.write("acme/desired/stays", "satisfy: {names: [stays.example.com]}\nrequest: {challenge: {method: dns}}\n")
			s.must(0, "reconcile")
			for name, want := range map[string][]string{
				"*.example.com": {"*.example.com", "example.com"}, "example.com": {"*.example.com", "example.com"},
				"127.0.0.1": {"127.0.0.1", "::1"}, "::1": {"127.0.0.1", "::1"},
				"www.example.com": {"127.0.0.2", "www.example.com"}, "alpn.example.com": {"alpn.example.com"}, "stays.example.com": {"stays.example.com"},
			} {
				leaf := s.leaf(name)
				got := slices.Clone(leaf.DNSNames)
				for _, ip := range leaf.IPAddresses {
					got = append(got, ip.String())
				}
				if slices.Sort(got); !slices.Equal(got, want) {
					t.Errorf("live/%s is for %q, want %q", name, got, want)
				}
			}
			if links, _ := filepath.Glob(filepath.Join(s.state, "live", "*")); len(links) != 9 {
				t.Errorf("live/ has %q, want 9 links", links)
			}
			for _, kind := range []string{"http-01", "tls-alpn-01", "dns-01", "dns-persist-01"} {
				wantValidatedBy(t, s, kind)
			}
			wantNoRecord(t, b, s, "_acme-challenge.example.com", "_acme-challenge.stays.example.com")
			for _, port := range []int{ca.HTTPPort(), ca.TLSPort()} {
				if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
					_ = c.Close()
					t.Errorf("something still listens on port %d after the challenges", port)
				}
			}
		})
	}
}
