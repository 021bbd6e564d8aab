package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"certd/acme/acmetest"
)

// A provider that may take an hour: the daemon waits for it and does other things
// meanwhile, ends when it is told to, and the next run goes on with the order.
func TestDNSSlowProvider(t *testing.T) {
	t.Parallel()
	needHelper(t)
	b := startBIND(t, "")
	ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
	s := dnsSite(t, b, ca, "")
	called := filepath.Join(s.dir, "called")
	program := s.script("dns.sh", b.nsupdate()+`
touch `+called+`
[ -e `+filepath.Join(s.dir, "go")+` ] || exit 0
case $1 in
present) nsupdate_ "update add $2 1 TXT $3" ;;
cleanup) nsupdate_ "update delete $2 TXT $3" ;;
esac
`)
	env := s.private("exec.env", "EXEC_PATH="+program+"\nEXEC_SEQUENCE_INTERVAL=1\nEXEC_POLLING_INTERVAL=1\nEXEC_PROPAGATION_TIMEOUT=3600\n")
	s.write("acme/conf/certd.yaml", s.read("acme/conf/certd.yaml")+"listen: \"\"\n")
	s.write("acme/conf/target", fmt.Sprintf("request: {challenge: {method: dns, dns-provider: rfc2136, dns-env-file: %q}}\n", b.envFile(s)))
	s.write("acme/desired/slow.example.com", fmt.Sprintf("request: {challenge: {method: dns, dns-provider: exec, dns-env-file: %q}}\n", env))
	d := s.daemon(nil)
	waitFor(t, "the record that is not to be seen", func() bool { _, err := os.Stat(called); return err == nil })
	s.write("acme/desired/fast.example.com", "")
	waitFor(t, "the certificate of another name", s.isLive("fast.example.com"))
	d.terminate()
	s.write("go", "")
	ca.ResetRequests()
	s.must(0, "reconcile")
	s.leaf("slow.example.com")
	if n := acmetest.Count(ca.Requests(), "order"); n > 0 {
		t.Errorf("%d orders were sent, want the one that was waiting to be gone on with", n)
	}
	wantNoRecord(t, b, s, "_acme-challenge.slow.example.com", "_acme-challenge.fast.example.com")
}
