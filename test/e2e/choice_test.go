package e2e

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"certd/acme/acmetest"
	"certd/test/ports"
)

// serveWrongly answers every request at a port of 127.0.0.1 with the same text.
func serveWrongly(t testing.TB, port int) {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "somebody else") }),
		ReadHeaderTimeout: 10 * time.Second,
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
}

// Somebody else answers on port 80, so the CA refuses http-01; plan says which
// type comes next, and the next attempt is proven by it.
func TestAnotherTypeAfterTheCAsRefusal(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	serveWrongly(t, ca.HTTPPort())
	s := newSite(t, ca, fmt.Sprintf("challenge: {http-port: %d, tls-port: %d, proxy-port: %d, resolver: %q}\nmetrics: {textfile: %q}\n",
		ca.HTTPPort(), ca.TLSPort(), ports.Free(t), ca.Resolver(), filepath.Join(t.TempDir(), "certd.prom")))
	s.write("acme/conf/target", fmt.Sprintf("request: {challenge: {webroot-paths: [%q], http-self-test: false}}\n", t.TempDir()))
	s.must(0, "want", "www.example.com", "--no-reconcile")
	first, second := "http-01 by files, ", fmt.Sprintf("tls-alpn-01 on :%d", ca.TLSPort())
	if out := joined(s.must(0, "plan").out); !strings.Contains(out, "proven by: "+first) || !strings.Contains(out, ", then "+second) {
		t.Errorf("plan does not say that %q comes before %q:\n%s", first, second, out)
	}
	if r := s.must(1, "reconcile"); !strings.Contains(r.out, "http-01") {
		t.Errorf("the failure does not say that http-01 failed: %v", r)
	}
	if out := joined(s.must(0, "plan").out); !strings.Contains(out, "proven by: "+second+", then "+first) || !strings.Contains(out, "(failed before)") {
		t.Errorf("plan does not say that %q comes next, and what failed last:\n%s", second, out)
	}
	s.must(0, "reconcile", "--force")
	s.leaf("www.example.com")
	wantValidatedBy(t, s, "tls-alpn-01")
}

// joined undoes the wrapping of text for terminals.
func joined(text string) string { return strings.Join(strings.Fields(text), " ") }

// A wildcard that nothing can prove is told at once, and costs no order.
func TestWildcardWithoutAWay(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	s := pebbleSite(t, ca)
	r := s.must(1, "want", "*.example.com", "example.com")
	for _, want := range []string{"*.example.com", "http-01: it cannot prove a wildcard", "dns-01: no provider set (request.challenge.dns-provider) and no challenge-dns-start hook"} {
		if !strings.Contains(r.out+r.err, want) {
			t.Errorf("the failure does not say %q: %v", want, r)
		}
	}
	if n := acmetest.Count(ca.Requests(), "order"); n > 0 {
		t.Errorf("%d requests for an order that nothing could prove", n)
	}
}
