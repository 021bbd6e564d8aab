// Package dnscheck is whether a record is visible: where it is to be written, and
// whether every authoritative server, and resolvers besides, show it.
package dnscheck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"
)

// Bounds of one question.
const (
	tries        = 2
	timeout      = 2 * time.Second // of one try
	strayPackets = 8               // datagrams that are no answer to the question
	wholePacket  = 1232            // bytes of an answer by UDP that no path splits: pieces get lost, and TCP takes what is longer
)

// Query asks a DNS server ("host:port") one question about name, by UDP and, if
// the answer was cut, by TCP. recursive says whether the server shall find out
// what it does not know. The answer is NOERROR or NXDOMAIN; everything else is an
// error, an *RcodeError if the server said so. It takes eight seconds at most.
func Query(ctx context.Context, server, name string, qtype uint16, recursive bool) (*dns.Msg, error) {
	q := new(dns.Msg)
	q.SetQuestion(dns.CanonicalName(name), qtype)
	q.RecursionDesired = recursive
	q.SetEdns0(wholePacket, false)
	var m *dns.Msg
	var err error
	for try := 0; try < tries && ctx.Err() == nil; try++ {
		m, err = exchange(ctx, "udp", server, q)
		if err == nil && m.Truncated {
			m, err = exchange(ctx, "tcp", server, q)
		}
		if err == nil {
			break
		}
	}
	switch {
	case err != nil:
		return nil, err
	case m == nil:
		return nil, ctx.Err()
	case m.Rcode == dns.RcodeSuccess, m.Rcode == dns.RcodeNameError:
		return m, nil
	}
	return nil, &RcodeError{Rcode: m.Rcode}
}

// An RcodeError is an answer other than NOERROR and NXDOMAIN.
type RcodeError struct {
	Rcode int // such as 2, SERVFAIL
}

// Error says what the server answered.
func (e *RcodeError) Error() string {
	if s, ok := dns.RcodeToString[e.Rcode]; ok {
		return "the DNS server answered " + s
	}
	return fmt.Sprintf("the DNS server answered code %d", e.Rcode)
}

// exchange sends q once and returns its answer; the end of ctx ends it.
func exchange(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn := &dns.Conn{Conn: c, UDPSize: dns.DefaultMsgSize}
	if err := conn.WriteMsg(q); err != nil {
		return nil, err
	}
	for range strayPackets {
		m, err := conn.ReadMsg()
		if err != nil {
			return nil, err
		}
		if m.Id == q.Id && m.Response && len(m.Question) == 1 && m.Question[0].Qtype == q.Question[0].Qtype &&
			dns.CanonicalName(m.Question[0].Name) == q.Question[0].Name {
			return m, nil
		}
	}
	return nil, errors.New("the DNS server answered other questions only")
}
