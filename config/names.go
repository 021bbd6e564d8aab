package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// ParseName returns the one form in which certd knows a name: a DNS name in
// lower case A-labels without final dot, perhaps with "*." in front, or an IP
// address in canonical text. ParseName of its own result is that result.
//
// Everything a CA would refuse, and everything that could be mistaken for a
// path, an option or another name, is an error that says why: labels other
// than 1-63 letters, digits and inner hyphens, names over 253 bytes, single
// labels, a last label that is a number, public suffixes of the ICANN section
// (private ones, such as github.io, are allowed), wildcards other than one
// whole leftmost label above a name that is itself acceptable, reserved
// labels ("ab--c"), IDNs that do not survive the way to A-labels and back or
// that mix Latin, Greek and Cyrillic letters in a label, and IP addresses
// with zone or port, IPv4 in IPv6 form, unspecified or multicast ones.
func ParseName(s string) (string, error) {
	name, err := parseName(s)
	if err != nil {
		return "", fmt.Errorf("name %s: %w", quote(s), err)
	}
	return name, nil
}

func parseName(s string) (string, error) {
	if err := checkText(s); err != nil {
		return "", err
	}
	if addr, ok, err := parseAddress(s); ok || err != nil {
		return addr, err
	}
	rest, wildcard := strings.CutPrefix(s, "*.")
	if strings.Contains(rest, "*") {
		return "", errors.New("\"*\" stands for a whole first label only, as in *.example.com")
	}
	name, err := toASCII(rest)
	if err != nil {
		return "", err
	}
	name = strings.TrimSuffix(name, ".")
	if err := checkLabels(name); err != nil {
		return "", err
	}
	if err := checkSuffix(name, wildcard); err != nil {
		return "", err
	}
	if wildcard {
		name = "*." + name
	}
	if len(name) > 253 {
		return "", fmt.Errorf("is %d bytes long; a name has at most 253", len(name))
	}
	return name, nil
}

// checkText refuses what cannot be part of a name in any spelling.
func checkText(s string) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case len(s) > 1024:
		return fmt.Errorf("is %d bytes long; a name has at most 253", len(s))
	case !utf8.ValidString(s):
		return errors.New("is not UTF-8 text")
	}
	for _, r := range s {
		switch {
		case unicode.IsControl(r):
			return fmt.Errorf("has the control character %U", r)
		case unicode.IsSpace(r):
			return errors.New("has white space in it")
		case r == '/' || r == '\\':
			return fmt.Errorf("has %q in it: it is a path or a URL", r)
		case r == 0xad, r == 0x180e, r == 0x200b, 0x2060 <= r && r <= 0x206f, r == 0xfeff, 0xfe00 <= r && r <= 0xfe0f:
			return fmt.Errorf("has the invisible character %U", r)
		}
	}
	if s[0] == '-' || s[0] == '.' {
		return fmt.Errorf("begins with %q", s[:1])
	}
	return nil
}

// parseAddress reports whether s is an IP address, and its canonical text.
func parseAddress(s string) (string, bool, error) {
	if strings.HasPrefix(s, "[") {
		return "", false, errors.New("has brackets; write the IPv6 address alone")
	}
	addr, err := netip.ParseAddr(s)
	switch {
	case err != nil && strings.Contains(s, ":"):
		return "", false, errors.New("has a colon but is no IPv6 address; write it without port and scheme")
	case err != nil:
		return "", false, nil
	case addr.Zone() != "":
		return "", false, errors.New("IP address has a zone, which means nothing to others")
	case addr.Is4In6():
		return "", false, fmt.Errorf("is IPv4 in IPv6 form; write %s", addr.Unmap())
	case addr.IsUnspecified() || addr.IsMulticast():
		return "", false, errors.New("is no address of one host")
	}
	return addr.String(), true, nil
}

