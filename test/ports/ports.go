// Package ports finds ports for servers that a test starts later, or never.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// A Reservation is a port of 127.0.0.1, TCP and UDP, that nobody listens on yet
// and nobody else is given.
type Reservation struct {
	Port   int
	holder net.PacketConn // nil for a port chosen by the caller
}

// Reserve returns port itself, or a free one if port is zero. Free ports lie below
// the ephemeral range, so that no listener on port 0 and no outgoing connection
// takes them. Only even ones are given away: the odd one above, held on UDP, keeps
// other reservations away, also those of other processes.
func Reserve(port int) (*Reservation, error) {
	if port != 0 {
		return &Reservation{Port: port}, nil
	}
	var last error
	for range 200 {
		candidate := 10000 + 2*rand.IntN(10000)
		holder, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.1:%d", candidate+1))
		if err != nil {
			last = err
			continue
		}
		if err := unused(candidate); err != nil {
			last = errors.Join(err, holder.Close())
			continue
		}
		return &Reservation{Port: candidate, holder: holder}, nil
	}
	return nil, fmt.Errorf("finding a free port: %w", last)
}

// unused returns an error if anybody listens on the port.
func unused(port int) error {
	// ":port" shows listeners on any address, IPv6 included.
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp", fmt.Sprintf(":%d", port))
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return errors.Join(packets.Close(), l.Close())
}

// Release gives the port back.
func (r *Reservation) Release() error {
	if r.holder == nil {
		return nil
	}
	return r.holder.Close()
}

// Free returns a port that is t's until its end.
func Free(t testing.TB) int {
	t.Helper()
	r, err := Reserve(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Release() })
	return r.Port
}
