package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"certd/acme/acmetest"
	"certd/test/ports"
)

// A running is a certd run.
type running struct {
	*site
	cmd  *exec.Cmd
	log  *logBuffer
	done chan struct{} // closed when it has ended
	err  error         // then
}

// A logBuffer may be read while a process writes it.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// daemon starts certd run; prepare, if not nil, changes the command before.
func (s *site) daemon(prepare func(*exec.Cmd)) *running {
	s.t.Helper()
	r := &running{site: s, log: &logBuffer{}, done: make(chan struct{})}
	r.cmd = s.command(context.Background(), "run")
	r.cmd.Stderr = r.log
	if prepare != nil {
		prepare(r.cmd)
	}
	if err := r.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { defer close(r.done); r.err = r.cmd.Wait() }()
	s.t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.done
		if s.t.Failed() {
			s.t.Logf("certd run said:\n%s", r.log)
		}
	})
	return r
}

// settings writes conf/certd.yaml anew, at once, with these lines behind the CA's.
func (s *site) settings(ca *acmetest.CA, lines string) {
	s.write("certd.yaml", fmt.Sprintf("cas: [{name: testca, directory: %q, ca-bundle: %q}]\nchallenge: {http-port: %d, resolver: %q}\n%s",
		ca.URL(), filepath.Join(s.dir, "ca.pem"), ca.HTTPPort(), ca.Resolver(), lines))
	if err := os.Rename(filepath.Join(s.dir, "certd.yaml"), filepath.Join(s.state, "conf", "certd.yaml")); err != nil {
		s.t.Fatal(err)
	}
}

// daemonSite is a site whose daemon listens at port for status, and waits for no
// schedule.
func daemonSite(t *testing.T, ca *acmetest.CA) (s *site, port int) {
	t.Helper()
	s, port = pebbleSite(t, ca), ports.Free(t)
	s.settings(ca, fmt.Sprintf("listen: 127.0.0.1:%d\n", port))
	return s, port
}

// get asks a local server; host replaces the Host header if it is not empty.
func get(port int, path, host string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
	if err != nil {
		return 0, "", err
	}
	req.Host = host
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data) + resp.Header.Get("Location"), err
}

// healthy waits until /healthz has answered with 200 and a text.
func (r *running) healthy(port int, text string) {
	r.t.Helper()
	waitFor(r.t, "healthz says "+text, func() bool {
		status, body, err := get(port, "/healthz", "")
		return err == nil && status == http.StatusOK && strings.Contains(body, text)
	})
}

func (r *running) signal(s os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// terminate sends SIGTERM and expects an end with exit 0 soon: within 10 seconds
// if the machine has nothing else to do, as tests of the loop show.
func (r *running) terminate() {
	r.t.Helper()
	r.signal(syscall.SIGTERM)
	select {
	case <-r.done:
		if r.err != nil {
			r.t.Fatalf("after SIGTERM: %v", r.err)
		}
	case <-time.After(time.Minute):
		r.t.Fatal("still there a minute after SIGTERM")
	}
}

func (s *site) isLive(name string) func() bool {
	return func() bool { _, err := os.Stat(filepath.Join(s.state, "live", name, "fullchain")); return err == nil }
}

// TestRunIssuesFollowsAndRenews: the daemon obtains what is wanted when it
// starts, and what is wanted later without being told; it renews certificates of
// 45 seconds before they expire, although the schedule comes every six hours.
func TestRunIssuesFollowsAndRenews(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{Profiles: map[string]time.Duration{"default": 45 * time.Second}})
	s, port := daemonSite(t, ca)
	s.must(0, "want", "--no-reconcile", "first.example.test")
	r := s.daemon(nil)
	waitFor(t, "the first certificate", s.isLive("first.example.test"))
	s.must(0, "want", "--no-reconcile", "second.example.test")
	waitFor(t, "the certificate wanted while the daemon runs", s.isLive("second.example.test"))
	serials := make(map[string]bool)
	waitFor(t, "two renewals", func() bool {
		leaf := s.leaf("first.example.test")
		if time.Now().After(leaf.NotAfter) {
			t.Fatalf("the live certificate expired at %v", leaf.NotAfter)
		}
		serials[leaf.SerialNumber.String()] = true
		return len(serials) == 3
	})
	s.must(0, "unwant", "second.example.test")
	r.healthy(port, "1 certificate, next renewal in")
	for host, want := range map[string]int{
		"": 200, fmt.Sprintf("localhost:%d", port): 200, "LOCALHOST": 200, "127.0.0.1": 200,
		"rebound.example.com": 421, "127.0.0.2": 421, "[::1]": 421, "localhost.example.com": 421,
	} {
		if status, _, err := get(port, "/healthz", host); err != nil || status != want {
			t.Errorf("Host %q: status %d, %v; want %d", host, status, err, want)
		}
	}
	if resp, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/healthz", port), "text/plain", nil); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v, %v; want 405", resp, err)
	} else {
		resp.Body.Close()
	}
	r.terminate()
	// A change in desired/ may as well be taken up by a pass that had come due.
	if strings.Contains(r.log.String(), "trigger=cron") || !strings.Contains(r.log.String(), "trigger=timer") {
		t.Errorf("the log does not show passes by timer, and none by the schedule:\n%s", r.log)
	}
}