// toASCII maps an internationalised name to A-labels (RFC 5891, UTS 46) and
// makes sure that they stand for that name and no other.
func toASCII(s string) (string, error) {
	lower := strings.ToLower(s)
	if isASCII(s) && !strings.Contains(lower, "xn--") {
		return lower, nil
	}
	for label := range strings.SplitSeq(s, ".") {
		if err := checkScripts(label); err != nil {
			return "", err
		}
	}
	profile := idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(),
		idna.CheckHyphens(true), idna.CheckJoiners(true))
	ascii, err := profile.ToASCII(s)
	if err != nil {
		return "", fmt.Errorf("is no internationalised name: %w", err)
	}
	unicoded, err := profile.ToUnicode(ascii)
	if err != nil {
		return "", fmt.Errorf("is no internationalised name: %w", err)
	}
	again, err := profile.ToASCII(unicoded)
	if err != nil || again != ascii || !isASCII(ascii) {
		return "", errors.New("is no internationalised name: it changes on the way to A-labels and back")
	}
	labels := strings.Split(unicoded, ".")
	for i, label := range strings.Split(ascii, ".") {
		if strings.HasPrefix(label, "xn--") && (i >= len(labels) || isASCII(labels[i])) {
			return "", fmt.Errorf("label %s encodes nothing that needs encoding", quote(label))
		}
	}
	return ascii, nil
}

// checkScripts refuses a label that mixes scripts whose letters look alike.
// Who means such a name can write its A-label.
func checkScripts(label string) error {
	var found []string
	for _, script := range []struct {
		name  string
		table *unicode.RangeTable
	}{{"Latin", unicode.Latin}, {"Greek", unicode.Greek}, {"Cyrillic", unicode.Cyrillic}} {
		if strings.ContainsFunc(label, func(r rune) bool { return unicode.Is(script.table, r) }) {
			found = append(found, script.name)
		}
	}
	if len(found) < 2 {
		return nil
	}
	hint := ""
	if a, err := idna.New(idna.MapForLookup(), idna.Transitional(false)).ToASCII(label); err == nil {
		hint = fmt.Sprintf("; if it is meant, write %s", a)
	}
	return fmt.Errorf("label %s mixes %s letters%s", quote(label), strings.Join(found, " and "), hint)
}

// checkLabels checks the grammar of host names (RFC 1123 §2.1, RFC 1035 §2.3.4).
func checkLabels(name string) error {
	labels := strings.Split(name, ".")
	for _, label := range labels {
		switch {
		case label == "":
			return errors.New("has an empty label")
		case len(label) > 63:
			return fmt.Errorf("label %s is %d bytes long; a label has at most 63", quote(label), len(label))
		case label[0] == '-' || label[len(label)-1] == '-':
			return fmt.Errorf("label %s begins or ends with \"-\"", quote(label))
		case len(label) > 3 && label[2:4] == "--" && !strings.HasPrefix(label, "xn--"):
			return fmt.Errorf("label %s is of a reserved form (\"--\" after two letters)", quote(label))
		}
		for _, r := range label {
			if r == '_' {
				return fmt.Errorf("label %s has \"_\", which certificates may not have", quote(label))
			}
			if !letterOrDigit(r) && r != '-' {
				return fmt.Errorf("has the character %q; letters, digits, \"-\" and \".\" are allowed", r)
			}
		}
	}
	if last := labels[len(labels)-1]; isNumber(last) {
		return fmt.Errorf("ends in the number %s, yet it is no IP address", quote(last))
	}
	return nil
}

// checkSuffix refuses names that no one person owns.
func checkSuffix(name string, wildcard bool) error {
	if !strings.Contains(name, ".") {
		if wildcard {
			return errors.New("is a wildcard of a whole top-level domain; at least two labels follow \"*.\"")
		}
		return errors.New("is a single label; want a full name such as www.example.com")
	}
	if suffix, icann := publicsuffix.PublicSuffix(name); icann && suffix == name {
		if wildcard {
			return fmt.Errorf("is a wildcard of the public suffix %s", suffix)
		}
		return errors.New("is a public suffix, under which others register names")
	}
	return nil
}

// isNumber reports whether a last label would be taken for part of an IPv4
// address: decimal, or hexadecimal with 0x.
func isNumber(label string) bool {
	digits := "0123456789"
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		label, digits = hex, "0123456789abcdef"
	}
	return strings.Trim(label, digits) == ""
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// SplitLive parts the name of a live link, "name" or "name:label"; the label is
// empty without one. An IPv6 address has colons of its own and is recognised as a
// name; a label is never put behind one.
func SplitLive(link string) (name, label string) {
	if _, err := ParseName(link); err == nil {
		return link, ""
	}
	if i := strings.LastIndexByte(link, ':'); i >= 0 {
		return link[:i], link[i+1:]
	}
	return link, ""
}
