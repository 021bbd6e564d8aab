package issue

import (
	"slices"
	"sync"
	"testing"

	"certd/acme"
	"certd/acme/acmetest"
)

// TestAuthorized: each authorization is told once, as it ended: proven, proven
// before, or refused.
func TestAuthorized(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{AuthzReuse: 100})
	var mu sync.Mutex
	var told []string
	issuer := b.issuer()
	issuer.Authorized = func(challenge, outcome string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, challenge+" "+outcome)
	}
	check := func(what string, want ...string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(told)
		if !slices.Equal(told, want) {
			t.Errorf("%s: told %q, want %q", what, told, want)
		}
		told = nil
	}
	if _, err := issuer.Issue(t.Context(), b.request("a.example.com")); err != nil {
		t.Fatal(err)
	}
	check("a first certificate", "http-01 valid")
	if _, err := issuer.Issue(t.Context(), b.request("a.example.com", "b.example.com")); err != nil {
		t.Fatal(err)
	}
	check("a second one", "http-01 reused", "http-01 valid")
	b.solver.wrong = map[string]bool{"c.example.com": true}
	b.fail(issuer, t.Context(), b.request("c.example.com"), acme.ClassName)
	check("a name that is not served", "http-01 invalid")
}
