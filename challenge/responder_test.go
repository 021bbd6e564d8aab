package challenge_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"certd/challenge"
)

const (
	token   = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
	keyAuth = token + ".nP1qzpXGymHBrUEepNY9HCsQk7K8KhOypzEt62jcerQ"
	path    = challenge.PathPrefix + token
)

func TestResponderRequests(t *testing.T) {
	t.Parallel()
	r := challenge.NewResponder()
	addr := listenAnywhere(t, r)
	r.Put(token, keyAuth)
	host := "\r\nHost: www.example.com\r\n\r\n"
	for _, c := range []struct {
		name, request string
		status        int
		answer        bool
	}{
		{"plain", "GET " + path + " HTTP/1.1" + host, 200, true},
		{"HTTP/1.0 without Host", "GET " + path + " HTTP/1.0\r\n\r\n", 200, true},
		{"HEAD", "HEAD " + path + " HTTP/1.1" + host, 200, false},
		{"Host of another name (R5)", "GET " + path + " HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200, true},
		{"absolute form", "GET http://www.example.com" + path + " HTTP/1.1" + host, 200, true},
		{"dot segments", "GET " + challenge.PathPrefix + "../acme-challenge/" + token + " HTTP/1.1" + host, 404, false},
		{"to the root", "GET " + challenge.PathPrefix + "../../etc/passwd HTTP/1.1" + host, 404, false},
		{"encoded letter", "GET " + challenge.PathPrefix + "%65" + token[1:] + " HTTP/1.1" + host, 404, false},
		{"encoded slash", "GET /.well-known%2facme-challenge/" + token + " HTTP/1.1" + host, 404, false},
		{"encoded NUL", "GET " + path + "%00 HTTP/1.1" + host, 404, false},
		{"double slash", "GET /.well-known//acme-challenge/" + token + " HTTP/1.1" + host, 404, false},
		{"leading double slash", "GET /" + path + " HTTP/1.1" + host, 404, false},
		{"trailing slash", "GET " + path + "/ HTTP/1.1" + host, 404, false},
		{"query", "GET " + path + "?x=1 HTTP/1.1" + host, 404, false},
		{"empty query", "GET " + path + "? HTTP/1.1" + host, 404, false},
		{"upper case", "GET " + strings.ToUpper(path) + " HTTP/1.1" + host, 404, false},
		{"unknown token", "GET " + path + "x HTTP/1.1" + host, 404, false},
		{"directory", "GET " + challenge.PathPrefix + " HTTP/1.1" + host, 404, false},
		{"root", "GET / HTTP/1.1" + host, 404, false},
		{"long path", "GET " + challenge.PathPrefix + strings.Repeat("A", 7000) + " HTTP/1.1" + host, 404, false},
		{"10 kB path", "GET " + challenge.PathPrefix + strings.Repeat("A", 10<<10) + " HTTP/1.1" + host, 431, false},
		{"raw NUL", "GET " + path + "\x00 HTTP/1.1" + host, 400, false},
		{"CONNECT", "CONNECT www.example.com:443 HTTP/1.1" + host, 405, false},
		{"TRACE", "TRACE " + path + " HTTP/1.1" + host, 405, false},
		{"OPTIONS *", "OPTIONS * HTTP/1.1" + host, 405, false},
		{"POST", "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", 405, false},
		{"made-up method", "BREW " + path + " HTTP/1.1" + host, 405, false},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 405, false},
		{"HTTP/2 by name", "GET " + path + " HTTP/2.0" + host, 505, false},
		{"HTTP/1.2", "GET " + path + " HTTP/1.2" + host, 400, false},
		{"HTTP/0.9", "GET " + path + "\r\n\r\n", 400, false},
		{"HTTP/0.9 by name", "GET " + path + " HTTP/0.9" + host, 505, false},
		{"upgrade to h2c", "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", 200, true},
		{"upgrade to a websocket", "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n\r\n", 200, true},
		{"upgrade to TLS", "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n", 200, true},
		{"two Content-Lengths", "GET " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, false},
		{"two Hosts", "GET " + path + " HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, false},
		{"space in a header name", "GET " + path + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n", 400, false},
		{"unknown coding", "GET " + path + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501, false},
		{"20 kB header", "GET " + path + " HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 20<<10) + "\r\n\r\n", 431, false},
		{"9 kB header", "GET " + path + " HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 9<<10) + "\r\n\r\n", 431, false},
		{"7 kB header", "GET " + path + " HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 7<<10) + "\r\n\r\n", 200, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			resp, body, _ := raw(t, addr, c.request)
			if resp.StatusCode != c.status {
				t.Fatalf("got status %d, want %d; body %q", resp.StatusCode, c.status, body)
			}
			if got := body == keyAuth; got != c.answer {
				t.Errorf("got the body %q; is it the answer: %v, want %v", body, got, c.answer)
			}
			if !c.answer && strings.Contains(body, "nP1q") || len(body) > len(keyAuth) {
				t.Errorf("a refusal has the body %.200q", body)
			}
			wantHeaders(t, resp)
		})
	}
}

func wantHeaders(t *testing.T, resp *http.Response) {
	t.Helper()
	if resp.ProtoMajor != 1 || resp.Header.Get("Upgrade") != "" {
		t.Errorf("the answer is %s, upgrading to %q", resp.Proto, resp.Header.Get("Upgrade"))
	}
	if !resp.Close {
		t.Errorf("the answer %d does not close the connection", resp.StatusCode)
	}
	switch resp.StatusCode {
	case 200, 404, 405: // those of the handler; net/http writes the others
		want := map[string]string{"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Location": "", "Server": ""}
		for name, value := range want {
			if got := resp.Header.Get(name); got != value {
				t.Errorf("the header %s of %d is %q, want %q", name, resp.StatusCode, got, value)
			}
		}
	}
}

// One connection is one request: what follows the first is never answered (R8).
func TestResponderSmuggling(t *testing.T) {
	t.Parallel()
	r := challenge.NewResponder()
	addr := listenAnywhere(t, r)
	r.Put(token, keyAuth)
	second := "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, c := range []struct{ name, first string }{
		{"pipelining", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"TE and CL", "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"},
		{"body of a GET", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"},
		{"body that is a request", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"},
		{"chunk extension", "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a=\r\nb\r\nX\r\n0\r\n\r\n"},
		{"bare line feeds", "GET / HTTP/1.1\nHost: x\n\n"},
		{"folded header", "GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n"},
		{"keep-alive asked for", "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"},
		{"100-continue", "GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"},
		{"POST", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			resp, _, rest := raw(t, addr, c.first+second)
			if resp.StatusCode < 400 {
				t.Errorf("got status %d for the first request", resp.StatusCode)
			}
			if rest != "" {
				t.Errorf("a second request on the connection was answered: %.300q", rest)
			}
		})
	}
}

// raw sends bytes and returns the answer, its body, and what came after it.
func raw(t *testing.T, addr, request string) (resp *http.Response, body, rest string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, request) // the server may hang up before all is written
	method, _, _ := strings.Cut(request, " ")
	br := bufio.NewReader(c)
	resp, err = http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read the body: %v", err)
	}
	after, err := io.ReadAll(br)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the connection was not closed after the answer: %v", err)
	}
	return resp, string(data), string(after)
}

