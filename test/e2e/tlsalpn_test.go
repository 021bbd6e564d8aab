package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"certd/acme/acmetest"
)

// alpnSite is a site whose port 80 belongs to somebody else: only tls-alpn-01 is
// left (RFC 8737). extra goes into request.challenge.
func alpnSite(t *testing.T, ca *acmetest.CA, extra string) *site {
	t.Helper()
	taken, err := net.Listen("tcp", fmt.Sprintf(":%d", ca.HTTPPort()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	s := newSite(t, ca, fmt.Sprintf("challenge: {http-port: %d, tls-port: %d, resolver: %q}\n", ca.HTTPPort(), ca.TLSPort(), ca.Resolver()))
	s.write("acme/conf/target", "request: {challenge: {method: listen"+extra+"}}\n")
	return s
}

// wantValidatedBy checks by which challenge type the pass of s proved its names.
func wantValidatedBy(t *testing.T, s *site, kind string) {
	t.Helper()
	out := s.must(0, "metrics").out
	series := regexp.MustCompile(fmt.Sprintf(`(?m)^certd_authorizations_total\{ca="testca",outcome="valid",type=%q\} [1-9]`, kind))
	if !series.MatchString(out) {
		t.Errorf("nothing was validated by %s:\n%s", kind, regexp.MustCompile(`(?m)^certd_authorizations_total.*$`).FindAllString(out, -1))
	}
}

// Port 80 is taken, so names and addresses are proven on port 443, in one
// certificate, and nothing listens there afterwards.
func TestTLSALPN(t *testing.T) {
	t.Parallel()
	for _, reuse := range []int{0, 50} {
		ca := acmetest.StartT(t, acmetest.Options{AuthzReuse: reuse})
		s := alpnSite(t, ca, "")
		s.write("acme/conf/certd.yaml", s.read("acme/conf/certd.yaml")+"metrics: {textfile: "+filepath.Join(s.dir, "certd.prom")+"}\n")
		s.must(0, "want", "www.example.com", "example.com", "127.0.0.1", "--batch")
		leaf := s.leaf("www.example.com")
		if len(leaf.DNSNames) != 2 || len(leaf.IPAddresses) != 1 {
			t.Errorf("the certificate is for %v and %v, want two names and an address", leaf.DNSNames, leaf.IPAddresses)
		}
		s.leaf("127.0.0.1")
		wantValidatedBy(t, s, "tls-alpn-01")
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ca.TLSPort())); err == nil {
			_ = c.Close()
			t.Error("certd still listens for tls-alpn-01 after the challenge")
		}
	}
}

const haproxyALPN = `defaults
    mode tcp
    timeout connect 5s
    timeout client 5s
    timeout server 5s

frontend tls
    bind 127.0.0.1:%[1]d
    tcp-request inspect-delay 5s
    tcp-request content accept if { req.ssl_hello_type 1 }
    use_backend certd if { req.ssl_alpn acme-tls/1 }
    default_backend site

backend certd
    server certd 127.0.0.1:%[2]d

backend site
    server site 127.0.0.1:%[3]d
`

// Behind HAProxy, which routes by ALPN: the site keeps port 443.
func TestTLSALPNBehindHAProxy(t *testing.T) {
	t.Parallel()
	program := needProgram(t, "haproxy")
	ca := acmetest.StartT(t, acmetest.Options{})
	behind := freePort(t)
	s := alpnSite(t, ca, fmt.Sprintf(", tls-ports: [%d]", behind))
	s.write("acme/conf/certd.yaml", s.read("acme/conf/certd.yaml")+"metrics: {textfile: "+filepath.Join(s.dir, "certd.prom")+"}\n")
	s.write("haproxy.cfg", fmt.Sprintf(haproxyALPN, ca.TLSPort(), behind, freePort(t)))
	haproxy := exec.Command(program, "-db", "-f", filepath.Join(s.dir, "haproxy.cfg"))
	haproxy.Stderr = os.Stderr
	if err := haproxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = haproxy.Process.Kill(); _ = haproxy.Wait() })
	waitFor(t, "haproxy listens", func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ca.TLSPort()))
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	s.must(0, "want", "www.example.com", "--batch")
	wantValidatedBy(t, s, "tls-alpn-01")
	// A browser is not led to certd.
	if c, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ca.TLSPort()), &tls.Config{ServerName: "www.example.com", NextProtos: []string{"h2", "http/1.1"}, InsecureSkipVerify: true}); err == nil {
		_ = c.Close()
		t.Error("a browser's handshake was answered although there is no site behind HAProxy")
	}
}
