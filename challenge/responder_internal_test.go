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
	"strings"
	"sync"
	"testing"
	"time"
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
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, sent); err != nil {
		t.Fatal(err)
	}
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

func TestSlowClientIsHungUpOn(t *testing.T) {
	t.Parallel()
	r := NewResponder()
	r.headerTimeout, r.timeout = 30*time.Millisecond, 60*time.Millisecond
	addr, _ := open(t, r)
	for _, sent := range []string{"", "GET ", "GET / HTTP/1.1\r\nHost: x\r\nX: "} {
		c := slow(t, addr, sent)
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("a client that sent only %q was not hung up on: %v", sent, err)
		}
	}
}

// With a slow client on every slot the next one waits, and gets in once they are hung up on.
func TestConnectionCap(t *testing.T) {
	t.Parallel()
	r := NewResponder()
	r.total, r.headerTimeout = 3, 50*time.Millisecond
	addr, _ := open(t, r)
	for range 9 {
		slow(t, addr, "GET / HTTP/1.1\r\n")
	}
	r.mu.Lock()
	l := r.listeners["127.0.0.1:0"]
	r.mu.Unlock()
	c := slow(t, addr, "GET / HTTP/1.0\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("the request after the slow ones: %v", err)
	}
	defer resp.Body.Close()
	if got := cap(l.slots); got != 3 {
		t.Errorf("the listener has %d slots, want 3", got)
	}
}

func TestConnectionsByAddress(t *testing.T) {
	t.Parallel()
	l := &listener{perAddr: 2, conns: map[netip.Addr]int{}, slots: make(chan struct{}, 10)}
	for range 10 {
		l.slots <- struct{}{}
	}
	stranger, proxy := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.1")
	for i, want := range []bool{true, true, false} {
		if got := l.enter(stranger); got != want {
			t.Errorf("connection %d of one address: let in %v, want %v", i+1, got, want)
		}
	}
	if !l.enter(netip.MustParseAddr("2001:db8::1")) {
		t.Error("another address was kept out")
	}
	l.leave(stranger)
	if !l.enter(stranger) {
		t.Error("an address was kept out after it had closed a connection")
	}
	for range 5 {
		if !l.enter(proxy) {
			t.Error("a proxy on loopback was kept out")
		}
	}
}

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
