package challenge_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"certd/challenge"
	"certd/challenge/challengetest"
)

func TestSelfTestRedirects(t *testing.T) {
	t.Parallel()
	ch := challengetest.Challenge(token)
	tlsWeb := httptest.NewTLSServer(answer(ch.KeyAuthorization)) // with a certificate nobody trusts
	t.Cleanup(tlsWeb.Close)
	tlsPort := tlsWeb.Listener.Addr().String()[len("127.0.0.1:"):]
	for _, c := range []struct{ name, to, want string }{
		{"to https of the same name", "https://www.example.com:" + tlsPort + "PATH", ""},
		{"to https of another name", "https://other.example.com:" + tlsPort + "PATH", ""},
		{"to another name and port", "http://other.example.com:PORT/right", ""},
		{"relative", "/right", ""},
		{"to nowhere", "http://gone.example.com/", ", redirected to http://gone.example.com/: no A or AAAA record of gone.example.com found"},
		{"to another port", "http://www.example.com:8080PATH", "a CA follows redirects to the ports 80, 443, "},
		{"to ftp", "ftp://www.example.com/x", "a CA follows redirects to http and https only"},
		{"to a file", "file:///etc/passwd", "a CA follows redirects to http and https only"},
		{"to an address", "http://127.0.0.1:PORT/right", "a CA does not follow redirects to IP addresses"},
		{"to a v6 address", "http://[::1]:PORT/right", "a CA does not follow redirects to IP addresses"},
		{"with a user", "http://u:p@www.example.com:PORT/right", "has a user name"},
		{"to itself", "PATH", "more than 10 redirects"},
		{"to something long", "/" + strings.Repeat("a", 3000), "the redirect is too long"},
		{"to no URL", "http://[", "Location"},
		{"with the token in it", "/wrong?t=" + token, "redirected to http://www.example.com:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			to := c.to
			port := serveAt(t, "127.0.0.1", 0, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Header.Get("Referer") != "":
					http.Error(w, "the token left by Referer", http.StatusTeapot)
				case r.URL.Path == "/right":
					_, _ = io.WriteString(w, ch.KeyAuthorization)
				case r.URL.Path == "/wrong":
					http.NotFound(w, r)
				default:
					_, port, _ := strings.Cut(r.Host, ":")
					redirect(strings.ReplaceAll(to, "PORT", port))(w, r)
				}
			})
			_, server := serveDNS(t, "www.example.com. A 127.0.0.1", "other.example.com. A 127.0.0.1", "other.example.com. AAAA ::1")
			s := &challenge.SelfTest{Port: port, Resolver: server, Limit: short}
			if _, err := fmt.Sscan(tlsPort, &s.TLSPort); err != nil {
				t.Fatal(err)
			}
			if c.want == "" {
				s.Limit = time.Minute
			}
			err := s.Check(t.Context(), www(), ch)
			checkError(t, err, c.want, ch)
			if err != nil && strings.Contains(err.Error(), token) {
				t.Errorf("the error names the token: %v", err)
			}
		})
	}
}

// Ten redirects are followed, like a CA does, and not eleven.
func TestSelfTestCountsRedirects(t *testing.T) {
	t.Parallel()
	ch := challengetest.Challenge(token)
	for _, hops := range []int{10, 11} {
		var requests atomic.Int32
		port := serveAt(t, "127.0.0.1", 0, func(w http.ResponseWriter, r *http.Request) {
			n := 0
			if _, err := fmt.Sscanf(r.URL.Path, "/%d", &n); err != nil {
				requests.Store(0)
			}
			requests.Add(1)
			if n == hops {
				_, _ = io.WriteString(w, ch.KeyAuthorization)
				return
			}
			redirect(fmt.Sprintf("/%d", n+1))(w, r)
		})
		_, server := serveDNS(t, "www.example.com. A 127.0.0.1")
		want := ""
		s := &challenge.SelfTest{Port: port, Resolver: server, Limit: time.Minute}
		if hops > 10 {
			want, s.Limit = "more than 10 redirects", short
		}
		checkError(t, s.Check(t.Context(), www(), ch), want, ch)
		if got := requests.Load(); got != 11 {
			t.Errorf("%d redirects: %d requests in a row, want 11", hops, got)
		}
	}
}
