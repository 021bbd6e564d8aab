package acme

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// maxName is the longest DNS name in its textual form.
const maxName = 253

// wireIdentifier is an identifier as CAs send it (RFC 8555 §7.1.3).
type wireIdentifier struct {
	Type  text `json:"type"`
	Value text `json:"value"`
}

// clean returns the identifier in the form in which identifiers are compared.
func (w wireIdentifier) clean() (Identifier, error) {
	return Identifier{Type: string(w.Type), Value: string(w.Value)}.clean()
}

// clean returns id with a lower-case name or a canonical address, or an error if
// it is nothing that a certificate could be asked for.
func (id Identifier) clean() (Identifier, error) {
	switch id.Type {
	case "dns":
		id.Value = strings.ToLower(id.Value)
		name := strings.TrimPrefix(id.Value, "*.")
		if name == "" || len(id.Value) > maxName || !ldh(name) {
			return Identifier{}, fmt.Errorf("%q is no DNS name", clip(id.Value, 100))
		}
		return id, nil
	case "ip":
		addr, err := netip.ParseAddr(id.Value)
		if err != nil || addr.Zone() != "" {
			return Identifier{}, fmt.Errorf("%q is no IP address", clip(id.Value, 100))
		}
		id.Value = addr.String()
		return id, nil
	case "":
		return Identifier{}, errors.New("an identifier has no type")
	}
	return Identifier{}, fmt.Errorf("unknown type %q of identifier %q", clip(id.Type, 50), clip(id.Value, 100))
}

// ldh reports whether name has only the characters of A-labels, underscores and dots.
func ldh(name string) bool {
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

// cleanAll cleans a list of identifiers, which must not be empty or repeat itself.
func cleanAll(ids []Identifier) ([]Identifier, error) {
	if len(ids) == 0 {
		return nil, errors.New("no identifiers")
	}
	if len(ids) > maxList {
		return nil, fmt.Errorf("%d identifiers, more than %d", len(ids), maxList)
	}
	seen := make(map[Identifier]bool, len(ids))
	cleaned := make([]Identifier, 0, len(ids))
	for _, id := range ids {
		id, err := id.clean()
		if err != nil {
			return nil, err
		}
		if seen[id] {
			return nil, fmt.Errorf("identifier %q appears twice", id.Value)
		}
		seen[id] = true
		cleaned = append(cleaned, id)
	}
	return cleaned, nil
}

// sameIdentifiers returns an error unless got has the same members as want, in
// whatever order. Both are results of cleanAll.
func sameIdentifiers(got, want []Identifier) error {
	missing := make(map[Identifier]bool, len(want))
	for _, id := range want {
		missing[id] = true
	}
	for _, id := range got {
		if !missing[id] {
			return fmt.Errorf("the order is for %q, which was not asked for", id.Value)
		}
		delete(missing, id)
	}
	for id := range missing {
		return fmt.Errorf("the order leaves out %q", id.Value)
	}
	return nil
}
