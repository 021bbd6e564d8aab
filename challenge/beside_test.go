package challenge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"certd/challenge"
	"certd/test/ports"
)

// TestBindBeside moves between addresses of one port in every direction: the new
// one is open while the old one still is, and a stranger gets neither.
func TestBindBeside(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{"0.0.0.0", "127.0.0.1"}, {"127.0.0.1", "0.0.0.0"}, {"127.0.0.1", ""}, {"0.0.0.0", ""}, {"", "127.0.0.1"}, {"127.0.0.1", "127.0.0.1"},
	} {
		t.Run(fmt.Sprintf("%q to %q", c[0], c[1]), func(t *testing.T) {
			t.Parallel()
			port := fmt.Sprint(ports.Free(t))
			old, err := challenge.Bind(t.Context(), c[0]+":"+port)
			if err != nil {
				t.Fatal(err)
			}
			defer old.Close()
			to := c[1] + ":" + port
			if _, err := challenge.BindBeside(t.Context(), to); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("beside a stranger's listener: %v, want in use", err)
			}
			ln, err := challenge.BindBeside(t.Context(), to, old)
			if err != nil {
				t.Fatalf("beside our own: %v", err)
			}
			defer ln.Close()
			if _, err := challenge.Bind(t.Context(), to); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("a stranger binds the new address: %v", err)
			}
			if _, err := challenge.Bind(t.Context(), c[0]+":"+port); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("a stranger binds the old address: %v", err)
			}
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			go func() {
				for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
					_, _ = io.WriteString(conn, "hello")
					_ = conn.Close()
				}
			}()
			text, err := hear("127.0.0.1:" + port)
			for range 100 { // a process that another test starts may have the old one for a moment
				if err == nil {
					break
				}
				time.Sleep(50 * time.Millisecond)
				text, err = hear("127.0.0.1:" + port)
			}
			if err != nil || text != "hello" {
				t.Errorf("the new listener answers %q, %v", text, err)
			}
		})
	}
}

// hear returns what is said at an address.
func hear(addr string) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	text, err := io.ReadAll(conn)
	return string(text), err
}

// TestBindBesideInVain leaves the old listener alone.
func TestBindBesideInVain(t *testing.T) {
	t.Parallel()
	old, err1 := challenge.Bind(t.Context(), "127.0.0.1:0")
	taken, err2 := challenge.Bind(t.Context(), "127.0.0.1:0")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	defer taken.Close()
	if _, err := challenge.BindBeside(t.Context(), taken.Addr().String(), old); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a stranger's address: %v, want in use", err)
	}
	if _, err := challenge.Bind(t.Context(), old.Addr().String()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the old address was given up: %v", err)
	}
}

// TestServeTakesOver: who listens on an address keeps its listener when another
// one is served there; the next who asks gets the new one.
func TestServeTakesOver(t *testing.T) {
	t.Parallel()
	old, err := challenge.Bind(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := old.Addr().String()
	r := challenge.NewResponder()
	answer := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
	}
	stop, err := r.Serve(old, answer("old"))
	if err != nil {
		t.Fatal(err)
	}
	release, err := r.Listen([]string{addr})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := challenge.BindBeside(t.Context(), addr, old)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Serve(ln, answer("new")); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if n := len(r.Addrs()); n != 2 {
		t.Errorf("%d listeners while a challenge has the old one, want 2", n)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	if n := len(r.Addrs()); n != 1 {
		t.Errorf("%d listeners, want 1", n)
	}
	resp, err := http.Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "new" {
		t.Errorf("the answer is %q, %v", body, err)
	}
	if again, err := r.Listen([]string{addr}); err != nil {
		t.Errorf("a challenge cannot share the new listener: %v", err)
	} else if err := again(); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhileInUse(t *testing.T) {
	t.Parallel()
	busy := fmt.Errorf("listen: %w", syscall.EADDRINUSE)
	other := errors.New("something else")
	for _, c := range []struct {
		name     string
		answers  []error
		wait     time.Duration
		canceled bool
		want     error
		tries    int
	}{
		{"free", []error{nil}, time.Hour, false, nil, 1},
		{"free soon", []error{busy, busy, nil}, time.Hour, false, nil, 3},
		{"another error", []error{other, nil}, time.Hour, false, other, 1},
		{"no patience", []error{busy, nil}, 0, false, busy, 1},
		{"told to stop", []error{busy, nil}, time.Hour, true, busy, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.canceled {
				cancel()
			}
			tries, said := 0, 0
			err := challenge.WhileInUse(ctx, c.wait, func(error) { said++ }, func() error { tries++; return c.answers[tries-1] })
			if !errors.Is(err, c.want) || tries != c.tries {
				t.Errorf("it ended with %v after %d tries, want %v after %d", err, tries, c.want, c.tries)
			}
			if said > 1 || (tries > 1) != (said == 1) && !c.canceled {
				t.Errorf("it was said %d times that the address is in use", said)
			}
		})
	}
}

func TestBindSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	if _, err := challenge.BindBeside(t.Context(), "192.0.2.77:0"); err == nil || !strings.Contains(err.Error(), "no such address") {
		t.Errorf("an address of another machine: %v", err)
	}
}
