package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"certd/acme/acmetest"
	"certd/test/ports"
)

// TestRunMovesAddresses: a reload moves listen and responder to other interfaces
// of the same port, and lets them change places; what cannot be had leaves the
// old one open.
func TestRunMovesAddresses(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	s, status := daemonSite(t, ca)
	web := ports.Free(t)
	s.write("acme/desired/www.example.test", "")
	set := func(listen, responder string) {
		s.settings(ca, fmt.Sprintf("listen: %q\nresponder: %q\n", listen, responder))
	}
	at := func(host string, port int) string { return fmt.Sprintf("%s:%d", host, port) }
	set(at("127.0.0.1", status), at("0.0.0.0", web))
	r := s.daemon(nil)
	r.healthy(status, "1 certificate")
	// answers says what a port is: a redirector, a responder for challenges, or the status server.
	answers := func(port int, is string) func() bool {
		return func() bool {
			code, body, err := get(port, "/some/path", "www.example.test")
			switch is {
			case "redirector":
				return err == nil && code == http.StatusPermanentRedirect && strings.Contains(body, "https://www.example.test/some/path")
			case "responder":
				return err == nil && code == http.StatusNotFound
			}
			return err == nil && code == http.StatusMisdirectedRequest && strings.Contains(body, "ask for this server's address")
		}
	}
	waitFor(t, "the redirector", answers(web, "redirector"))
	for _, move := range []struct {
		listen, responder     string
		status, web           string // what answers on the loopback address of the two ports
		trouble, stillAnswers bool
	}{
		{listen: at("127.0.0.1", status), responder: at("127.0.0.1", web), status: "status", web: "responder"},
		{listen: at("0.0.0.0", status), responder: at("", web), status: "status", web: "redirector"},
		{listen: at("0.0.0.0", status), responder: at("0.0.0.0", web), status: "status", web: "redirector"},
		{listen: at("127.0.0.1", status), responder: at("192.0.2.77", web), status: "status", web: "redirector", trouble: true},
		{listen: at("127.0.0.1", web), responder: at("127.0.0.1", web), status: "status", web: "redirector", trouble: true},
		{listen: at("127.0.0.1", web), responder: at("127.0.0.1", status), status: "responder", web: "status"},
		{listen: at("127.0.0.1", status), responder: at("0.0.0.0", web), status: "status", web: "redirector"},
	} {
		what := fmt.Sprintf("listen %s, responder %s", move.listen, move.responder)
		set(move.listen, move.responder)
		r.signal(syscall.SIGHUP)
		port := status
		if move.web == "status" {
			port = web
		}
		if move.trouble {
			r.healthy(port, "not reloaded")
		} else {
			waitFor(t, what+" without trouble", func() bool {
				code, body, err := get(port, "/healthz", "")
				return err == nil && code == http.StatusOK && !strings.Contains(body, "not reloaded")
			})
		}
		waitFor(t, what+": the first port", answers(status, move.status))
		waitFor(t, what+": the second port", answers(web, move.web))
	}
	if _, body, err := get(status, "/metrics", ""); err != nil || !strings.Contains(body, `certd_redirector_requests_total{result="redirected"} `) ||
		strings.Contains(body, `certd_redirector_requests_total{result="redirected"} 0`) {
		t.Errorf("the redirects are not counted (%v):\n%s", err, lines(body, "certd_redirector"))
	}
	if _, _, err := get(web, "/.well-known/acme-challenge/none", "www.example.test"); err != nil {
		t.Error(err)
	}
	if _, body, err := get(status, "/metrics", ""); err != nil || strings.Contains(body, `certd_challenge_requests_total{result="unknown",type="http-01"} 0`) {
		t.Errorf("requests for challenges are not counted (%v):\n%s", err, lines(body, "certd_challenge_requests"))
	}
	r.terminate()
}

// lines returns those with a text in them.
func lines(body, text string) string {
	var out strings.Builder
	for line := range strings.Lines(body) {
		if strings.Contains(line, text) {
			out.WriteString(line)
		}
	}
	return out.String()
}

// TestRunWaitsForAddress: an address that another process gives up a moment
// after the start is no reason not to start.
func TestRunWaitsForAddress(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	s, status := daemonSite(t, ca)
	port := ports.Free(t)
	taken, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s.settings(ca, fmt.Sprintf("listen: 127.0.0.1:%d\nresponder: 127.0.0.1:%d\n", status, port))
	r := s.daemon(nil)
	waitFor(t, "the daemon says that the address is in use", func() bool {
		return strings.Contains(r.log.String(), "an address is in use, trying again") && strings.Contains(r.log.String(), fmt.Sprint(port))
	})
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	r.healthy(status, "ok")
	if code, _, err := get(port, "/", ""); err != nil || code != http.StatusNotFound {
		t.Errorf("the responder answers %d, %v; want 404", code, err)
	}
	r.terminate()
}
