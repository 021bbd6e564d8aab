package issue

import (
	"net/netip"
	"slices"
	"strings"

	"certd/acme"
)

// nameOf is the identifier that authz is for, as it was ordered (RFC 8555 §7.1.4).
func nameOf(authz *acme.Authorization) acme.Identifier {
	id := canonical(authz.Identifier)
	if authz.Wildcard {
		id.Value = "*." + id.Value
	}
	return id
}

// covers reports whether authz is for one of names, or for a domain above one
// (RFC 9444). A wildcard authorization is for wildcard names only.
func covers(authz *acme.Authorization, names []string) bool {
	id := canonical(authz.Identifier)
	return slices.ContainsFunc(names, func(name string) bool {
		want := acme.NewIdentifier(name)
		if want == nameOf(authz) {
			return true
		}
		base, wildcard := strings.CutPrefix(want.Value, "*.")
		if want.Type != "dns" || id.Type != "dns" || authz.Wildcard && !wildcard {
			return false
		}
		return wildcard && base == id.Value || strings.HasSuffix(base, "."+id.Value)
	})
}

// sameNames reports whether ids are exactly names, in any order, each once.
func sameNames(ids []acme.Identifier, names []string) bool {
	if len(ids) != len(names) {
		return false
	}
	have, want := make([]acme.Identifier, len(ids)), make([]acme.Identifier, len(names))
	for i := range ids {
		have[i], want[i] = canonical(ids[i]), acme.NewIdentifier(names[i])
	}
	slices.SortFunc(have, compareIdentifiers)
	slices.SortFunc(want, compareIdentifiers)
	return slices.Equal(have, want)
}

// canonical gives an IP address the form we use (RFC 5952).
func canonical(id acme.Identifier) acme.Identifier {
	if id.Type != "ip" {
		return id
	}
	if addr, err := netip.ParseAddr(id.Value); err == nil {
		id.Value = addr.String()
	}
	return id
}
