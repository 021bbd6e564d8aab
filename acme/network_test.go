package acme

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// hijack returns a handler that has the connection to itself.
func hijack(f func(net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err) // the fake speaks HTTP/1.1
		}
		defer conn.Close()
		f(conn)
	}
}

func TestNetworkFailures(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	ca, c := newFake(t)
	t.Cleanup(func() { close(hang) }) // before the server closes
	tests := []struct {
		name  string
		route http.HandlerFunc
		want  string
	}{
		{"no answer", hijack(func(net.Conn) { <-hang }), "no complete answer within 300ms"},
		{"no body", hijack(func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{")
			<-hang
		}), "no complete answer within 300ms"},
		{"closed", hijack(func(net.Conn) {}), "EOF"},
		{"half a body", hijack(func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{") }), "broke off"},
		{"not HTTP", hijack(func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\x1b\r\n") }), "malformed HTTP"},
		{"endless body", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				fmt.Fprintf(w, "%65536d", 0)
			}
		}, "more than 1048576"},
		{"announced size", hijack(func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
			<-hang
		}), "an answer of 1073741824 bytes"},
		{"endless headers", hijack(func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := fmt.Fprintf(c, "X: %1000d\r\n", 0); err != nil {
					return
				}
			}
		}), "headers exceeded"},
	}
	for _, tt := range tests {
		ca.on("/order/1", tt.route)
		c.timeout = 30 * time.Second
		if strings.Contains(tt.want, "300ms") {
			c.timeout = 300 * time.Millisecond
		}
		_, err := c.Order(t.Context(), ca.URL+"/order/1")
		asProblem(t, tt.name, err, ClassTransient, tt.want)
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v looks as if the caller's context had ended", tt.name, err)
		}
	}
	c.timeout = 30 * time.Second
	ca.on("/order/1", hijack(func(net.Conn) { <-hang }))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Order(ctx, ca.URL+"/order/1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("when the caller's deadline passed: got %v, want context.DeadlineExceeded inside", err)
	}
}

func TestUntrustedCA(t *testing.T) {
	t.Parallel()
	ca, _ := newFake(t)
	var mu sync.Mutex
	var seen []Exchange
	c := ca.client(t, func(o *Options) {
		o.RootsPEM = nil
		o.Observe = func(e Exchange) { mu.Lock(); defer mu.Unlock(); seen = append(seen, e) }
	})
	_, err := c.Directory(t.Context())
	asProblem(t, "unknown root", err, ClassOperator, "ca-bundle")
	if len(seen) != 1 || seen[0].Err == nil || seen[0].Status != 0 || seen[0].Operation != "directory" {
		t.Errorf("observed %+v, want one failed request of the directory", seen)
	}
	wrongHost := ca.client(t, func(o *Options) { o.Directory = strings.Replace(o.Directory, "127.0.0.1", "localhost", 1) })
	_, err = wrongHost.Directory(t.Context())
	asProblem(t, "wrong host", err, ClassOperator, "not trusted")

	old := httptest.NewUnstartedServer(ca)
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.Config.ErrorLog = ca.Config.ErrorLog
	old.StartTLS()
	defer old.Close()
	_, err = ca.client(t, func(o *Options) { o.Directory = old.URL }).Directory(t.Context())
	asProblem(t, "TLS 1.1", err, ClassTransient, "protocol version")
	plain := httptest.NewServer(ca)
	defer plain.Close()
	_, err = ca.client(t, func(o *Options) { o.Directory = strings.Replace(plain.URL, "http:", "https:", 1) }).Directory(t.Context())
	asProblem(t, "no TLS", err, ClassTransient, "first record")
}