func TestResponderPutRemove(t *testing.T) {
	t.Parallel()
	r := challenge.NewResponder()
	addr := listenAnywhere(t, r)
	fetch := overHTTP("http://" + addr)
	want := func(when string, found bool) {
		t.Helper()
		if _, got, err := fetch(token); got != found || err != nil {
			t.Errorf("%s: the answer is there: %v (error %v), want %v", when, got, err, found)
		}
	}
	r.Remove(token)
	want("at first", false)
	r.Put(token, keyAuth)
	r.Put(token, keyAuth)
	r.Remove(token)
	want("after two Puts and one Remove", true)
	r.Remove(token)
	want("after the second Remove", false)
}

func TestResponderSharesListeners(t *testing.T) {
	t.Parallel()
	r, addr := challenge.NewResponder(), freeAddr(t)
	first, err := r.Listen([]string{addr})
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.Listen([]string{addr})
	if err != nil {
		t.Fatalf("Listen on an address that is open already: %v", err)
	}
	for range 2 { // the second call must not count
		if err := first(); err != nil {
			t.Errorf("release: %v", err)
		}
	}
	if len(openPorts(r, addr)) == 0 {
		t.Error("the address was closed while it had a user")
	}
	if err := second(); err != nil {
		t.Errorf("release of the last user: %v", err)
	}
	if open := openPorts(r, addr); len(open) > 0 {
		t.Errorf("after the last release still open: %v", open)
	}
}

func TestResponderListenErrors(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	inUse := taken.Addr().String()
	r := challenge.NewResponder()
	_, err = r.Listen([]string{inUse, "192.0.2.77:8402"})
	want := fmt.Sprintf("listen %s: port %s in use by challenge.test (pid %d); listen 192.0.2.77:8402: this machine has no such address", inUse, inUse[strings.LastIndex(inUse, ":")+1:], os.Getpid())
	if err == nil || err.Error() != want || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got the error %v, want %q", err, want)
	}
	release, err := r.Listen([]string{inUse, "127.0.0.1:0"})
	if err != nil {
		t.Fatalf("Listen where one of two addresses is free: %v", err)
	}
	if err := release(); err != nil {
		t.Errorf("release: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := r.Listen([]string{"127.0.0.1:0"}); !errors.Is(err, challenge.ErrClosed) {
		t.Errorf("Listen after Close: got %v, want ErrClosed", err)
	}
}
