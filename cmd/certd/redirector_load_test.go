package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRedirectorUnderIdleConnections: 20,000 idle clients of one machine do not
// keep a CA from its token.
func TestRedirectorUnderIdleConnections(t *testing.T) {
	s := newRedirectorSite(t) // not parallel: it needs the machine's descriptors
	args := []string{"--listen", "127.0.0.1:0", "--path", s.web}
	if os.Getuid() != 0 {
		args = append(args, "--user", "")
	}
	p := s.start(certdRedirector, nil, args...)
	clients := 20000
	limit := unix.Rlimit{Cur: 21000, Max: 21000}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		clients = min(clients, int(limit.Cur)-1000)
		t.Logf("only %d connections: more descriptors are not allowed here", clients)
	}
	var idle []net.Conn
	defer func() {
		for _, c := range idle {
			_ = c.Close()
		}
	}()
	for i := range clients {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%4))}, Timeout: 2 * time.Minute}
		c, err := dialer.DialContext(t.Context(), "tcp", p.addr)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		idle = append(idle, c)
		if i%2000 == 1999 {
			if status, _, body := p.get("ca.example", "/.well-known/acme-challenge/"+challengeToken); status != 200 || !strings.HasPrefix(body, challengeToken) {
				t.Fatalf("with %d idle connections the token got %d %q", len(idle), status, body)
			}
		}
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err == nil && len(fds) > 1200 {
		t.Errorf("the redirector has %d descriptors open", len(fds))
	}
	p.end()
}
