package challenge

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// A listener is a bound port of a Responder: it caps the connections, and knows
// when the last of them is gone.
type listener struct {
	net.Listener
	keys    []string      // under which the Responder has it; under its lock
	users   int           // of the Responder; under its lock
	slots   chan struct{} // one for each open connection
	done    chan struct{} // closed by shut
	perAddr int

	mu    sync.Mutex
	conns map[netip.Addr]int // open connections by remote address

	server *http.Server
	served chan struct{}  // closed when Serve is back
	open   sync.WaitGroup // connections the server has
}

// A listenError says in words why a port could not be opened.
type listenError struct {
	addr, why string
	err       error
}

func (e *listenError) Error() string { return "listen " + e.addr + ": " + e.why }
func (e *listenError) Unwrap() error { return e.err }

func openListener(addr string, total, perAddr int) (*listener, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // addr may be a host name
	defer cancel()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // sandboxes that limit which ports are bound do not know it
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, &listenError{addr: addr, why: whyNoListener(err), err: err}
	}
	return newListener(ln, []string{addr}, total, perAddr), nil
}

func newListener(ln net.Listener, keys []string, total, perAddr int) *listener {
	return &listener{
		Listener: ln,
		keys:     keys,
		slots:    make(chan struct{}, total),
		done:     make(chan struct{}),
		perAddr:  perAddr,
		conns:    map[netip.Addr]int{},
		served:   make(chan struct{}),
	}
}

// spellings are the ways in which configuration writes the address of a listener.
func spellings(addr net.Addr) []string {
	keys := []string{addr.String()}
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		port := strconv.Itoa(tcp.Port)
		for _, key := range []string{":" + port, "0.0.0.0:" + port, "[::]:" + port} {
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

func whyNoListener(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "in use"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied (ports below 1024 need root or CAP_NET_BIND_SERVICE)"
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
		return "this machine has no such address"
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// serve runs s on the listener until shut.
func (l *listener) serve(s *http.Server) {
	l.server = s
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			l.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			l.open.Done()
		}
	}
	go func() {
		defer close(l.served)
		_ = s.Serve(l) // always an error: the listener was closed
	}()
}

// shut frees the port.
func (l *listener) shut() error {
	close(l.done)
	return l.Listener.Close()
}

// drain lets answers under way finish, for a moment, and joins every goroutine.
func (l *listener) drain() error {
	<-l.served
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	err := l.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = l.server.Close()
	}
	l.open.Wait()
	if errors.Is(err, net.ErrClosed) { // shut has closed it before
		return nil
	}
	return err
}

// Close is for http.Server, which closes what it serves; shut may have come first.
func (l *listener) Close() error {
	if err := l.Listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Accept waits for a free slot and then for a connection. One more than perAddr
// from the same remote address is closed at once.
func (l *listener) Accept() (net.Conn, error) {
	for {
		select {
		case l.slots <- struct{}{}:
		case <-l.done:
			return nil, net.ErrClosed
		}
		c, err := l.Listener.Accept()
		if err != nil {
			<-l.slots
			return nil, err
		}
		addr := remoteAddr(c)
		if l.enter(addr) {
			return &conn{Conn: c, leave: sync.OnceFunc(func() { l.leave(addr) })}, nil
		}
		<-l.slots
		_ = c.Close()
	}
}

func (l *listener) enter(addr netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns[addr] >= l.perAddr && !addr.IsLoopback() {
		return false
	}
	l.conns[addr]++
	return true
}

func (l *listener) leave(addr netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns[addr]--; l.conns[addr] == 0 {
		delete(l.conns, addr)
	}
	<-l.slots
}

func remoteAddr(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// A conn gives its slot back when it is closed.
type conn struct {
	net.Conn
	leave func()
}

func (c *conn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// CloseWrite lets net/http end an error answer without a reset.
func (c *conn) CloseWrite() error {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		return t.CloseWrite()
	}
	return errors.New("half-close is not supported")
}
