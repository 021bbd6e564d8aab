package challenge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Bounds of the responder. It is open to the world, or behind a proxy that is.
const (
	readHeaderTimeout = 5 * time.Second
	requestTimeout    = 10 * time.Second // reading the whole request, writing the answer
	headerLimit       = 8 << 10          // bytes of request line and headers; more is 431
	totalConns        = 1024             // open connections of one listener; more, and the oldest must go
	addrConns         = 256              // of one remote address; loopback (a proxy) is exempt
	drainTimeout      = 200 * time.Millisecond
)

// ErrClosed reports a Responder that was closed.
var ErrClosed = errors.New("responder is closed")

// A Responder answers http-01 (RFC 8555 §8.3) from memory: GET and HEAD of
// PathPrefix and a token that was Put, exactly; everything else is 404, 405 or
// 400 with a constant body. It speaks HTTP/1.0 and 1.1, one request per
// connection, reads no request body, no disk unless Dirs says so, and ignores
// Host, since CAs follow redirects. One Responder is shared by all challenges of
// a process. The exported fields are set before it listens.
type Responder struct {
	// Dirs are challenge directories, as a Webroot writes them, for tokens that
	// were not Put. Empty means none.
	Dirs []string
	// Count is called with the result of each request, from many goroutines:
	// served, unknown, bad_request, or store_error for a file that is there and
	// cannot be served. Nil means that nobody counts.
	Count func(result string)
	// Linger is how long answers stay once their challenge is over, and with them
	// the ports on loopback that were opened for it. Zero means not at all.
	Linger time.Duration

	mu        sync.Mutex
	answers   map[string]*answer       // by token
	listeners map[string]*listener     // that the next user of an address gets, as it was asked for
	open      map[*listener]bool       // all
	opening   map[string]chan struct{} // likewise; closed once it is open, or failed
	closed    bool
	late      map[*late]bool // that linger

	openPort               func(addr string, total, perAddr int) (*listener, error) // openListener, but for tests
	headerTimeout, timeout time.Duration                                            // as the constants; shorter in tests
	total, perAddr         int
	tls                    *tls.Config // for handshakes only; nil means plain HTTP
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
		open:          map[*listener]bool{},
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
	opened, failed := r.listen(addrs)
	if len(addrs) > 0 && len(failed) == len(addrs) {
		return nil, failed
	}
	return sync.OnceValue(func() error { return r.releaseAll(opened) }), nil
}

// listen opens addrs until releaseAll is called, and says which could not be opened.
func (r *Responder) listen(addrs []string) (opened []*listener, failed reasons) {
	for _, addr := range addrs {
		if l, err := r.acquire(addr); err != nil {
			failed = append(failed, err)
		} else {
			opened = append(opened, l)
		}
	}
	return opened, failed
}

func (r *Responder) releaseAll(opened []*listener) error {
	var failed reasons
	for _, l := range opened {
		if err := r.release(l); err != nil {
			failed = append(failed, fmt.Errorf("close listener %s: %w", l.keys[0], err))
		}
	}
	return failed.err()
}

// Serve serves h, or the challenges alone if h is nil, on a listener that is open
// already, with the bounds of the responder, until stop is called. A challenge
// that listens on the same address uses it, so h should pass challenge requests
// on to the responder; one that uses another listener of that address keeps it.
// The listener is the responder's from now on, and closed also on an error, which
// is ErrClosed.
func (r *Responder) Serve(ln net.Listener, h http.Handler) (stop func() error, err error) {
	if h == nil {
		h = r
	}
	keys := spellings(ln.Addr())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errors.Join(fmt.Errorf("serve %s: %w", keys[0], ErrClosed), ln.Close())
	}
	l := newListener(ln, keys, r.total, r.perAddr)
	l.users = 1
	r.enlist(l)
	s := r.server()
	s.Handler = h
	l.serve(s)
	return sync.OnceValue(func() error { return r.release(l) }), nil
}

// enlist gives l to the next users of its addresses; who has another listener of
// them keeps that.
func (r *Responder) enlist(l *listener) {
	r.open[l] = true
	for _, key := range l.keys {
		r.listeners[key] = l
	}
}

