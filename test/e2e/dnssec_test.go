package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"certd/acme/acmetest"
	"certd/test/ports"
)

// signZone signs a zone file by BIND's tools, and returns its key record's text
// for a trust anchor.
func signZone(t *testing.T, dir, zone string) (anchor string) {
	t.Helper()
	run := func(name string, args ...string) string {
		cmd := exec.Command(needProgram(t, name), args...)
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v %s", name, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	write(t, filepath.Join(dir, zone), "$TTL 1\n@ SOA ns1 hostmaster 1 2 1 1000 1\n@ NS ns1\nns1 A 127.0.0.1\n@ A 127.0.0.1\nwww A 127.0.0.1\n")
	key := run("dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "-f", "KSK", zone)
	run("dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", zone)
	run("dnssec-signzone", "-q", "-S", "-o", zone, zone)
	file, err := dns.NewRR(readFile(t, filepath.Join(dir, key+".key")))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s static-key %d %d %d %q;", zone, file.(*dns.DNSKEY).Flags, file.(*dns.DNSKEY).Protocol, file.(*dns.DNSKEY).Algorithm, file.(*dns.DNSKEY).PublicKey)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	return (&site{t: t, dir: filepath.Dir(path)}).read(filepath.Base(path))
}

// A zone whose signatures are not valid, behind a real BIND that validates: the
// doctor says that it is bogus, and that another one is signed well.
func TestDoctorSeesBogusZone(t *testing.T) {
	t.Parallel()
	named := needProgram(t, "named")
	b := &bind{t: t, dir: t.TempDir(), primary: "127.0.0.1", port: ports.Free(t)}
	conf := fmt.Sprintf(namedConf, b.dir, b.port, "127.0.0.1", "none")
	resolver := ports.Free(t)
	var anchors, zones string
	for _, zone := range []string{"good.test", "bogus.test"} {
		anchors += signZone(t, b.dir, zone) + "\n"
		signed := filepath.Join(b.dir, zone+".signed")
		if zone == "bogus.test" { // what is signed is not what is served
			write(t, signed, strings.ReplaceAll(readFile(t, signed), "127.0.0.1", "127.0.0.9"))
		}
		conf += fmt.Sprintf("zone %q { type primary; file %q; };\n", zone, signed)
		zones += fmt.Sprintf("zone %q { type forward; forward only; forwarders { 127.0.0.1 port %d; }; };\n", zone, b.port)
	}
	write(t, filepath.Join(b.dir, "named.conf"), conf)
	b.start(named, b.dir)
	second := t.TempDir()
	validating := strings.Replace(fmt.Sprintf(namedConf, second, resolver, "127.0.0.1", "none"), "dnssec-validation no;", "dnssec-validation yes;", 1)
	write(t, filepath.Join(second, "named.conf"), validating+"trust-anchors {\n"+anchors+"};\n"+zones)
	b.start(named, second)
	addr := net.JoinHostPort("127.0.0.1", fmt.Sprint(resolver))
	waitFor(t, "the resolver validates", func() bool {
		m := new(dns.Msg).SetQuestion("www.good.test.", dns.TypeA)
		m.AuthenticatedData = true
		answer, _, err := (&dns.Client{Timeout: 2 * time.Second}).Exchange(m, addr)
		return err == nil && answer.AuthenticatedData
	})
	ca := acmetest.StartT(t, acmetest.Options{})
	s := newSite(t, ca, fmt.Sprintf("challenge: {http-port: %d, tls-port: %d, resolver: %q}\n", ca.HTTPPort(), ca.TLSPort(), addr))
	s.write("acme/conf/target", "request: {challenge: {method: listen, http-self-test: false}}\n")
	wantFinding(t, s, "www.bogus.test", "dnssec", "failure", "signatures are not valid")
	wantFinding(t, s, "www.good.test", "dnssec", "ok", "finds it valid")
}

// wantFinding looks for a line of certd doctor.
func wantFinding(t *testing.T, s *site, name, check, result, text string) {
	t.Helper()
	r := s.run("doctor", name)
	out := joined(r.out)
	if want := result + " " + name + " " + check + ": "; !strings.Contains(out, want) || !strings.Contains(out, text) {
		t.Errorf("the doctor does not say %q with %q: %v", want, text, r)
	}
}

// The doctor tries a provider's credentials at a real BIND, and leaves nothing behind.
func TestDoctorTriesCredentials(t *testing.T) {
	t.Parallel()
	needHelper(t)
	b := startBIND(t, "")
	ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
	s := dnsSite(t, b, ca, "")
	env := b.envFile(s)
	s.write("acme/conf/target", fmt.Sprintf("request: {challenge: {method: dns, dns-provider: rfc2136, dns-env-file: %q}}\n", env))
	wantFinding(t, s, "*.example.com", "dns-01", "ok", "set by rfc2136, and seen on every name server")
	if left := b.texts("_acme-challenge.example.com"); len(left) > 0 {
		t.Errorf("the doctor left %q behind", left)
	}
	if n := acmetest.Count(ca.Requests(), "order", "account"); n > 0 {
		t.Errorf("the doctor sent %d requests for orders and accounts", n)
	}
	wrong := s.private("wrong.env", strings.ReplaceAll(s.read("dns.env"), tsigSecret, "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3I="))
	s.write("acme/conf/target", fmt.Sprintf("request: {challenge: {method: dns, dns-provider: rfc2136, dns-env-file: %q}}\n", wrong))
	wantFinding(t, s, "*.example.com", "dns-01", "failure", "are name, algorithm and secret of the key")
	missing := s.private("none.env", "# nothing\n")
	s.write("acme/conf/target", fmt.Sprintf("request: {challenge: {method: dns, dns-provider: rfc2136, dns-env-file: %q}}\n", missing))
	wantFinding(t, s, "*.example.com", "dns-01", "failure", "credentials information are missing")
}
