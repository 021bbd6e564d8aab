package dnscheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// Bounds of what is followed and asked.
const (
	maxAliases   = 8 // CNAME records in a row
	maxReferrals = 4 // zone cuts below the one that the resolver knows
	maxSteps     = 12
	maxHosts     = 13 // name servers of a zone
	maxPerHost   = 4  // addresses of one, of each family
	atOnce       = 8  // questions at the same time
)

// ErrAliases reports a chain of aliases (CNAME) that is too long or a circle.
var ErrAliases = errors.New("its aliases (CNAME) lead nowhere")

// A place is where a record is: the end of its aliases, and who answers for it.
type place struct {
	name    string // canonical
	zone    string // canonical
	servers []server
}

// A server is one address of a name server.
type server struct {
	host string // canonical
	addr string // "address:port"
}

func (s server) String() string {
	host, _, _ := net.SplitHostPort(s.addr)
	return strings.TrimSuffix(s.host, ".") + " (" + host + ")"
}

// Follow returns the name at which a record for name is to be written: name
// itself, or what it is an alias (CNAME) for, through at most eight of them. The
// error wraps ErrAliases if they lead nowhere. The authoritative servers are
// asked, so that no resolver remembers that a name is not there yet; only where
// none of them answers is the resolver.
func (c *Checker) Follow(ctx context.Context, name string) (string, error) {
	at, err := c.locate(ctx, name)
	if err == nil {
		return strings.TrimSuffix(at.name, "."), nil
	}
	if errors.Is(err, ErrAliases) || ctx.Err() != nil {
		return "", err
	}
	end, resolveErr := c.resolveAliases(ctx, dns.CanonicalName(name))
	if resolveErr != nil {
		return "", err
	}
	return strings.TrimSuffix(end, "."), nil
}

// locate finds the place of name.
func (c *Checker) locate(ctx context.Context, name string) (*place, error) {
	at := dns.CanonicalName(name)
	seen := []string{at}
	for {
		where, target, err := c.locateOne(ctx, at)
		if err != nil {
			return nil, fmt.Errorf("find who answers for %s: %w", strings.TrimSuffix(at, "."), err)
		}
		if target == "" {
			return where, nil
		}
		if seen, err = step(seen, target); err != nil {
			return nil, err
		}
		at = target
	}
}

// step adds target to a chain of aliases, unless that is one too many.
func step(seen []string, target string) ([]string, error) {
	chain := strings.Join(append(slices.Clone(seen), target), " -> ")
	switch {
	case slices.Contains(seen, target):
		return nil, fmt.Errorf("%w: %.400s is a circle", ErrAliases, chain)
	case len(seen) > maxAliases:
		return nil, fmt.Errorf("%w: more than %d in a row, %.400s", ErrAliases, maxAliases, chain)
	}
	return append(seen, target), nil
}

// locateOne finds who answers for name, and what it is an alias for, if anything.
func (c *Checker) locateOne(ctx context.Context, name string) (*place, string, error) {
	zone, err := c.zone(ctx, name)
	if err != nil {
		return nil, "", err
	}
	for range maxReferrals {
		servers, err := c.servers(ctx, zone)
		if err != nil {
			return nil, "", err
		}
		m, err := c.first(ctx, servers, zone, name)
		if err != nil {
			return nil, "", err
		}
		if cut := referral(m, zone, name); cut != "" {
			zone = cut
			continue
		}
		target := alias(m, name)
		if target != "" && !c.Wildcards && c.wild(ctx, servers, zone, name, target) {
			target = ""
		}
		return &place{name: name, zone: zone, servers: servers}, target, nil
	}
	return nil, "", fmt.Errorf("more than %d zones below each other", maxReferrals)
}

// wild reports whether name is an alias for target only because there is nothing
// of that name: any other would be, too, by a record such as "*.example.com. CNAME".
// A record that is written there ends that (RFC 4592 §2.2.1).
func (c *Checker) wild(ctx context.Context, servers []server, zone, name, target string) bool {
	other := "_certd-wildcard." + parent(name)
	m, err := c.first(ctx, servers, zone, other)
	return err == nil && alias(m, other) == target
}

// zone finds the zone that name is in, as far as the resolver knows: the walk
// begins above name, which may not be there yet.
func (c *Checker) zone(ctx context.Context, name string) (string, error) {
	at := parent(name)
	for range maxSteps {
		if at == "." {
			break
		}
		m, err := c.resolve(ctx, at, dns.TypeSOA)
		if _, ok := errors.AsType[*RcodeError](err); ok {
			at = parent(at) // whoever answers for that says where the zone begins
			continue
		}
		if err != nil {
			return "", fmt.Errorf("SOA of %s: %w", at, err)
		}
		if owner := soa(m.Answer, at); owner == at {
			return at, nil
		}
		// The authority section names the zone; ask that itself.
		if owner := soa(m.Ns, at); owner != "" && owner != at && owner != "." {
			at = owner
		} else {
			at = parent(at)
		}
	}
	return "", fmt.Errorf("no zone above %s has an SOA record", strings.TrimSuffix(name, "."))
}

func parent(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end || i >= len(name) {
		return "."
	}
	return name[i:]
}