// Addrs are the addresses that are open now, with the port the system chose
// where port 0 was asked for, in no particular order.
func (r *Responder) Addrs() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	addrs := make([]string, 0, len(r.open))
	for l := range r.open {
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

// Close closes every listener and forgets every token. Listen fails from now on.
func (r *Responder) Close() error {
	r.mu.Lock()
	r.closed = true
	all := r.open
	r.open = map[*listener]bool{}
	clear(r.listeners)
	clear(r.answers)
	r.mu.Unlock()
	r.Hush()
	var failed reasons
	for l := range all {
		if err := errors.Join(l.shut(), l.drain()); err != nil {
			failed = append(failed, fmt.Errorf("close listener: %w", err))
		}
	}
	return failed.err()
}

// acquire adds a user to the listener of addr. It opens the listener, which may
// take a look-up of addr, without the lock that answers need; who wants the same
// address meanwhile waits.
func (r *Responder) acquire(addr string) (*listener, error) {
	l, done, err := r.share(addr)
	if done == nil {
		return l, err
	}
	l, err = r.openPort(addr, r.total, r.perAddr)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.opening, addr)
	close(done)
	switch {
	case err != nil:
		if own := r.samePort(addr); errors.Is(err, syscall.EADDRINUSE) && own != nil {
			own.users++
			return own, nil
		}
		return nil, err
	case r.closed:
		return nil, errors.Join(fmt.Errorf("listen %s: %w", addr, ErrClosed), l.shut())
	}
	l.keys = []string{addr} // as it was asked for, which may be a host name
	l.serve(r.server())
	l.users++
	r.enlist(l)
	return l, nil
}

// samePort is a listener of ours that has the port of addr on another address,
// nil if there is none: one of 192.0.2.1:80 keeps :80 from being opened, and
// answers in its stead. Whether the CA gets there is for the self-test to see.
func (r *Responder) samePort(addr string) *listener {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil
	}
	for l := range r.open {
		if _, own, err := net.SplitHostPort(l.Addr().String()); err == nil && own == port {
			return l
		}
	}
	return nil
}

// share adds a user to a listener that is open. If there is none, the caller is
// to open it, and then to close done.
func (r *Responder) share(addr string) (l *listener, done chan struct{}, err error) {
	for {
		r.mu.Lock()
		busy := r.opening[addr]
		l = r.listeners[addr]
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
		return l, done, err
	}
}

// release closes the listener with its last user. The port is free before the
// lock is, so that the next acquire finds it free.
func (r *Responder) release(l *listener) error {
	r.mu.Lock()
	if !r.open[l] { // Close was faster
		r.mu.Unlock()
		return nil
	}
	if l.users--; l.users > 0 {
		r.mu.Unlock()
		return nil
	}
	delete(r.open, l)
	for _, key := range l.keys {
		if r.listeners[key] == l {
			delete(r.listeners, key)
		}
	}
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
		TLSConfig:                    r.tls,
	}
	s.SetKeepAlivesEnabled(false) // nothing after the first request is read: no smuggling, no idle connections
	return s
}

// ServeHTTP answers one request.
func (r *Responder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case req.Method != http.MethodGet && req.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		r.reply(w, http.StatusMethodNotAllowed, "method not allowed\n", "bad_request")
		return
	case !plainHTTP1(req):
		r.reply(w, http.StatusBadRequest, "bad request\n", "bad_request")
		return
	}
	keyAuth, ok := r.lookup(req.URL)
	if token, exact := exactToken(req.URL); !ok && exact {
		var err error
		if keyAuth, err = readAnswer(r.Dirs, token); err != nil {
			r.reply(w, http.StatusNotFound, "not found\n", "store_error")
			return
		}
	}
	if keyAuth == "" {
		r.reply(w, http.StatusNotFound, "not found\n", "unknown")
		return
	}
	r.reply(w, http.StatusOK, keyAuth, "served")
}

func (r *Responder) reply(w http.ResponseWriter, status int, body, result string) {
	reply(w, status, body)
	if r.Count != nil {
		r.Count(result)
	}
}

// reply ends the connection with a text that reflects nothing of the request.
func reply(w http.ResponseWriter, status int, body string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	h.Set("Connection", "close")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // a client that is gone is no concern of ours
}

// plainHTTP1 reports whether req is HTTP/1.0 or 1.1. A wish to go on in another
// protocol is ignored, as RFC 9110 §7.8 allows: curl --http2 asks for h2c, and
// takes the answer as it comes.
func plainHTTP1(req *http.Request) bool {
	return req.ProtoMajor == 1 && req.ProtoMinor <= 1
}

// lookup finds the answer for a request target. It is a look-up in a map, so one
// spelling exists for each token.
func (r *Responder) lookup(u *url.URL) (keyAuth string, ok bool) {
	token, ok := exactToken(u)
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

// exactToken returns what follows PathPrefix in a request target. No path is
// cleaned, decoded or joined.
func exactToken(u *url.URL) (token string, ok bool) {
	if u.RawPath != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" || u.User != nil {
		return "", false
	}
	return strings.CutPrefix(u.Path, PathPrefix)
}
