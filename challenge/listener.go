package challenge

import (
	"container/list"
	"context"
	"crypto/tls"
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

	"golang.org/x/sys/unix"
)

// A listener is a bound port of a Responder: it caps the connections, and knows
// when the last of them is gone. Nobody is kept waiting at the cap: the new
// connection gets in, and the oldest of whoever has the most is hung up on. So
// a CA, with its few short connections, is answered however many others sit idle.
type listener struct {
	net.Listener
	keys           []string // under which the Responder has it; under its lock
	users          int      // of the Responder; under its lock
	total, perAddr int      // connections at most, in all and of one remote address
	ours           bool     // opened here, and nobody else's

	mu    sync.Mutex
	conns map[netip.Addr]*list.List // open connections (*conn) by remote address, oldest first
	count int                       // of all of them
	last  uint64                    // age of the newest

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

// Bind opens a TCP port for Responder.Serve, for a process that gives up its
// rights in between. Its error says in words what is wrong with addr.
func Bind(ctx context.Context, addr string) (net.Listener, error) {
	return bind(ctx, addr, net.ListenConfig{})
}

func bind(ctx context.Context, addr string, lc net.ListenConfig) (net.Listener, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // addr may be a host name
	defer cancel()
	lc.SetMultipathTCP(false) // sandboxes that limit which ports are bound do not know it
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, &listenError{addr: addr, why: whyNoListener(addr, err), err: err}
	}
	return ln, nil
}

// openListener binds addr for the challenges that want it.
func openListener(addr string, total, perAddr int) (*listener, error) {
	ln, err := Bind(context.Background(), addr)
	if err != nil {
		return nil, err
	}
	l := newListener(ln, nil, total, perAddr)
	l.ours = true
	return l, nil
}

func newListener(ln net.Listener, keys []string, total, perAddr int) *listener {
	return &listener{
		Listener: ln,
		keys:     keys,
		total:    total,
		perAddr:  perAddr,
		conns:    map[netip.Addr]*list.List{},
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

func whyNoListener(addr string, err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return inUse(addr)
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
		ln := net.Listener(l)
		if s.TLSConfig != nil {
			ln = tls.NewListener(l, s.TLSConfig)
		}
		_ = s.Serve(ln) // always an error: the listener was closed
	}()
}

// shut frees the port, at once also if a hook is being started just now, whose
// process has a copy of the socket until it becomes its program. What was handed
// to Serve may be the service manager's socket, which stays open.
func (l *listener) shut() error {
	if own, ok := l.Listener.(*net.TCPListener); ok && l.ours {
		if raw, err := own.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RD) }) // Close has the last word
		}
	}
	return l.Close()
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

// Close is for http.Server, too, which closes what it serves, before shut or after.
func (l *listener) Close() error {
	if err := l.Listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Accept takes the next connection and makes room for it. It never lets them
// wait, or the one that matters would wait behind those that do not.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		l.mu.Lock()
		crowd := l.crowd()
		l.mu.Unlock()
		crowd.hangUp() // http.Server tries again in a moment
	}
	if err != nil {
		return nil, err
	}
	in := &conn{Conn: c, l: l, addr: remoteAddr(c)}
	l.enter(in).hangUp()
	return in, nil
}

// enter lists c and returns the connection that has to make room for it, if any.
func (l *listener) enter(c *conn) (out *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.conns[c.addr]
	switch {
	case own != nil && own.Len() >= l.perAddr && !c.addr.IsLoopback():
		out = own.Front().Value.(*conn)
	case l.count >= l.total:
		out = l.crowd()
	}
	if own == nil {
		own = list.New()
		l.conns[c.addr] = own
	}
	c.place = own.PushBack(c)
	l.count++
	l.last++
	c.age = l.last
	return out
}

// crowd returns the oldest connection of the address that has the most, nil if
// there is no connection.
func (l *listener) crowd() (oldest *conn) {
	most := 0
	for _, own := range l.conns {
		if first := own.Front().Value.(*conn); own.Len() > most || own.Len() == most && first.age < oldest.age {
			oldest, most = first, own.Len()
		}
	}
	return oldest
}

func (l *listener) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.conns[c.addr]
	own.Remove(c.place)
	l.count--
	if own.Len() == 0 {
		delete(l.conns, c.addr)
	}
}

// remoteAddr is whose connection c is: an IPv4 address, or the /64 of an IPv6
// address, which one machine has all of.
func remoteAddr(c net.Conn) netip.Addr {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if addr.Is6() && !addr.IsLoopback() {
		addr = netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return addr
}

// A conn leaves its listener's list when it is closed.
type conn struct {
	net.Conn
	l     *listener
	addr  netip.Addr
	place *list.Element // in the list of addr
	age   uint64        // smaller is older
	once  sync.Once
}

func (c *conn) Close() error {
	c.once.Do(func() { c.l.leave(c) })
	return c.Conn.Close()
}

// hangUp closes c at once and leaves nothing of it in the kernel; nil is fine.
func (c *conn) hangUp() {
	if c == nil {
		return
	}
	if t, ok := c.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close() // whoever reads from it gets the error
}

// CloseWrite lets net/http end an error answer without a reset.
func (c *conn) CloseWrite() error {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		return t.CloseWrite()
	}
	return errors.New("half-close is not supported")
}
