package plan

import (
	"strings"
	"testing"

	"certd/config"
	"certd/state"
)

// TestKeysThatAreNotUsedAgain: no certificate is linked whose key has leaked; nor,
// where keys are announced, one with a key of the past.
func TestKeysThatAreNotUsedAgain(t *testing.T) {
	t.Parallel()
	const www = "www.example.com"
	key := func(id string) func(*state.Certificate) { return func(c *state.Certificate) { c.KeyID = id } }
	revoked := func(reason string) func(*state.Certificate) {
		return func(c *state.Certificate) { c.Revoked, c.RevokeReason = true, reason }
	}
	reuse := func(t *config.Target) { t.KeyReuse = true }
	plain := func(*config.Target) {}
	old := func(k string) *state.Certificate { return cert("old", www, 9*day, 90*day, key(k)) }
	last := func(k string, more ...func(*state.Certificate)) *state.Certificate {
		return cert("new", www, 1*day, 90*day, append(more, key(k))...)
	}
	for _, tt := range []struct {
		name   string
		change func(*config.Target)
		certs  []*state.Certificate
		want   string
	}{
		{"revoked, and the earlier one has another key", plain, []*state.Certificate{old("k1"), last("k2", revoked("superseded"))}, "t order revoked cert=old stale="},
		{"revoked as compromised, the earlier one has another key", plain, []*state.Certificate{old("k1"), last("k2", revoked("keyCompromise"))}, "t order revoked cert=old stale="},
		{"revoked as compromised, the earlier one has the same key", plain, []*state.Certificate{old("k1"), last("k1", revoked("keyCompromise"))}, "t order revoked: certificate revoked"},
		{"the earlier one was revoked as compromised", plain, []*state.Certificate{cert("old", www, 9*day, 90*day, key("k1"), revoked("keyCompromise")), last("k1")}, "t order revoked: another certificate with its key"},
		{"reused key, revoked, the earlier one has a key of the past", reuse, []*state.Certificate{old("k1"), last("k2", revoked("superseded"))}, "t order revoked: certificate revoked"},
		{"reused key, revoked, the earlier one has the same key", reuse, []*state.Certificate{old("k1"), last("k1", revoked("superseded"))}, "t order revoked cert=old stale="},
		{"reused key, rolled back", reuse, []*state.Certificate{old("k1"), last("k2", aside)}, "t relink cert=old"},
	} {
		got := brief(one(t, Input{Targets: []*config.Target{target("t", www, tt.change)}, State: snapshot(www+"=new", tt.certs...)}))
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
