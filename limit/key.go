package limit

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"

	"certd/config"

	"golang.org/x/net/publicsuffix"
)

// keys returns what a request is counted by under a limit, each once.
func (a Ask) keys(l config.Limit) []string {
	var keys []string
	switch l.Per {
	case config.PerAccount:
		keys = append(keys, digest(a.Account))
	case config.PerNames:
		keys = append(keys, digest(exact(a.Names)...))
	case config.PerDomain:
		for _, n := range a.Names {
			keys = append(keys, RegisteredDomain(n))
		}
	case config.PerFailure:
		for _, n := range a.Names {
			keys = append(keys, failureKey(n, a.Account))
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// refusal is what an answer rateLimited is kept by.
func (a Ask) refusal() string { return digest(append(exact(a.Names), a.Account)...) }

func failureKey(name, account string) string { return digest(name, account) }

// RegisteredDomain returns what Let's Encrypt counts certificates of a name
// by: the public suffix and one label more, without a wildcard; the name
// itself if it is a public suffix; an IPv4 address itself; the /64 of an IPv6
// address.
func RegisteredDomain(name string) string {
	if addr, err := netip.ParseAddr(name); err == nil {
		if addr = addr.Unmap().WithZone(""); addr.Is4() {
			return addr.String()
		}
		prefix, err := addr.Prefix(64)
		if err == nil {
			return prefix.String()
		}
	}
	name = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(name, "*."), "."))
	domain, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil {
		domain = name
	}
	if len(domain) > maxKey {
		return digest(domain)
	}
	return domain
}

// exact returns the set of names: sorted, each once.
func exact(names []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// digest makes a key of bounded length, the same for the same parts.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
