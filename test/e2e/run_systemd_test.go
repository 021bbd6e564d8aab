package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"certd/acme/acmetest"
	"certd/test/ports"
)

// A manager is the socket that a service manager reads sd_notify messages from.
type manager struct {
	path string
	mu   sync.Mutex
	said []string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "certd-notify-") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{path: filepath.Join(dir, "notify")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.said = append(m.said, string(buf[:n]))
			m.mu.Unlock()
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done; os.RemoveAll(dir) })
	return m
}

// count is how many messages begin with a text.
func (m *manager) count(prefix string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, s := range m.said {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

// TestRunTellsTheServiceManager: ready when it serves, a status in words, a
// watchdog that is fed, reload and end announced.
func TestRunTellsTheServiceManager(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	s, port := daemonSite(t, ca)
	s.write("acme/desired/www.example.test", "")
	m := newManager(t)
	r := s.daemon(func(cmd *exec.Cmd) {
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=400000")
	})
	waitFor(t, "READY", func() bool { return m.count("READY=1") == 1 })
	if status, _, err := get(port, "/healthz", ""); err != nil || status != http.StatusOK {
		t.Errorf("it said READY, and healthz is %d, %v", status, err)
	}
	waitFor(t, "STATUS", func() bool { return m.count("STATUS=1 certificate, next renewal in ") > 0 })
	waitFor(t, "WATCHDOG", func() bool { return m.count("WATCHDOG=1") >= 5 })

	r.signal(syscall.SIGHUP)
	waitFor(t, "RELOADING with its time, and READY again", func() bool {
		return m.count("RELOADING=1\nMONOTONIC_USEC=") == 1 && m.count("READY=1") == 2
	})
	s.settings(ca, "nonsense: 1\n")
	r.signal(syscall.SIGHUP)
	waitFor(t, "STATUS names the mistake", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return slices.ContainsFunc(m.said, func(s string) bool { return strings.HasPrefix(s, "STATUS=") && strings.Contains(s, "certd.yaml:3") })
	})
	r.terminate()
	waitFor(t, "STOPPING", func() bool { return m.count("STOPPING=1") == 1 })
}

// TestRunServesInheritedSockets: sockets that the service manager has opened are
// used by their names; the one for port 80 answers challenges and redirects the
// rest, also while and after an order listens there.
func TestRunServesInheritedSockets(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	s := pebbleSite(t, ca)
	unused := ports.Free(t)
	s.settings(ca, fmt.Sprintf("listen: 127.0.0.1:%d\nresponder: \":%d\"\n", unused, ca.HTTPPort()))
	s.write("acme/desired/www.example.test", "")
	r := s.daemon(activate(t, map[string]string{"status": "127.0.0.1:0", "http": fmt.Sprintf(":%d", ca.HTTPPort()), "proxy": "127.0.0.1:0"}))
	waitFor(t, "the certificate", s.isLive("www.example.test"))
	waitFor(t, "the pass is done", func() bool { return strings.Contains(r.log.String(), "pass done") })
	ports := listening(t, r.cmd.ExtraFiles)
	r.healthy(ports["status"], "ok: 1 certificate")
	for _, check := range []struct {
		socket, path, host string
		status             int
		body               string
	}{
		{"http", "/a?b=c", "WWW.example.test:80", 308, "https://www.example.test/a?b=c"},
		{"http", "/a", "other.example.test", 421, "misdirected"},
		{"http", "/.well-known/acme-challenge/x", "www.example.test", 404, "not found"},
		{"proxy", "/a", "www.example.test", 404, "not found"},
	} {
		status, body, err := get(ports[check.socket], check.path, check.host)
		if err != nil || status != check.status || !strings.Contains(body, check.body) {
			t.Errorf("%s %s for %s: %d %q, %v; want %d %q", check.socket, check.path, check.host, status, body, err, check.status, check.body)
		}
	}
	if _, _, err := get(unused, "/healthz", ""); err == nil {
		t.Error("listen: was opened although there is a status socket")
	}
	r.terminate()
	r = s.daemon(activate(t, map[string]string{"nonsense": "127.0.0.1:0"}))
	<-r.done
	if r.err == nil || !strings.Contains(r.log.String(), "FileDescriptorName=status, http or proxy") {
		t.Errorf("a socket with an unknown name: %v", r.err)
	}
}

// activate opens sockets and has the command inherit them as systemd does.
func activate(t *testing.T, sockets map[string]string) func(*exec.Cmd) {
	t.Helper()
	return func(cmd *exec.Cmd) {
		var names []string
		for name, addr := range sockets {
			ln, err := net.Listen("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			f, err := ln.(*net.TCPListener).File()
			if err != nil {
				t.Fatal(err)
			}
			fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3) // to give it its name
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			ln.Close()
			named := os.NewFile(uintptr(fd), name)
			t.Cleanup(func() { named.Close() })
			names = append(names, name)
			cmd.ExtraFiles = append(cmd.ExtraFiles, named)
		}
		cmd.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
		cmd.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}, append([]string{cmd.Path}, cmd.Args[1:]...)...)
		cmd.Path = "/bin/sh"
	}
}

// listening are the ports of inherited sockets by name.
func listening(t *testing.T, files []*os.File) map[string]int {
	t.Helper()
	ports := make(map[string]int)
	for _, f := range files {
		ln, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		ports[f.Name()] = ln.Addr().(*net.TCPAddr).Port
		ln.Close()
	}
	return ports
}