// TestRunReloads: SIGHUP takes a good file over as a whole, and leaves all as it
// was for a bad one, which it says until it is mended.
func TestRunReloads(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	s, first := daemonSite(t, ca)
	r := s.daemon(nil)
	r.healthy(first, "ok: 0 certificates")
	second, taken := ports.Free(t), ports.Free(t)
	for _, bad := range []struct{ lines, says string }{
		{"listen: nonsense\n", "certd.yaml:3"},
		{fmt.Sprintf("schedule: \"0 0 31 2 *\"\nlisten: 127.0.0.1:%d\n", second), "never comes"},
		{fmt.Sprintf("listen: 127.0.0.1:%d\nresponder: 192.0.2.1:%d\n", second, taken), "192.0.2.1"},
	} {
		s.settings(ca, bad.lines)
		r.signal(syscall.SIGHUP)
		r.healthy(first, bad.says)
		if _, _, err := get(second, "/healthz", ""); err == nil {
			t.Errorf("%q: part of a bad configuration was taken over", bad.lines)
		}
	}
	s.write("acme/desired/www.example.test", "")
	waitFor(t, "a certificate under the old configuration", s.isLive("www.example.test"))
	s.write("acme/conf/target", "reqest: {}\n")
	s.write("acme/desired/web.example.test", "")
	waitFor(t, "a certificate under the old defaults", s.isLive("web.example.test"))
	r.healthy(first, "conf/target")
	s.write("acme/conf/target", "request: {challenge: {method: listen}}\n")

	s.settings(ca, fmt.Sprintf("listen: 127.0.0.1:%d\nresponder: 127.0.0.1:%d\n", second, taken))
	r.signal(syscall.SIGHUP)
	r.healthy(second, "2 certificates")
	if _, body, err := get(second, "/healthz", ""); err != nil || strings.Contains(body, "trouble") {
		t.Errorf("healthz after it was mended: %q, %v", body, err)
	}
	waitFor(t, "the old port is closed", func() bool { _, _, err := get(first, "/healthz", ""); return err != nil })
	if status, _, err := get(taken, "/.well-known/acme-challenge/none", ""); err != nil || status != http.StatusNotFound {
		t.Errorf("the responder: %d, %v; want 404", status, err)
	}
	r.terminate()
}

// TestRunRefusesToStart: a mistake in conf/ and a port that is taken are known at
// once, by exit code and message.
func TestRunRefusesToStart(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	s, port := daemonSite(t, ca)
	r := s.daemon(nil)
	r.healthy(port, "ok")
	if res := s.must(1, "run"); !strings.Contains(res.err, fmt.Sprintf("listen 127.0.0.1:%d: port %[1]d in use", port)) {
		t.Errorf("a second daemon at the same address says %q", res.err)
	}
	r.terminate()
	for _, mistake := range []string{"listne: x\n", "schedule: 61 * * * *\n"} {
		s.settings(ca, mistake)
		if res := s.must(78, "run"); !strings.Contains(res.err, "certd.yaml:3") {
			t.Errorf("%q is called %q, want file and line", mistake, res.err)
		}
	}
}

// TestRunStopsInTime: SIGTERM in the middle of an order that the CA does not
// finish ends the daemon in time; the next run goes on with the same order.
func TestRunStopsInTime(t *testing.T) {
	t.Parallel()
	gate := &gate{}
	ca := acmetest.StartT(t, acmetest.Options{Wrap: gate.wrap})
	s, _ := daemonSite(t, ca)
	s.write("acme/desired/www.example.test", "")
	gate.shut(true)
	r := s.daemon(nil)
	waitFor(t, "the daemon waits for the CA", gate.waited)
	r.terminate()
	if open, err := os.ReadDir(filepath.Join(s.state, "orders")); err != nil || len(open) != 1 {
		t.Fatalf("orders/ after SIGTERM: %v, %v; want one", open, err)
	}
	gate.shut(false)
	r = s.daemon(nil)
	waitFor(t, "the certificate", s.isLive("www.example.test"))
	if n := acmetest.Count(ca.Requests(), "order"); n != 1 {
		t.Errorf("%d orders were made, want 1", n)
	}
	r.terminate()
}

// TestRunSecondSignal: who cannot wait for a hook that does not heed SIGTERM sends
// another signal.
func TestRunSecondSignal(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	s, _ := daemonSite(t, ca)
	s.write("hooks/deaf", "#!/bin/sh\ntrap '' TERM\ntouch "+s.dir+"/heard\nsleep 90\n")
	if err := os.Chmod(filepath.Join(s.hooks, "deaf"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.write("acme/desired/www.example.test", "")
	r := s.daemon(nil)
	waitFor(t, "the hook runs", func() bool { _, err := os.Stat(s.dir + "/heard"); return err == nil })
	r.signal(syscall.SIGTERM)
	waitFor(t, "the daemon is stopping", func() bool { return strings.Contains(r.log.String(), "msg=stopping") })
	r.signal(syscall.SIGTERM)
	<-r.done
	if status, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v, want by the second signal", r.cmd.ProcessState)
	}
	if s.checkLive(); !s.isLive("www.example.test")() {
		t.Error("the certificate that was there before is gone")
	}
}

// A gate holds up requests that finalize orders.
type gate struct {
	mu     sync.Mutex
	closed bool
	held   int
}

func (g *gate) shut(closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = closed
}

func (g *gate) waited() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held > 0
}

func (g *gate) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		hold := g.closed && strings.Contains(r.URL.Path, "finalize")
		if hold {
			g.held++
		}
		g.mu.Unlock()
		if hold {
			_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice that the client left
			<-r.Context().Done()
			return
		}
		next.ServeHTTP(w, r)
	})
}
