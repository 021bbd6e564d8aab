package challenge

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"certd/test/ports"
)

func TestResponderBounds(t *testing.T) {
	t.Parallel()
	r := NewResponder()
	s := r.server()
	for _, c := range []struct {
		name      string
		got, want time.Duration
	}{
		{"ReadHeaderTimeout", s.ReadHeaderTimeout, 5 * time.Second},
		{"ReadTimeout", s.ReadTimeout, 10 * time.Second},
		{"WriteTimeout", s.WriteTimeout, 10 * time.Second},
		{"IdleTimeout", s.IdleTimeout, 10 * time.Second},
	} {
		if c.got != c.want {
			t.Errorf("%s is %v, want %v", c.name, c.got, c.want)
		}
	}
	if s.Protocols.HTTP2() || s.Protocols.UnencryptedHTTP2() || !s.Protocols.HTTP1() {
		t.Errorf("the responder speaks %v, want HTTP/1 only", s.Protocols)
	}
}

// slow opens a connection and sends something that is no whole request.
func slow(t *testing.T, addr, sent string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, sent) // it may have been hung up on already
	return c
}

func open(t *testing.T, r *Responder) (addr string, release func() error) {
	t.Helper()
	release, err := r.Listen([]string{"127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r.Addrs()[0], release
}

// A process that is being started has a copy of every socket for a moment. A port
// that was released is free nonetheless.
func TestReleasedPortIsFree(t *testing.T) {
	t.Parallel()
	addr := fmt.Sprintf("127.0.0.1:%d", ports.Free(t))
	for _, r := range []*Responder{NewResponder(), NewALPNResponder().responder} {
		release, err := r.Listen([]string{addr})
		if err != nil {
			t.Fatal(err)
		}
		kept, err := r.listeners[addr].Listener.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer kept.Close()
		if err := release(); err != nil {
			t.Error(err)
		}
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			t.Error("somebody answers after the release")
		}
		if release, err = r.Listen([]string{addr}); err != nil {
			t.Fatalf("the next challenge: %v", err)
		}
		if err := errors.Join(release(), r.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestSlowClientIsHungUpOn(t *testing.T) {
	t.Parallel()
	r := NewResponder()
	r.headerTimeout, r.timeout = 30*time.Millisecond, 60*time.Millisecond
	addr, _ := open(t, r)
	for _, sent := range []string{"", "GET ", "GET / HTTP/1.1\r\nHost: x\r\nX: "} {
		c := slow(t, addr, sent)
		if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) { // a reset is fine
			t.Errorf("a client that sent only %q was not hung up on: %v", sent, err)
		}
	}
}

// With an idle client on every place the next one gets in at once: nobody waits
// for the idle ones to be hung up on.
func TestConnectionCap(t *testing.T) {
	t.Parallel()
	r := NewResponder()
	r.total, r.headerTimeout = 3, time.Minute
	addr, _ := open(t, r)
	var idle []net.Conn
	for range 9 {
		idle = append(idle, slow(t, addr, "GET / HTTP/1.1\r\n"))
	}
	c := slow(t, addr, "GET / HTTP/1.0\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("the request after the slow ones: %v", err)
	}
	defer resp.Body.Close()
	if _, err := idle[0].Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the oldest of the idle clients was not hung up on: %v", err)
	}
	r.mu.Lock()
	l := r.listeners["127.0.0.1:0"]
	r.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count > 3 {
		t.Errorf("the listener has %d connections, want at most 3", l.count)
	}
}

// fake is a connection from an address.
func fake(l *listener, addr string) *conn {
	server, client := net.Pipe()
	_ = client.Close()
	return &conn{Conn: server, l: l, addr: netip.MustParseAddr(addr)}
}

// Who must make room: the oldest of an address that has too many, else the
// oldest of the address that has the most.
func TestWhoMakesRoom(t *testing.T) {
	t.Parallel()
	l := newListener(nil, nil, 6, 2)
	enter := func(addr string, want *conn) *conn {
		t.Helper()
		c := fake(l, addr)
		out := l.enter(c)
		if out != want {
			t.Errorf("for a connection of %s %v had to go, want %v", addr, out, want)
		}
		if out != nil {
			out.hangUp()
		}
		return c
	}
	first := enter("192.0.2.1", nil)
	enter("192.0.2.1", nil)
	enter("192.0.2.1", first) // its third
	ca := enter("198.51.100.7", nil)
	proxy := enter("127.0.0.1", nil)
	enter("127.0.0.1", nil)
	enter("127.0.0.1", nil)               // loopback may have more than two; six are open
	enter("2001:db8::", proxy)            // three of loopback: it is the crowd
	second := l.conns[first.addr].Front() // now three addresses have two
	enter("203.0.113.1", second.Value.(*conn))
	if ca.place == nil || l.conns[ca.addr].Len() != 1 {
		t.Error("the CA's only connection was hung up on")
	}
	if l.count != 6 {
		t.Errorf("%d connections are listed, want 6", l.count)
	}
}

// A machine has a whole /64 of IPv6 addresses, and one of IPv4.
func TestRemoteAddress(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1", "[::ffff:192.0.2.1]:5": "192.0.2.1", "[2001:db8:1:2:3::4]:5": "2001:db8:1:2::", "[::1]:5": "::1", "[fe80::1%1]:5": "fe80::",
	} {
		c := remote{addr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
		if got := remoteAddr(c).String(); got != want {
			t.Errorf("a connection from %s is counted for %s, want %s", from, got, want)
		}
	}
}

type remote struct {
	net.Conn
	addr net.Addr
}

func (r remote) RemoteAddr() net.Addr { return r.addr }

// Releasing is quick and joins everything even if a client never lets go.
func TestReleaseWithSlowClients(t *testing.T) {
	t.Parallel()
	r := NewResponder()
	r.Put("x", "y")
	addr, release := open(t, r)
	idle := slow(t, addr, "")
	half := slow(t, addr, "GET / HTTP/1.1\r\n")
	if err := release(); err != nil {
		t.Errorf("release: %v", err)
	}
	for _, c := range []net.Conn{idle, half} {
		if n, _ := io.Copy(io.Discard, c); n > 0 {
			t.Errorf("a client got %d bytes for no request", n)
		}
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close()
		t.Error("the port still accepts")
	}
}

// An address that is closed and opened at the same time is never "in use".
func TestReleaseAndListenAgain(t *testing.T) {
	t.Parallel()
	r := NewResponder()
	addr := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000)) // no client gets such a port
	done := make(chan error)
	for range 8 {
		go func() {
			for range 25 {
				release, err := r.Listen([]string{addr})
				if err == nil {
					err = release()
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Errorf("listen and release in turn: %v", err)
		}
	}
}

func FuzzLookup(f *testing.F) {
	const token = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
	for _, seed := range []string{
		PathPrefix + token, PathPrefix, "/", "", "*", "//" + PathPrefix + token, PathPrefix + "../" + token, PathPrefix + "%65" + token[1:],
		"http://user@host" + PathPrefix + token, "http://host" + PathPrefix + token, PathPrefix + token + "?", PathPrefix + token + "#x",
		PathPrefix + token + "/", PathPrefix + token + "%00", `\` + PathPrefix + token, "/.well-known/acme-challenge%2f" + token, PathPrefix + "\x00", "http:" + PathPrefix + token,
	} {
		f.Add(seed)
	}
	r := NewResponder()
	r.Put(token, "right")
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		got, ok := r.lookup(u)
		if ok != (got == "right") {
			t.Errorf("lookup(%q) = %q, %v", target, got, ok)
		}
		if ok && target != PathPrefix+token && !strings.HasSuffix(target, PathPrefix+token) {
			t.Errorf("the request target %q got the answer of %q", target, PathPrefix+token)
		}
		if !ok && target == PathPrefix+token {
			t.Errorf("the request target %q got no answer", target)
		}
	})
}

// While an address is looked up, answers are given, tokens come and go, and other
// addresses are opened.
func TestAcquireHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	for _, closed := range []bool{false, true} {
		r := NewResponder()
		begun, goOn := make(chan struct{}), make(chan struct{})
		r.openPort = func(addr string, total, perAddr int) (*listener, error) {
			if addr == "slow.example.com:0" {
				close(begun) // a second time would panic
				<-goOn
				addr = "127.0.0.1:0"
			}
			return openListener(addr, total, perAddr)
		}
		var wg sync.WaitGroup
		releases := make([]func() error, 3)
		errs := make([]error, len(releases))
		for i := range releases {
			wg.Go(func() { releases[i], errs[i] = r.Listen([]string{"slow.example.com:0"}) })
		}
		<-begun
		addr, release := open(t, r)
		r.Put("token", "key authorization")
		res, err := http.Get("http://" + addr + PathPrefix + "token")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("the answer is status %d, want 200", res.StatusCode)
		}
		if closed {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		close(goOn)
		wg.Wait()
		if err := release(); err != nil {
			t.Error(err)
		}
		for i, err := range errs {
			if closed != errors.Is(err, ErrClosed) || !closed && err != nil {
				t.Errorf("closed meanwhile: %v; Listen gave %v", closed, err)
			}
			if err == nil {
				if n := len(r.Addrs()); n != 1 {
					t.Errorf("%d listeners, want one for all", n)
				}
				if err := releases[i](); err != nil {
					t.Error(err)
				}
			}
		}
		if left := r.Addrs(); len(left) > 0 {
			t.Errorf("left open: %v", left)
		}
	}
}
