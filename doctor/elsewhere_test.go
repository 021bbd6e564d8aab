package doctor_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"certd/acme/acmetest"
	"certd/doctor"
	"certd/test/ports"
)

// serve answers at an address with h.
func serve(t *testing.T, addr string, h http.Handler) {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("no %s here: %v", addr, err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
}

// An AAAA record that points to somebody else is told as such, though IPv4 is right.
func TestIPv6LeadsElsewhere(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	webroot := t.TempDir()
	b.write("conf/target", fmt.Sprintf("request: {challenge: {method: webroot, webroot-paths: [%q]}}\n", webroot))
	b.ca.DNS().AddDNSAAAARecord("www.example.test.", []string{"::1"})
	serve(t, fmt.Sprintf("127.0.0.1:%d", b.ca.HTTPPort()), http.StripPrefix("/.well-known/acme-challenge/", http.FileServer(http.Dir(webroot))))
	serve(t, fmt.Sprintf("[::1]:%d", b.ca.HTTPPort()), http.NotFoundHandler())
	found := b.run("www.example.test")
	b.want(found, "http-01 ipv4", doctor.OK, "right answer")
	b.want(found, "http-01 ipv6", doctor.Failure, "IPv6 leads elsewhere")
}

// The port of the method proxy belongs to somebody else.
func TestProxyPortTaken(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	port := ports.Free(t)
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	conf, err := os.ReadFile(filepath.Join(b.dir, "conf/certd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	b.write("conf/certd.yaml", strings.Replace(string(conf), "challenge: {", fmt.Sprintf("challenge: {proxy-port: %d, ", port), 1))
	b.write("conf/target", "request: {challenge: {method: proxy}}\n")
	b.want(b.run("www.example.test"), fmt.Sprintf("port %d", port), doctor.Failure, "the method proxy needs it")
	_ = ln.Close()
	b.want(b.run("www.example.test"), fmt.Sprintf("port %d", port), doctor.OK, "free")
}
