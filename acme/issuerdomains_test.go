package acme

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// What a CA calls itself in dns-persist-01 is taken only if all of it is proper.
func TestIssuerDomains(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string][]string{
		``:                                     nil,
		`null`:                                 nil,
		`["CA.test","ca.example"]`:             {"ca.test", "ca.example"},
		`"ca.test"`:                            nil,
		`[1]`:                                  nil,
		`["ca.test",""]`:                       nil,
		`["ca.test; accounturi=evil"]`:         nil,
		`["` + strings.Repeat("a", 254) + `"]`: nil,
		`["a","b","c","d","e","f","g","h","i","j","k"]`: nil,
		`["a","b","c","d","e","f","g","h","i","j"]`:     {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"},
	} {
		if got := issuerDomains(json.RawMessage(raw)); !slices.Equal(got, want) {
			t.Errorf("issuer-domain-names %.60s is read as %q, want %q", raw, got, want)
		}
	}
}
