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

	"certd/challenge/dnscheck"

	"github.com/miekg/dns"
)

const maxAliases = 8 // CNAME records in a row

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
	return dnscheck.Query(ctx, server, name, qtype, true)
}