// soa returns the owner of the SOA record in rrs if that is name or above it.
func soa(rrs []dns.RR, name string) string {
	for _, rr := range rrs {
		if _, ok := rr.(*dns.SOA); ok {
			if owner := dns.CanonicalName(rr.Header().Name); dns.IsSubDomain(owner, name) {
				return owner
			}
		}
	}
	return ""
}

// servers returns all addresses of a zone's name servers.
func (c *Checker) servers(ctx context.Context, zone string) ([]server, error) {
	m, err := c.resolve(ctx, zone, dns.TypeNS)
	if err != nil {
		return nil, fmt.Errorf("NS of %s: %w", zone, err)
	}
	var hosts []string
	for _, rr := range m.Answer {
		if ns, ok := rr.(*dns.NS); ok && dns.CanonicalName(ns.Hdr.Name) == zone {
			hosts = append(hosts, dns.CanonicalName(ns.Ns))
		}
	}
	slices.Sort(hosts)
	hosts = slices.Compact(hosts)
	hosts = hosts[:min(len(hosts), maxHosts)]
	types := []uint16{dns.TypeA, dns.TypeAAAA}
	found := make([][]server, len(hosts)*len(types))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i := range found {
		g.Go(func() error {
			host := hosts[i/len(types)]
			if m, err := c.resolve(ctx, host, types[i%len(types)]); err == nil { // a host without an address is one less to ask
				found[i] = addresses(m.Answer, host, c.port())
			}
			return nil
		})
	}
	_ = g.Wait() // always nil
	all := slices.Concat(found...)
	if len(all) == 0 {
		return nil, fmt.Errorf("zone %s: none of its %d name servers has an address", zone, len(hosts))
	}
	return all, nil
}

func addresses(answer []dns.RR, host, port string) []server {
	var all []server
	for _, rr := range answer {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		}
		if addr, ok := netip.AddrFromSlice(ip); ok && len(all) < maxPerHost {
			all = append(all, server{host: host, addr: net.JoinHostPort(addr.Unmap().String(), port)})
		}
	}
	return all
}

func (c *Checker) port() string {
	if c.Port == 0 {
		return "53"
	}
	return strconv.Itoa(c.Port)
}

// first asks one server after the other what name is an alias for, until one
// answers. It follows nothing itself, and says which zone the name is in if there
// is no alias. One that does not answer for the zone counts if all are like that.
func (c *Checker) first(ctx context.Context, servers []server, zone, name string) (*dns.Msg, error) {
	var errs []string
	var beside *dns.Msg
	for _, s := range servers {
		m, err := Query(ctx, s.addr, name, dns.TypeCNAME, false)
		if err == nil && (m.Authoritative || referral(m, zone, name) != "") {
			return m, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			beside = cmp.Or(beside, m)
			continue
		}
		errs = append(errs, fmt.Sprintf("%v: %v", s, err))
	}
	if beside != nil {
		return beside, nil
	}
	return nil, errors.New("none of its name servers answers: " + strings.Join(errs[:min(len(errs), 4)], "; "))
}

// alias returns what name is an alias for in an answer; empty if it is none.
func alias(m *dns.Msg, name string) string {
	for _, rr := range m.Answer {
		if cname, ok := rr.(*dns.CNAME); ok && dns.CanonicalName(cname.Hdr.Name) == name {
			return dns.CanonicalName(cname.Target)
		}
	}
	return ""
}

// referral returns the zone below zone that the server says name is in; empty if
// it answered itself.
func referral(m *dns.Msg, zone, name string) string {
	if len(m.Answer) > 0 {
		return ""
	}
	if m.Authoritative { // a server may have both zones
		if owner := soa(m.Ns, name); owner != zone && owner != "" && dns.IsSubDomain(zone, owner) {
			return owner
		}
		return ""
	}
	for _, rr := range m.Ns {
		owner := dns.CanonicalName(rr.Header().Name)
		if _, ok := rr.(*dns.NS); ok && owner != zone && dns.IsSubDomain(zone, owner) && dns.IsSubDomain(owner, name) {
			return owner
		}
	}
	return ""
}

// resolveAliases is where the resolver says the aliases of name end.
func (c *Checker) resolveAliases(ctx context.Context, name string) (string, error) {
	seen := []string{name}
	for {
		m, err := c.resolve(ctx, name, dns.TypeCNAME)
		if err != nil {
			return "", err
		}
		target := alias(m, name)
		if target == "" {
			return name, nil
		}
		if seen, err = step(seen, target); err != nil {
			return "", err
		}
		name = target
	}
}

// resolve asks the resolver, or those of the system one after the other.
func (c *Checker) resolve(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	servers := []string{c.Resolver}
	if c.Resolver == "" {
		servers = SystemResolvers("/etc/resolv.conf")
	}
	var last error
	for _, s := range servers {
		m, err := Query(ctx, s, name, qtype, true)
		if err == nil {
			return m, nil
		}
		last = fmt.Errorf("resolver %s: %w", s, err)
	}
	return nil, last
}

// SystemResolvers are the resolvers that a file such as /etc/resolv.conf names,
// as "host:port", three at most; that of this machine if it names none.
func SystemResolvers(path string) []string {
	config, err := dns.ClientConfigFromFile(path)
	if err != nil || len(config.Servers) == 0 {
		return []string{"127.0.0.1:53"}
	}
	var all []string
	for _, s := range config.Servers[:min(len(config.Servers), 3)] {
		all = append(all, net.JoinHostPort(s, config.Port))
	}
	return all
}
