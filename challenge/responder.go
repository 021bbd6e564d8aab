package challenge

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Bounds of the responder. It is open to the world, or behind a proxy that is.
const (
	readHeaderTimeout = 5 * time.Second
	requestTimeout    = 10 * time.Second // reading the whole request, writing the answer
	headerLimit       = 8 << 10          // bytes of request line and headers; more is 431
	totalConns        = 1024             // open connections of one listener
	addrConns         = 256              // of one remote address; loopback (a proxy) is exempt
	drainTimeout      = 200 * time.Millisecond
)

// ErrClosed reports a Responder that was closed.
var ErrClosed = errors.New("responder is closed")

// A Responder answers http-01 (RFC 8555 §8.3) from memory: GET and HEAD of
// PathPrefix and a token that was Put, exactly; everything else is 404, 405 or
// 400 with a constant body. It speaks HTTP/1.0 and 1.1, one request per
// connection, reads no request body and no disk, and ignores Host, since CAs
// follow redirects. One Responder is shared by all challenges of a process.
type Responder struct {
	mu        sync.Mutex
	answers   map[string]*answer       // by token
	listeners map[string]*listener     // by the address that was asked for
	opening   map[string]chan struct{} // likewise; closed once it is open, or failed
	closed    bool

	openPort               func(addr string, total, perAddr int) (*listener, error) // openListener, but for tests
	headerTimeout, timeout time.Duration                                            // as the constants; shorter in tests
	total, perAddr         int
}

// An answer is there as long as more Puts than Removes have named its token.
type answer struct {
	keyAuth string
	puts    int
}

// NewResponder returns a Responder without listeners.
func NewResponder() *Responder {
	return &Responder{
		answers:       map[string]*answer{},
		listeners:     map[string]*listener{},
		opening:       map[string]chan struct{}{},
		openPort:      openListener,
		headerTimeout: readHeaderTimeout,
		timeout:       requestTimeout,
		total:         totalConns,
		perAddr:       addrConns,
	}
}

// Put answers token with keyAuth from now on, on every listener. Each Put is
// undone by one Remove, so that two challenges may share a token.
func (r *Responder) Put(token, keyAuth string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.answers[token]
	if a == nil {
		a = &answer{}
		r.answers[token] = a
	}
	a.keyAuth = keyAuth
	a.puts++
}

// Remove undoes one Put of token. A token that is not there is fine.
func (r *Responder) Remove(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.answers[token]
	if a == nil {
		return
	}
	if a.puts--; a.puts == 0 {
		delete(r.answers, token)
	}
}

// Listen opens addrs ("127.0.0.1:402", ":80"), sharing those that are open
// already, until release is called. It fails only if none could be opened, with
// every reason; an empty list is fine. release may be called more than once and
// takes less than a second, however slow the clients.
func (r *Responder) Listen(addrs []string) (release func() error, err error) {
	release, failed := r.listen(addrs)
	if len(addrs) > 0 && len(failed) == len(addrs) {
		return nil, failed
	}
	return release, nil
}

// listen is Listen that also says which addresses could not be opened.
func (r *Responder) listen(addrs []string) (release func() error, failed reasons) {
	var opened []string
	for _, addr := range addrs {
		if err := r.acquire(addr); err != nil {
			failed = append(failed, err)
		} else {
			opened = append(opened, addr)
		}
	}
	return sync.OnceValue(func() error {
		var failed reasons
		for _, addr := range opened {
			if err := r.release(addr); err != nil {
				failed = append(failed, fmt.Errorf("close listener %s: %w", addr, err))
			}
		}
		return failed.err()
	}), failed
}

