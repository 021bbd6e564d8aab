package challenge_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"certd/challenge"
	"certd/test/ports"
)

// TestServeOnAnOpenListener: a listener that came from elsewhere answers
// challenges, is shared by challenges that name its address in any spelling, and
// is closed by its last user.
func TestServeOnAnOpenListener(t *testing.T) {
	t.Parallel()
	port := ports.Free(t)
	ln, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		t.Fatal(err)
	}
	r := challenge.NewResponder()
	defer r.Close()
	front := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/front" {
			_, _ = io.WriteString(w, "front")
			return
		}
		r.ServeHTTP(w, req)
	})
	stop, err := r.Serve(ln, front)
	if err != nil {
		t.Fatal(err)
	}
	if addrs := r.Addrs(); len(addrs) != 1 {
		t.Errorf("addresses %v, want one", addrs)
	}
	release, err := r.Listen([]string{fmt.Sprintf(":%d", port)})
	if err != nil {
		t.Fatalf("a challenge on the same port: %v", err)
	}
	const token = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	r.Put(token, token+".thumb")
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	for path, want := range map[string]string{"/front": "front", challenge.PathPrefix + token: token + ".thumb"} {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != want {
			t.Errorf("GET %s: %q, %v; want %q", path, body, err, want)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if resp, err := http.Get(base + "/front"); err != nil {
		t.Errorf("the challenge still needs the port, and it is closed: %v", err)
	} else {
		resp.Body.Close()
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	if resp, err := http.Get(base + "/front"); err == nil {
		resp.Body.Close()
		t.Error("the port is open without a user")
	}
}

// TestServeRefuses: a responder that is closed closes the listener.
func TestServeRefuses(t *testing.T) {
	t.Parallel()
	open := func() net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	r := challenge.NewResponder()
	if _, err := r.Serve(open(), nil); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	late := open()
	if _, err := r.Serve(late, nil); !errors.Is(err, challenge.ErrClosed) {
		t.Errorf("serving after Close: %v, want ErrClosed", err)
	}
	if err := late.Close(); err == nil {
		t.Error("the refused listener was left open")
	}
}

// TestServeOnOneAddressOfThePort: where a listener of one address keeps the whole
// port from being opened, challenges that want the port are answered there.
func TestServeOnOneAddressOfThePort(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	r := challenge.NewResponder()
	defer r.Close()
	stop, err := r.Serve(ln, nil)
	if err != nil {
		t.Fatal(err)
	}
	release, err := r.Listen([]string{fmt.Sprintf("0.0.0.0:%d", port)})
	if err != nil {
		t.Fatalf("a challenge on the same port: %v", err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		t.Fatalf("the challenge closed the listener of another: %v", err)
	}
	resp.Body.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
	other, err := net.Listen("tcp", "127.0.0.1:0") // of somebody else
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := r.Listen([]string{fmt.Sprintf("0.0.0.0:%d", other.Addr().(*net.TCPAddr).Port)}); err == nil {
		t.Error("a port of another process was taken for ours")
	}
}
