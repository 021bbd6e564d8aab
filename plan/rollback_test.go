package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"certd/config"
	"certd/state"
)

func aside(c *state.Certificate) { c.SetAside = true }

// TestRolledBack: a certificate that was set aside is not linked, and what was gone
// back to is renewed when that one would be, or with a tenth of its lifetime left.
func TestRolledBack(t *testing.T) {
	t.Parallel()
	const www = "www.example.com"
	for _, tt := range []struct {
		name  string
		certs []*state.Certificate
		live  string
		want  string
		at    time.Duration // from noon
	}{
		{"the older one stays live, and waits for when the newer would be renewed",
			[]*state.Certificate{cert("old", www, 61*day, 90*day), cert("new", www, 1*day, 90*day, aside)}, "old",
			"t keep cert=old: renews 2026-12-10; rolled back, a newer certificate is set aside", 20 * day},
		{"its own time is later", []*state.Certificate{cert("old", www, 10*day, 90*day), cert("new", www, 1*day, 20*day, aside)}, "old",
			"t keep cert=old: renews 2027-01-09; rolled back, a newer certificate is set aside", 50 * day},
		{"a tenth is left", []*state.Certificate{cert("old", www, 81*day, 90*day), cert("new", www, 1*day, 90*day, aside)}, "old",
			"t order expiry cert=old: expires in 9 days; renewal due since", 0},
		{"the next renewal ended it", []*state.Certificate{cert("old", www, 61*day, 90*day), cert("new", www, 2*day, 90*day, aside), cert("third", www, 1*day, 90*day)}, "third",
			"t keep cert=third: renews 2027-01-18", 59 * day},
		{"the older one has expired", []*state.Certificate{cert("old", www, 91*day, 90*day), cert("new", www, 1*day, 90*day, aside)}, "old",
			"t relink cert=new stale=www.example.com", 0},
		{"the older one was revoked", []*state.Certificate{cert("old", www, 61*day, 90*day, func(c *state.Certificate) { c.Revoked = true }), cert("new", www, 1*day, 90*day, aside)}, "old",
			"t relink cert=new stale=www.example.com", 0},
		{"the newer one was revoked meanwhile", []*state.Certificate{cert("old", www, 61*day, 90*day), cert("new", www, 1*day, 90*day, aside, func(c *state.Certificate) { c.Revoked = true })}, "old",
			"t order expiry cert=old", 0},
		{"something else set aside is nothing to it", []*state.Certificate{cert("old", www, 61*day, 90*day), cert("new", "a.example.com", 1*day, 90*day, aside)}, "old",
			"t order expiry cert=old", 0},
	} {
		a := one(t, Input{Targets: []*config.Target{target("t", www)}, State: snapshot(www+"="+tt.live, tt.certs...)})
		if got := brief(a); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if tt.at > 0 && !a.At.Equal(noon().Add(tt.at)) {
			t.Errorf("%s: at %s, want %s from noon", tt.name, a.At, tt.at)
		}
	}
}

func TestCandidates(t *testing.T) {
	t.Parallel()
	const www = "www.example.com"
	in := Input{Now: noon(), Targets: []*config.Target{target("t", www)}, State: snapshot("",
		cert("a", www, 61*day, 90*day), cert("b", www, 1*day, 90*day, aside), cert("c", www, 30*day, 90*day),
		cert("expired", www, 91*day, 90*day), cert("other", "other.example.com", 1*day, 90*day),
		cert("revoked", www, 1*day, 90*day, func(c *state.Certificate) { c.Revoked = true }))}
	var got []string
	for _, c := range Candidates(in, "t") {
		got = append(got, c.ID)
	}
	if !slices.Equal(got, []string{"b", "c", "a"}) {
		t.Errorf("candidates are %q, want b c a", got)
	}
	if Candidates(in, "nobody") != nil {
		t.Error("a target that is not there has candidates")
	}
}
