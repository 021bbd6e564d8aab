package e2e

import (
	"fmt"
	"testing"

	"certd/acme/acmetest"
)

// TestQuickstartWithDNS: what quickstart is told about DNS is enough for a
// wildcard, by a provider of the real certd-dns and by a script of one's own.
func TestQuickstartWithDNS(t *testing.T) {
	t.Parallel()
	needHelper(t)
	for _, way := range []string{"rfc2136", "hook"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			b := startBIND(t, "")
			ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
			s := newSite(t, ca, b.settings())
			answers := "certd-quickstart-choose-server: testca\ncertd-quickstart-choose-method: dns\ncertd-quickstart-dns-provider: " + way +
				"\ncertd-enter-email: \"\"\ncertd-agreement: true\ncertd-quickstart-install-reload-hook: false\ncertd-quickstart-run: nothing\n"
			if way == "hook" {
				s.script("hooks/dns", b.nsupdate()+`
case $1 in
challenge-dns-start) nsupdate_ "update add _acme-challenge.$2. 1 TXT $4" ;;
challenge-dns-stop) nsupdate_ "update delete _acme-challenge.$2. TXT $4" ;;
*) exit 42 ;;
esac
`)
			} else {
				answers += fmt.Sprintf("certd-quickstart-dns-env-file: %q\n", b.envFile(s))
			}
			s.write("answers.yaml", answers)
			s.must(0, "--batch", "--response-file", s.dir+"/answers.yaml", "quickstart")
			s.must(0, "want", "*.example.com", "example.com")
			s.leaf("*.example.com")
			wantNoRecord(t, b, s, "_acme-challenge.example.com")
		})
	}
}
