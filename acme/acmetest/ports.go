package acmetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// A reservation is a TCP port on 127.0.0.1 that nobody listens on yet, for a
// challenge server started later by somebody else.
type reservation struct {
	port   int
	holder net.PacketConn // nil for a port chosen by the caller
}

// reservePort returns port itself, or a free one if port is zero. Free ports
// lie below the ephemeral range, so that no listener on port 0 and no outgoing
// connection takes them, and the same port number held on UDP keeps other
// reservations away, also those of other processes.
func reservePort(port int) (*reservation, error) {
	if port != 0 {
		return &reservation{port: port}, nil
	}
	var last error
	for range 200 {
		candidate := 10000 + rand.IntN(20000)
		holder, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.1:%d", candidate))
		if err != nil {
			last = err
			continue
		}
		// ":port" shows listeners on any address, IPv6 included.
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", candidate))
		if err == nil {
			err = l.Close()
		}
		if err != nil {
			last = errors.Join(err, holder.Close())
			continue
		}
		return &reservation{port: candidate, holder: holder}, nil
	}
	return nil, fmt.Errorf("finding a free port: %w", last)
}

// release gives the port back.
func (r *reservation) release() error {
	if r.holder == nil {
		return nil
	}
	return r.holder.Close()
}
