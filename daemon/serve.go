package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"certd/challenge"
)

const (
	serverConns  = 64 // open connections of the status server
	serverHeader = 4 << 10
	serverClose  = time.Second // for answers under way when it closes
)

// A server is the HTTP server at settings.Listen: for people and monitoring on
// this machine. It only ever answers questions.
type server struct {
	addr   string // as in the settings; empty for a socket of the service manager
	ln     net.Listener
	http   *http.Server
	served chan struct{} // closed when serve is done; nil before it
}

// openServer opens addr, beside our listeners that are leaving, and serves
// nothing yet.
func openServer(ctx context.Context, addr string, h http.Handler, leaving ...net.Listener) (*server, error) {
	ln, err := challenge.BindBeside(ctx, addr, leaving...)
	if err != nil {
		return nil, fmt.Errorf("%w; choose another address with listen: in conf/certd.yaml, or turn it off with listen: \"\"", err)
	}
	return newServer(addr, ln, h), nil
}

func newServer(addr string, ln net.Listener, h http.Handler) *server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &server{addr: addr, ln: ln, http: &http.Server{
		Handler:                      h,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            5 * time.Second,
		ReadTimeout:                  10 * time.Second,
		WriteTimeout:                 30 * time.Second,
		IdleTimeout:                  60 * time.Second,
		MaxHeaderBytes:               serverHeader, // net/http reads 4 KiB more than it is told: 8 KiB in all
		ErrorLog:                     log.New(io.Discard, "", 0),
		Protocols:                    protocols,
	}}
}

// serve answers until close.
func (s *server) serve() {
	s.served = make(chan struct{})
	go func() {
		defer close(s.served)
		_ = s.http.Serve(netutil.LimitListener(s.ln, serverConns)) // always an error: it was closed
	}()
}

func (s *server) close() error {
	if s.served == nil {
		return s.ln.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), serverClose)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	<-s.served
	return err
}

// handler is all that the status server serves. Requests may be for the host in
// addr, as the settings have it, and for the machine's host name.
func (l *loop) handler(addr string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", l.serveHealth)
	if l.MetricsHandler != nil {
		mux.Handle("GET /metrics", l.MetricsHandler)
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "certd keeps TLS certificates fresh.\n\n/healthz  whether it is well, and what comes next\n")
		if l.MetricsHandler != nil {
			fmt.Fprintf(w, "/metrics  for Prometheus\n")
		}
	})
	names := []string{}
	if host, _, err := net.SplitHostPort(addr); err == nil {
		names = append(names, host)
	}
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	return guard(mux, names)
}

// serveHealth answers 200 while the loop turns and its pass is well, else 503.
func (l *loop) serveHealth(w http.ResponseWriter, _ *http.Request) {
	text, err := l.pulse.health()
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, "failing: %v\n", err)
		return
	}
	fmt.Fprintf(w, "ok: %s", text)
}

// guard sets the headers of every answer, and refuses what is no question, or is
// meant for somebody else: a page whose own name resolves to this machine must
// not read what is served here (DNS rebinding).
func guard(next http.Handler, names []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		switch {
		case !meant(r, names):
			http.Error(w, "misdirected request: ask for this server's address, localhost or its host name", http.StatusMisdirectedRequest)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// meant reports whether the request's host is the address that it came in at,
// localhost for a loopback address, or one of names. The port is not compared:
// it may have been forwarded.
func meant(r *http.Request, names []string) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return true // a unix socket: no page in a browser gets there
	}
	at := local.AddrPort().Addr().Unmap()
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap() == at
	}
	if at.IsLoopback() && strings.EqualFold(host, "localhost") {
		return true
	}
	for _, name := range names {
		if name != "" && strings.EqualFold(host, name) {
			return true
		}
	}
	return false
}
