package challenge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"certd/acme"

	"github.com/miekg/dns"
)

// Addresses returns the addresses of host of one family, at most 16, as the
// self-test would find them: at the DNS server resolver ("host:port"), or by the
// system's where it is empty. No address is no error.
func Addresses(ctx context.Context, resolver, host string, v6 bool) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	qtype, network := dns.TypeA, "ip4"
	if v6 {
		qtype, network = dns.TypeAAAA, "ip6"
	}
	var addrs []netip.Addr
	var err error
	if resolver == "" {
		addrs, err = net.DefaultResolver.LookupNetIP(ctx, network, host)
		if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
			return nil, nil
		}
		if _, ok := errors.AsType[*net.AddrError](err); ok { // addresses of the other family only
			return nil, nil
		}
	} else {
		addrs, err = ask(ctx, resolver, dns.Fqdn(host), qtype)
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", host, err)
	}
	addrs = unique(addrs)
	return addrs[:min(len(addrs), maxAddrs)], nil
}

// Query asks a DNS server ("host:port") one question about host, by UDP and, if
// the answer was cut, by TCP. The answer is NOERROR or NXDOMAIN; everything else,
// SERVFAIL among it, is an error. It takes ten seconds at most.
func Query(ctx context.Context, server, host string, qtype uint16) (*dns.Msg, error) {
	return query(ctx, server, dns.CanonicalName(host), qtype)
}

// WaitAddr is Wait for one address of id, whether or not there is a SelfTest: it
// returns nil once the answer is seen there, and tries again like
// SelfTest.Check. reached tells a wrong answer from no connection.
func (h *HTTP01) WaitAddr(ctx context.Context, id acme.Identifier, ch acme.Challenge, addr netip.Addr) (reached bool, err error) {
	if err := check(id, ch); err != nil {
		return false, err
	}
	s := h.SelfTest
	if s == nil {
		s = &SelfTest{}
	}
	err = retry(ctx, s.limit(), func(ctx context.Context) (err error) {
		defer recovered("self-test", &err)
		f := s.fetch(ctx, id, ch, addr)
		reached = reached || f.reached
		return f.err
	})
	if err == nil || ctx.Err() != nil {
		return reached, err
	}
	return reached, h.explain(err, ch)
}

// explain adds to why an answer was not seen what must be set up, and which ways
// did not work.
func (h *HTTP01) explain(err error, ch acme.Challenge) error {
	h.mu.Lock()
	p := h.presented[ch.Token]
	h.mu.Unlock()
	if len(p.advice) > 0 {
		err = fmt.Errorf("%w; %s", err, strings.Join(p.advice, ", or "))
	}
	var failed reasons
	for _, f := range p.failed {
		if !errors.Is(f, ErrUnhandled) { // most machines have no such hook
			failed = append(failed, f)
		}
	}
	if len(failed) > 0 {
		err = fmt.Errorf("%w; did not work: %w", err, failed)
	}
	return err
}
