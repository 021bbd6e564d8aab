package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"certd/acme/acmetest"
	"certd/test/ports"
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

// documented is the configuration in docs/challenges.md, of the kind that its
// fence names, which has the text.
func documented(t *testing.T, kind, text string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/challenges.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?ms)^```"+kind+"\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		if strings.Contains(block[1], text) {
			return block[1]
		}
	}
	t.Fatalf("docs/challenges.md has no configuration for %s with %q", kind, text)
	return ""
}

// Behind a TCP proxy that routes by ALPN, as docs/challenges.md configures it:
// the site keeps port 443.
func TestTLSALPNBehindProxy(t *testing.T) {
	t.Parallel()
	for _, proxy := range []struct {
		program, port string // the port as it is written there
		conf          func(t *testing.T, dir string) string
		args          []string
	}{
		{"haproxy", "bind :443", func(t *testing.T, _ string) string {
			return "defaults\n    timeout connect 5s\n    timeout client 1m\n    timeout server 1m\n\n" + documented(t, "haproxy", "req.ssl_alpn")
		}, []string{"-db", "-f"}},
		{"nginx", "listen 443", func(t *testing.T, dir string) string {
			return "load_module " + needFile(t, "/usr/lib/nginx/modules/ngx_stream_module.so") + ";\ndaemon off;\npid " + dir + "/nginx.pid;\nerror_log stderr;\nevents {}\nstream {\n" +
				documented(t, "nginx", "$ssl_preread_alpn_protocols") + "}\n"
		}, []string{"-c"}},
	} {
		t.Run(proxy.program, func(t *testing.T) {
			t.Parallel()
			program := needProgram(t, proxy.program)
			ca := acmetest.StartT(t, acmetest.Options{})
			behind, front := ports.Free(t), fmt.Sprintf("127.0.0.1:%d", ca.TLSPort())
			s := alpnSite(t, ca, fmt.Sprintf(", tls-ports: [%d]", behind))
			s.write("acme/conf/certd.yaml", s.read("acme/conf/certd.yaml")+"metrics: {textfile: "+filepath.Join(s.dir, "certd.prom")+"}\n")
			web := httptest.NewUnstartedServer(http.NotFoundHandler())
			web.Config.ErrorLog = log.New(io.Discard, "", 0) // of startProxy's connections
			web.StartTLS()
			t.Cleanup(web.Close)
			word, _, _ := strings.Cut(proxy.port, "4")
			s.write("proxy.conf", strings.NewReplacer(proxy.port, strings.TrimSuffix(word, ":")+front,
				"127.0.0.1:8443", fmt.Sprintf("127.0.0.1:%d", behind), "127.0.0.1:9443", web.Listener.Addr().String()).Replace(proxy.conf(t, s.dir)))
			startProxy(t, front, exec.Command(program, append(proxy.args, filepath.Join(s.dir, "proxy.conf"))...))
			s.must(0, "want", "www.example.com", "--batch")
			wantValidatedBy(t, s, "tls-alpn-01")
			// Browsers, and who knows no ALPN, are led to the site.
			for _, protocols := range [][]string{{"h2", "http/1.1"}, nil} {
				c, err := tls.Dial("tcp", front, &tls.Config{ServerName: "www.example.com", NextProtos: protocols, InsecureSkipVerify: true})
				if err != nil {
					t.Errorf("a handshake with the protocols %q: %v", protocols, err)
					continue
				}
				if !c.ConnectionState().PeerCertificates[0].Equal(web.Certificate()) {
					t.Errorf("a handshake with the protocols %q was not answered by the site", protocols)
				}
				_ = c.Close()
			}
		})
	}
}

// startProxy runs a proxy until the end of the test, and returns when it listens.
func startProxy(t *testing.T, addr string, proxy *exec.Cmd) {
	t.Helper()
	proxy.Stderr = os.Stderr
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Process.Signal(syscall.SIGTERM); _ = proxy.Wait() })
	waitFor(t, filepath.Base(proxy.Path)+" listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}
