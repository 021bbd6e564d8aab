package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestServer asks the status server over a socket what it answers, to whom, and
// with which headers.
func TestServer(t *testing.T) {
	t.Parallel()
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "certd_up 1\n") })
	with := &loop{RunOptions: RunOptions{Options: Options{Log: slog.New(slog.DiscardHandler)}, MetricsHandler: metrics}, pulse: &pulse{}}
	without := &loop{pulse: &pulse{}}
	for _, tt := range []struct {
		loop               *loop
		method, path, host string
		header             string // value of a further header
		status             int
		body               string
	}{
		{with, "GET", "/", "", "", 200, "/metrics"},
		{without, "GET", "/", "", "", 200, "certd keeps"},
		{with, "GET", "/healthz", "", "", 200, "ok: 3 certificates"},
		{with, "HEAD", "/healthz", "", "", 200, ""},
		{without, "GET", "/healthz", "", "", 503, "failing: the loop has not turned"},
		{with, "GET", "/metrics", "", "", 200, "certd_up 1"},
		{without, "GET", "/metrics", "", "", 404, ""},
		{with, "GET", "/debug/pprof/", "", "", 404, ""},
		{with, "POST", "/healthz", "", "", 405, ""},
		{with, "DELETE", "/metrics", "", "", 405, ""},
		{with, "GET", "/metrics", "localhost", "", 200, "certd_up"},
		{with, "GET", "/metrics", "localhost:80", "", 200, "certd_up"},
		{with, "GET", "/metrics", "rebound.example.com", "", 421, "misdirected"},
		{with, "POST", "/metrics", "rebound.example.com", "", 421, "misdirected"},
		{with, "GET", "/metrics", "127.0.0.2", "", 421, "misdirected"},
		{with, "GET", "/metrics", "[::1]:9402", "", 421, "misdirected"},
		{with, "GET", "/metrics", "127.0.0.1.example.com", "", 421, "misdirected"},
		{with, "GET", "/metrics", "", strings.Repeat("x", 9<<10), 431, ""},
	} {
		t.Run(fmt.Sprintf("%s %s %s", tt.method, tt.path, tt.host), func(t *testing.T) {
			t.Parallel()
			s, err := openServer(t.Context(), "127.0.0.1:0", tt.loop.handler("127.0.0.1:0"))
			if err != nil {
				t.Fatal(err)
			}
			if tt.loop == with {
				with.pulse.turn("3 certificates\n")
			}
			s.serve()
			defer func() {
				if err := s.close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, tt.method, "http://"+s.ln.Addr().String()+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = tt.host
			if tt.header != "" {
				req.Header.Set("X-Long", tt.header)
			}
			resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if tt.status == 431 {
				err = nil // the rest of the request is not read: a reset
			}
			if err != nil || resp.StatusCode != tt.status || !strings.Contains(string(body), tt.body) {
				t.Errorf("answer %d %q, %v; want %d with %q", resp.StatusCode, body, err, tt.status, tt.body)
			}
			if csp := resp.Header.Get("Content-Security-Policy"); tt.status != 431 && !strings.HasPrefix(csp, "default-src 'none'") {
				t.Errorf("Content-Security-Policy is %q", csp)
			}
		})
	}
}

// TestServerThatNeverServed frees its port, too.
func TestServerThatNeverServed(t *testing.T) {
	t.Parallel()
	s, err := openServer(t.Context(), "127.0.0.1:0", http.NotFoundHandler())
	if err != nil {
		t.Fatal(err)
	}
	addr := s.ln.Addr().String()
	if _, err := openServer(t.Context(), addr, nil); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "; choose another address with listen:") {
		t.Errorf("the same address again: %v", err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	again, err := openServer(t.Context(), addr, nil)
	if err != nil {
		t.Fatalf("after close: %v", err)
	}
	if err := again.close(); err != nil {
		t.Error(err)
	}
}

func TestAllowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.want("www.example.test")
	w.view.Snapshot.Live["old.example.test:rsa"] = "x"
	w.view.Snapshot.Live["*.wild.example.test"] = "x"
	l := &loop{}
	if l.allowed("www.example.test") {
		t.Error("a name is allowed before any is known")
	}
	l.know(&w.view)
	for name, want := range map[string]bool{
		"www.example.test": true, "old.example.test": true, "a.wild.example.test": true, "wild.example.test": false,
		"a.b.wild.example.test": false, "example.test": false, "": false, "test": false,
	} {
		if got := l.allowed(name); got != want {
			t.Errorf("%q is allowed: %t, want %t", name, got, want)
		}
	}
}
