package challenge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Bounds of a look-up.
const (
	maxAliases   = 8 // CNAME records in a row
	dnsTries     = 2
	dnsTimeout   = 2 * time.Second // of one try
	strayPackets = 8               // datagrams that are no answer to the question
)

// lookup returns the addresses of host, v6 first, without duplicates. With a
// server ("host:port") it asks only that one, as a CA would: no hosts file, no
// search list. Without addresses the error wraps ErrNoAddress.
func lookup(ctx context.Context, server, host string) ([]netip.Addr, error) {
	if server == "" {
		return systemLookup(ctx, host)
	}
	host = dns.Fqdn(host)
	types := []uint16{dns.TypeAAAA, dns.TypeA}
	found := make([][]netip.Addr, len(types))
	errs := make([]error, len(types))
	var wg sync.WaitGroup
	for i, qtype := range types {
		wg.Go(func() {
			defer recovered("look-up", &errs[i])
			found[i], errs[i] = ask(ctx, server, host, qtype)
		})
	}
	wg.Wait()
	addrs := unique(slices.Concat(found...))
	if len(addrs) > 0 { // a failing AAAA beside an A is not a CA's concern
		return addrs, nil
	}
	for _, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("look up %s at %s: %w", host, server, err)
		}
	}
	return nil, noAddress(host, "at "+server)
}

func systemLookup(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		return nil, noAddress(host, "by the system's resolver")
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", host, err)
	}
	return unique(addrs), nil
}

func noAddress(host, where string) error {
	return fmt.Errorf("%w of %s found %s; create one, or wait until it is visible", ErrNoAddress, strings.TrimSuffix(host, "."), where)
}

// unique drops duplicates and IPv4-mapped forms, and puts v6 first.
func unique(addrs []netip.Addr) []netip.Addr {
	var v6, v4 []netip.Addr
	for _, addr := range addrs {
		addr = addr.Unmap()
		switch {
		case addr.Is4() && !slices.Contains(v4, addr):
			v4 = append(v4, addr)
		case addr.Is6() && !slices.Contains(v6, addr):
			v6 = append(v6, addr)
		}
	}
	return append(v6, v4...)
}

// ask returns the addresses of one family, following aliases that the server
// did not follow itself.
func ask(ctx context.Context, server, host string, qtype uint16) ([]netip.Addr, error) {
	name := dns.CanonicalName(host)
	for range maxAliases {
		m, err := query(ctx, server, name, qtype)
		if err != nil {
			return nil, err
		}
		addrs, last := follow(m.Answer, name)
		if len(addrs) > 0 || last == name {
			return addrs, nil
		}
		name = last
	}
	return nil, fmt.Errorf("more than %d aliases (CNAME) in a row", maxAliases)
}

// follow walks the aliases of an answer from name to the last one, and returns
// the addresses of that.
func follow(answer []dns.RR, name string) (addrs []netip.Addr, last string) {
	for range maxAliases {
		i := slices.IndexFunc(answer, func(rr dns.RR) bool {
			_, ok := rr.(*dns.CNAME)
			return ok && dns.CanonicalName(rr.Header().Name) == name
		})
		if i < 0 {
			break
		}
		name = dns.CanonicalName(answer[i].(*dns.CNAME).Target)
	}
	for _, rr := range answer {
		if dns.CanonicalName(rr.Header().Name) != name {
			continue
		}
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		}
		if addr, ok := netip.AddrFromSlice(ip); ok {
			addrs = append(addrs, addr)
		}
	}
	return addrs, name
}

// query asks server one question, by UDP and, if the answer was cut, by TCP.
func query(ctx context.Context, server, name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	q.SetEdns0(dns.DefaultMsgSize, false)
	var m *dns.Msg
	var err error
	for try := 0; try < dnsTries && ctx.Err() == nil; try++ {
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
	return nil, fmt.Errorf("the DNS server answered %s", rcode(m.Rcode))
}

func rcode(code int) string {
	if s, ok := dns.RcodeToString[code]; ok {
		return s
	}
	return fmt.Sprintf("code %d", code)
}

// exchange sends q once and returns its answer; the end of ctx ends it.
func exchange(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
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
