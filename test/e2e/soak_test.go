package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"certd/acme/acmetest"
)

// TestSoak runs the daemon, nginx and TLS clients against certificates that live
// for a minute: no handshake fails, nothing expires, memory and descriptors stay
// flat, and a SIGKILL in the middle changes none of it. CERTD_SOAK says for how
// long, such as 10m, and CERTD_SOAK_NAMES with how many names. Without them it is
// short, and the certificates live a little longer, for the sake of busy machines.
func TestSoak(t *testing.T) {
	t.Parallel()
	names, life, span := soakSize(t)
	ca := acmetest.StartT(t, acmetest.Options{Profiles: map[string]time.Duration{"soak": life}})
	s := newSite(t, ca, "")
	s.settings(ca, "listen: \"\"\nschedule: \"@every 1h\"\n")
	n := startNginx(t, s, ca.HTTPPort())
	s.write("acme/conf/target", fmt.Sprintf("request: {profile: soak, challenge: {method: webroot, webroot-paths: [%q]}}\n", n.prefix+"/webroot"))
	s.must(0, "hooks", "install")
	s.write("hooks/reload.conf", fmt.Sprintf("SERVICES=nginx\nRELOAD_MANAGER=none\nNGINX='%s -p %s -c nginx.conf'\n", n.binary, n.prefix))
	servers := &strings.Builder{}
	for i := range names {
		name := soakName(i)
		s.write("acme/desired/"+name, "")
		live := filepath.Join(s.state, "live", name)
		fmt.Fprintf(servers, "server { listen 127.0.0.1:%d ssl; server_name %s; ssl_certificate %s/fullchain; ssl_certificate_key %s/privkey; keepalive_timeout 0; location / { return 200; } }\n", n.tls, name, live, live)
	}
	s.must(0, "--log-level", "warn", "reconcile")
	n.configure(servers.String())
	s.must(0, "hooks", "test", soakName(0))
	waitFor(t, "nginx serves TLS", func() bool { return n.served() != "" })

	daemon := s.daemon(nil)
	clients := startClients(t, n.tls, names, ca.IssuerRootsPEM())
	load := startWrk(t, s, n.tls, span)
	time.Sleep(span / 4)
	rss, fds := usage(t, daemon.cmd.Process.Pid)
	time.Sleep(span / 4)
	rssLater, fdsLater := usage(t, daemon.cmd.Process.Pid)
	if err := daemon.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-daemon.done
	daemon = s.daemon(nil)
	time.Sleep(span / 2)
	daemon.signal(syscall.SIGTERM)
	<-daemon.done
	load.check(t)
	good, bad, first := clients.stop()
	t.Logf("%d names for %v: %d handshakes, %d failed; memory %d to %d KiB, descriptors %d to %d", names, span, good, bad, rss, rssLater, fds, fdsLater)
	if bad > 0 || good == 0 {
		t.Errorf("%d of %d handshakes failed, the first: %v", bad, good+bad, first)
	}
	if fdsLater > fds+20 || rssLater > rss+rss/2+20<<10 {
		t.Errorf("memory grew from %d to %d KiB, descriptors from %d to %d", rss, rssLater, fds, fdsLater)
	}
	s.checkLive()
}

func soakName(i int) string { return fmt.Sprintf("soak%d.example.test", i) }

func soakSize(t *testing.T) (names int, life, span time.Duration) {
	names, life, span = 5, 100*time.Second, 80*time.Second
	var err error
	if text := os.Getenv("CERTD_SOAK"); text != "" {
		life = time.Minute
		if span, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("CERTD_SOAK_NAMES"); text != "" {
		if names, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	return names, life, span
}

// soakClients shake hands with nginx, over and over, as strict clients do.
type soakClients struct {
	cancel    context.CancelFunc
	running   sync.WaitGroup
	good, bad atomic.Int64
	first     atomic.Pointer[error]
}

func startClients(t *testing.T, port, names int, rootsPEM []byte) *soakClients {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(rootsPEM)
	ctx, cancel := context.WithCancel(t.Context())
	c := &soakClients{cancel: cancel}
	for worker := range 2 {
		c.running.Go(func() {
			for i := worker; ctx.Err() == nil; i += 2 {
				dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: time.Minute}, Config: &tls.Config{RootCAs: roots, ServerName: soakName(i % names)}}
				conn, err := dialer.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
				switch {
				case ctx.Err() != nil:
				case err != nil:
					c.bad.Add(1)
					c.first.CompareAndSwap(nil, &err)
				default:
					c.good.Add(1)
				}
				if err == nil {
					conn.Close()
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	return c
}

func (c *soakClients) stop() (good, bad int64, first error) {
	c.cancel()
	c.running.Wait()
	if p := c.first.Load(); p != nil {
		first = *p
	}
	return c.good.Load(), c.bad.Load(), first
}

// A wrkRun is wrk at work on nginx. It doesn't look at certificates as the other
// clients do, but sees each connection that is refused, cut off or not answered.
type wrkRun struct {
	out  bytes.Buffer
	done chan error
}

// startWrk has wrk make new TLS connections to nginx for span: one after the
// other on four of its own, each with one request and a rest.
func startWrk(t *testing.T, s *site, port int, span time.Duration) *wrkRun {
	t.Helper()
	program := needProgram(t, "wrk")
	s.write("wrk.lua", "function delay() return 20 end\n")
	ctx, cancel := context.WithTimeout(t.Context(), 2*span+time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, "-t1", "-c4", fmt.Sprintf("-d%ds", int(span.Seconds())), "--timeout", "30s",
		"-s", filepath.Join(s.dir, "wrk.lua"), fmt.Sprintf("https://127.0.0.1:%d/", port))
	w := &wrkRun{done: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = &w.out, &w.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { w.done <- cmd.Wait() }()
	return w
}

// check waits for wrk, which tells of errors only if there were any.
func (w *wrkRun) check(t *testing.T) {
	t.Helper()
	err := <-w.done
	out := w.out.String()
	requests := regexp.MustCompile(`(?m)^\s*([1-9][0-9]*) requests in`).FindStringSubmatch(out)
	if err != nil || requests == nil || strings.Contains(out, "Socket errors") || strings.Contains(out, "Non-2xx") {
		t.Errorf("wrk: %v, want requests without errors:\n%s", err, out)
		return
	}
	t.Logf("wrk: %s requests, each on a connection of its own, no error", requests[1])
}

// usage is the resident memory of a process in KiB, and its open descriptors.
func usage(t *testing.T, pid int) (rss, fds int) {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			rss, _ = strconv.Atoi(strings.Fields(rest)[0])
		}
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return rss, len(open)
}
