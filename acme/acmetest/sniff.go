package acmetest

import (
	"net"
	"sync"
)

// A sniffer is a listener that tells plain text from TLS, or lets every
// connection hang before its TLS handshake.
type sniffer struct {
	net.Listener
	plain func() // called once for a connection that does not begin as TLS does
	hang  bool   // nothing is ever read
}

// Accept returns the next connection, watched.
func (s *sniffer) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &sniffed{Conn: conn, sniffer: s, closed: make(chan struct{})}, nil
}

// A sniffed is a connection whose first byte is looked at.
type sniffed struct {
	net.Conn
	sniffer *sniffer
	first   sync.Once
	closing sync.Once
	closed  chan struct{}
}

// Read reports a first byte that is no TLS handshake record (RFC 8446 §5.1).
func (c *sniffed) Read(p []byte) (int, error) {
	if c.sniffer.hang {
		<-c.closed
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.first.Do(func() {
			if p[0] != 0x16 {
				c.sniffer.plain()
			}
		})
	}
	return n, err
}

// Close closes the connection and ends a hang.
func (c *sniffed) Close() error {
	c.closing.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// reset closes the connection so that the peer sees RST instead of an orderly end.
func (c *sniffed) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		// If lingering cannot be switched off, the peer sees a close instead.
		_ = tcp.SetLinger(0)
	}
	_ = c.Close() // nobody is left to tell
}