// Addrs are the addresses that are open now, with the port the system chose
// where port 0 was asked for, in no particular order.
func (r *Responder) Addrs() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	addrs := make([]string, 0, len(r.listeners))
	for _, l := range r.listeners {
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

// Close closes every listener and forgets every token. Listen fails from now on.
func (r *Responder) Close() error {
	r.mu.Lock()
	r.closed = true
	all := r.listeners
	r.listeners = map[string]*listener{}
	clear(r.answers)
	r.mu.Unlock()
	var failed reasons
	for _, l := range all {
		if err := errors.Join(l.shut(), l.drain()); err != nil {
			failed = append(failed, fmt.Errorf("close listener: %w", err))
		}
	}
	return failed.err()
}

// acquire adds a user to the listener of addr. It opens the listener, which may
// take a look-up of addr, without the lock that answers need; who wants the same
// address meanwhile waits.
func (r *Responder) acquire(addr string) error {
	done, err := r.share(addr)
	if done == nil {
		return err
	}
	l, err := r.openPort(addr, r.total, r.perAddr)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.opening, addr)
	close(done)
	switch {
	case err != nil:
		return err
	case r.closed:
		return errors.Join(fmt.Errorf("listen %s: %w", addr, ErrClosed), l.shut())
	}
	l.serve(r.server())
	l.users++
	r.listeners[addr] = l
	return nil
}

// share adds a user to a listener that is open. If there is none, the caller is
// to open it, and then to close done.
func (r *Responder) share(addr string) (done chan struct{}, err error) {
	for {
		r.mu.Lock()
		l, busy := r.listeners[addr], r.opening[addr]
		switch {
		case r.closed:
			err = fmt.Errorf("listen %s: %w", addr, ErrClosed)
		case l != nil:
			l.users++
		case busy == nil:
			done = make(chan struct{})
			r.opening[addr] = done
		default:
			r.mu.Unlock()
			<-busy
			continue
		}
		r.mu.Unlock()
		return done, err
	}
}

// release closes the listener with its last user. The port is free before the
// lock is, so that the next acquire finds it free.
func (r *Responder) release(addr string) error {
	r.mu.Lock()
	l := r.listeners[addr]
	if l == nil { // Close was faster
		r.mu.Unlock()
		return nil
	}
	if l.users--; l.users > 0 {
		r.mu.Unlock()
		return nil
	}
	delete(r.listeners, addr)
	err := l.shut()
	r.mu.Unlock()
	return errors.Join(err, l.drain())
}

// server is one http.Server with every bound set.
func (r *Responder) server() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // and no h2c
	s := &http.Server{
		Handler:                      r,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            r.headerTimeout,
		ReadTimeout:                  r.timeout,
		WriteTimeout:                 r.timeout,
		IdleTimeout:                  r.timeout,
		MaxHeaderBytes:               headerLimit - 4<<10, // net/http reads 4 KiB more than it is told
		ErrorLog:                     log.New(io.Discard, "", 0),
		Protocols:                    protocols,
	}
	s.SetKeepAlivesEnabled(false) // nothing after the first request is read: no smuggling, no idle connections
	return s
}

// ServeHTTP answers one request.
func (r *Responder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close")
	switch {
	case req.Method != http.MethodGet && req.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		_, _ = io.WriteString(w, "method not allowed\n")
		return
	case req.ProtoMajor != 1 || req.ProtoMinor > 1 || req.Header.Get("Upgrade") != "":
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "bad request\n")
		return
	}
	keyAuth, ok := r.lookup(req.URL)
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "not found\n")
		return
	}
	_, _ = io.WriteString(w, keyAuth) // a client that is gone is no concern of ours
}

// lookup finds the answer for a request target. It is a look-up in a map: no
// path is cleaned, decoded or joined, so one spelling exists for each token.
func (r *Responder) lookup(u *url.URL) (keyAuth string, ok bool) {
	if u.RawPath != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" || u.User != nil {
		return "", false
	}
	token, ok := strings.CutPrefix(u.Path, PathPrefix)
	if !ok {
		return "", false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.answers[token]
	if a == nil {
		return "", false
	}
	return a.keyAuth, true
}
