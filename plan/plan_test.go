package plan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"certd/acme"
	"certd/config"
	"certd/state"
)

const (
	le      = "https://acme-v02.api.letsencrypt.org/directory"
	zerossl = "https://acme.zerossl.com/v2/DV90"
)

// target makes a target that wants names.
func target(file, names string, change ...func(*config.Target)) *config.Target {
	t := &config.Target{File: file, Names: strings.Fields(names), RequestNames: strings.Fields(names)}
	for _, c := range change {
		c(t)
	}
	return t
}

// cert makes a certificate of age and lifetime, good in every other respect.
func cert(id, names string, age, lifetime time.Duration, change ...func(*state.Certificate)) *state.Certificate {
	c := &state.Certificate{
		ID: id, URL: "https://ca/order/" + id, Directory: le, KeyType: "ecdsa-p256", HasKey: true, Names: strings.Fields(names),
		NotBefore: noon().Add(-age), NotAfter: noon().Add(lifetime - age),
	}
	for _, ch := range change {
		ch(c)
	}
	return c
}

// published sets when a certificate was published, from noon.
func published(after time.Duration) func(*state.Certificate) {
	return func(c *state.Certificate) { c.Created = noon().Add(after) }
}

// snapshot puts certificates on disk, and links each "name=id".
func snapshot(links string, certs ...*state.Certificate) *state.Snapshot {
	s := &state.Snapshot{Certificates: map[string]*state.Certificate{}, Live: map[string]string{}, Attempts: map[string]state.Attempt{},
		Renewals: map[string]state.Renewal{}}
	for _, c := range certs {
		s.Certificates[c.ID] = c
	}
	for _, l := range strings.Fields(links) {
		i := strings.LastIndex(l, "=")
		s.Live[l[:i]] = l[i+1:]
	}
	return s
}

// brief writes what matters of an action in a line.
func brief(a Action) string {
	s := fmt.Sprintf("%s %s", a.Target, a.Kind)
	if a.Cause != "" {
		s += " " + string(a.Cause)
	}
	if a.CertID != "" {
		s += " cert=" + a.CertID
	}
	if len(a.Stale) > 0 {
		s += " stale=" + strings.Join(a.Stale, ",")
	}
	return s + ": " + a.Reason
}

// one computes the action of a single target.
func one(t *testing.T, in Input) Action {
	t.Helper()
	in.Now = noon()
	got := Compute(in)
	if len(got) != 1 {
		t.Fatalf("got %d actions, want one for each target", len(got))
	}
	return got[0]
}

// TestLifetimes walks one linked certificate through its life.
func TestLifetimes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		age, lifetime time.Duration
		margin        int
		want          string
	}{
		{"90 days, fresh", 0, 90 * day, 0, "keep: renews 2027-01-19"},
		{"90 days, two months old, a minute early", 60*day - time.Minute, 90 * day, 0, "keep: renews 2026-11-20 12:01Z"},
		{"90 days, exactly due", 60 * day, 90 * day, 0, "order expiry: expires in 30 days; renewal due since 2026-11-20 12:00Z"},
		{"90 days, 12 left", 78 * day, 90 * day, 0, "order expiry: expires in 12 days; renewal due since 2026-11-02 12:00Z"},
		{"90 days, margin 10, 12 left", 78 * day, 90 * day, 10, "keep: renews 2026-11-22"},
		{"90 days, expired", 93 * day, 90 * day, 0, "order expiry: expired 3 days ago; renewal due since 2026-10-18 12:00Z"},
		{"64 days, 42 old", 42 * day, 64 * day, 0, "keep: renews 2026-11-21 04:00Z"},
		{"64 days, 43 old", 43 * day, 64 * day, 0, "order expiry: expires in 21 days; renewal due since 2026-11-20 04:00Z"},
		{"47 days, 31 old", 31 * day, 47 * day, 0, "keep: renews 2026-11-20 20:00Z"},
		{"47 days, 32 old", 32 * day, 47 * day, 0, "order expiry: expires in 15 days; renewal due since 2026-11-19 20:00Z"},
		{"45 days, 29 old", 29 * day, 45 * day, 0, "keep: renews 2026-11-21 12:00Z"},
		{"45 days, 30 old", 30 * day, 45 * day, 0, "order expiry: expires in 15 days; renewal due since 2026-11-20 12:00Z"},
		{"6 days, fresh", 0, 6 * day, 0, "keep: renews 2026-11-23 12:00Z"},
		{"6 days, 2 old", 2 * day, 6 * day, 0, "keep: renews 2026-11-21 12:00Z"},
		{"6 days, 3 old", 3 * day, 6 * day, 0, "order expiry: expires in 3 days; renewal due since 2026-11-20 12:00Z"},
		{"6 days, margin 1, 4 old", 4 * day, 6 * day, 1, "keep: renews 2026-11-21 12:00Z"},
		{"10 minutes, 4 old", 4 * time.Minute, 10 * time.Minute, 0, "keep: renews 2026-11-20 12:01Z"},
		{"10 minutes, 5 old", 5 * time.Minute, 10 * time.Minute, 0, "order expiry: expires in 5 minutes; renewal due since 2026-11-20 12:00Z"},
		{"10 minutes, 9 old", 9 * time.Minute, 10 * time.Minute, 0, "order expiry: expires in 1 minute; renewal due since 2026-11-20 11:56Z"},
		{"10 minutes, expired", 130 * time.Minute, 10 * time.Minute, 0, "order expiry: expired 2 hours ago; renewal due since 2026-11-20 09:55Z"},
		{"not valid for half an hour", -30 * time.Minute, 90 * day, 0, "keep: renews 2027-01-19"},
		{"not valid for two hours", -2 * time.Hour, 90 * day, 0, "keep: valid only from 2026-11-20 14:00Z"},
	} {
		a := one(t, Input{
			Targets: []*config.Target{target("x", "a.example.com", func(t *config.Target) { t.Margin = tt.margin })},
			State:   snapshot("a.example.com=c1", cert("c1", "a.example.com", tt.age, tt.lifetime)),
		})
		if got := strings.TrimPrefix(brief(a), "x "); got != strings.Replace(tt.want, ":", " cert=c1:", 1) {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
		if early := a.At.Before(noon()); early || (a.Kind == Order && !a.At.Equal(noon())) {
			t.Errorf("%s: at %v", tt.name, a.At)
		}
	}
}

// TestCauses holds why certificates are replaced before their time.
func TestCauses(t *testing.T) {
	t.Parallel()
	type T = config.Target
	type C = state.Certificate
	age := func(c *C) {}
	ours := func(c *C) { c.Target = "x" }
	for _, tt := range []struct {
		name   string
		target func(*T)
		cert   func(*C)
		want   string
	}{
		{"all is well", func(*T) {}, age, "keep cert=c1: renews 2027-01-09"},
		{"any key", func(*T) {}, func(c *C) { c.KeyType = "rsa-4096" }, "keep cert=c1: renews 2027-01-09"},
		{"key missing", func(*T) {}, func(c *C) { c.HasKey = false }, "order damaged: key missing"},
		{"damaged", func(*T) {}, func(c *C) { c.Damage = "chain: no\n PEM" }, "order damaged: certificate damaged: chain: no PEM"},
		{"revoked", func(*T) {}, func(c *C) { c.Revoked, c.HasKey = true, false }, "order revoked: certificate revoked"},
		{"other kind of key", func(t *T) { t.Key.Algorithm = "rsa" }, age, "order want_changed: key type changed: ecdsa-p256 to rsa-2048"},
		{"other curve", func(t *T) { t.Key = config.KeyType{Algorithm: "ecdsa", Curve: "nistp384"} }, age, "order want_changed: key type changed: ecdsa-p256 to ecdsa-p384"},
		{"no curve stipulated", func(t *T) { t.Key = config.KeyType{Algorithm: "ecdsa"} }, func(c *C) { c.KeyType = "ecdsa-p521" }, "keep cert=c1: renews 2027-01-09"},
		{"other CA", func(t *T) { t.CAs = []string{"zerossl"} }, age, "order want_changed: CA changed: acme-v02.api.letsencrypt.org to acme.zerossl.com"},
		{"second CA of the list", func(t *T) { t.CAs = []string{"zerossl", "letsencrypt"} }, age, "keep cert=c1: renews 2027-01-09"},
		{"CA by URL", func(t *T) { t.CAs = []string{le} }, age, "keep cert=c1: renews 2027-01-09"},
		{"unknown CA of acmetool", func(t *T) { t.CAs = []string{"zerossl"} }, func(c *C) { c.Directory = "" }, "keep cert=c1: renews 2027-01-09"},
		{"v01 is v02", func(*T) {}, func(c *C) { c.Directory = "https://acme-v01.api.letsencrypt.org/directory" }, "keep cert=c1: renews 2027-01-09"},
		{"staging is not live", func(*T) {}, func(c *C) { c.Directory = "https://acme-staging-v02.api.letsencrypt.org/directory" },
			"order want_changed: CA changed: acme-staging-v02.api.letsencrypt.org to acme-v02.api.letsencrypt.org"},
		{"a name more", func(t *T) { t.RequestNames = []string{"a.example.com", "b.example.com"} }, age, "order want_changed: names changed: +b.example.com"},
		{"a name less", func(*T) {}, func(c *C) { c.Names = []string{"a.example.com", "b.example.com"} }, "order want_changed: names changed: -b.example.com"},
		{"names and key", func(t *T) { t.Key.Algorithm = "rsa" }, func(c *C) { c.Names = []string{"a.example.com", "b.example.com"} },
			"order want_changed: names changed: -b.example.com; key type changed: ecdsa-p256 to rsa-2048"},
		{"profile wanted, ours has none", func(t *T) { t.Profile = "shortlived" }, ours, "order want_changed: profile changed: default to shortlived"},
		{"profile wanted, nobody knows", func(t *T) { t.Profile = "shortlived" }, age, "keep cert=c1: renews 2027-01-09"},
		{"profile gone", func(*T) {}, func(c *C) { c.Profile = "shortlived" }, "order want_changed: profile changed: shortlived to default"},
		{"profile as asked", func(t *T) { t.Profile = "shortlived" }, func(c *C) { c.Profile = "shortlived" }, "keep cert=c1: renews 2027-01-09"},
		{"CA nobody knows, all is well", func(t *T) { t.CAs = []string{"zebra"} }, age, "keep cert=c1: renews 2027-01-09"},
		{"CA nobody knows, needed", func(t *T) { t.CAs, t.Key.Algorithm = []string{"letsencrpyt"}, "rsa" }, age,
			"wait want_changed: key type changed: ecdsa-p256 to rsa-2048; no CA is called \"letsencrpyt\"; did you mean letsencrypt?"},
	} {
		a := one(t, Input{
			Targets: []*config.Target{target("x", "a.example.com", tt.target)},
			State:   snapshot("a.example.com=c1", cert("c1", "a.example.com", 10*day, 90*day, tt.cert)),
		})
		if got := strings.TrimPrefix(brief(a), "x "); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// TestBest holds which of several certificates is linked.
func TestBest(t *testing.T) {
	t.Parallel()
	const a = "a.example.com"
	revoked := func(c *state.Certificate) { c.Revoked = true }
	other := func(c *state.Certificate) { c.Target = "other" }
	for _, tt := range []struct {
		name, links string
		certs       []*state.Certificate
		want        string
	}{
		{"nothing", "", nil, "order new: no certificate yet"},
		{"link to nothing", a + "=gone", nil, "order damaged: the certificate in use is missing or cannot be read"},
		{"not linked yet", "", []*state.Certificate{cert("c1", a, 0, 90*day)}, "relink cert=c1 stale=a.example.com: live/a.example.com does not point to the best certificate"},
		{"the newest", a + "=c1", []*state.Certificate{cert("c1", a, 10*day, 90*day), cert("c2", a, 0, 90*day), cert("c3", a, 0, 45*day)},
			"relink cert=c2 stale=a.example.com: live/a.example.com does not point to the best certificate"},
		{"the newest though it ends first", a + "=c2", []*state.Certificate{cert("c1", a, 61*day, 90*day), cert("c2", a, 0, 6*day)}, "keep cert=c2: renews 2026-11-23 12:00Z"},
		{"the newest though a CA backdates", a + "=c2", []*state.Certificate{cert("c1", a, 0, 90*day, published(-time.Minute)), cert("c2", a, time.Hour, 90*day, published(0))},
			"keep cert=c2: renews 2027-01-19"},
		{"a tie goes to the first ID", a + "=c2", []*state.Certificate{cert("c3", a, 0, 90*day), cert("c2", a, 0, 90*day), cert("c4", a, 0, 90*day)}, "keep cert=c2: renews 2027-01-19"},
		{"a tie goes to the one in use", a + "=c3", []*state.Certificate{cert("c3", a, 0, 90*day), cert("c2", a, 0, 90*day)}, "keep cert=c3: renews 2027-01-19"},
		{"back to the good one until there is another when the newer is revoked", a + "=c2", []*state.Certificate{cert("c1", a, 9*day, 90*day), cert("c2", a, 0, 90*day, revoked)},
			"order revoked cert=c1 stale=a.example.com: a newer certificate was revoked; the one before it, which expires in 81 days, serves meanwhile"},
		{"one for another label was revoked", a + "=c1", []*state.Certificate{cert("c1", a, 9*day, 90*day), cert("c2", a, 0, 90*day, revoked, other)}, "keep cert=c1: renews 2027-01-10"},
		{"an older one was revoked", a + "=c1", []*state.Certificate{cert("c1", a, 9*day, 90*day), cert("c2", a, 10*day, 90*day, revoked)}, "keep cert=c1: renews 2027-01-10"},
		{"the newest, set aside by a rollback, was revoked", a + "=c1", []*state.Certificate{cert("c1", a, 9*day, 90*day), cert("c2", a, 0, 90*day, revoked, aside)}, "keep cert=c1: renews 2027-01-10"},
		{"valid now before valid longer", a + "=c1", []*state.Certificate{cert("c1", a, 0, 45*day), cert("c2", a, -day, 90*day)}, "keep cert=c1: renews 2026-12-20"},
		{"an expired one is not made live", "", []*state.Certificate{cert("c1", a, 100*day, 90*day)}, "order expiry cert=c1: expired 10 days ago; renewal due since 2026-10-11 12:00Z"},
		{"due and not linked", "", []*state.Certificate{cert("c1", a, 80*day, 90*day)}, "order expiry cert=c1 stale=a.example.com: expires in 10 days; renewal due since 2026-10-31 12:00Z"},
		{"another target's certificate does not explain", a + "=c1", []*state.Certificate{cert("c1", a+" z.example.com", 0, 90*day, other)}, "order new: no certificate yet"},
		{"another target's certificate serves", "", []*state.Certificate{cert("c1", a, 0, 90*day, other)}, "relink cert=c1 stale=a.example.com: live/a.example.com does not point to the best certificate"},
		{"its own before another target's newer one", a + "=c1", []*state.Certificate{cert("c1", a, day, 90*day), cert("c2", a, 0, 90*day, other)}, "keep cert=c1: renews 2027-01-18"},
		{"superset does not satisfy", a + "=c1", []*state.Certificate{cert("c1", a+" b.example.com c.example.com d.example.com e.example.com f.example.com g.example.com", 0, 90*day)},
			"order want_changed: names changed: -b.example.com -c.example.com -d.example.com -e.example.com and 2 more"},
	} {
		got := strings.TrimPrefix(brief(one(t, Input{Targets: []*config.Target{target("x", a)}, State: snapshot(tt.links, tt.certs...)})), "x ")
		if got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestEmptyInput(t *testing.T) {
	t.Parallel()
	if got := Compute(Input{}); len(got) != 0 {
		t.Errorf("got %v of nothing", got)
	}
	a := one(t, Input{Targets: []*config.Target{target("x", "a.example.com")}})
	if a.Kind != Order || a.CA != le || a.At != noon() || a.Names[0] != "a.example.com" || a.Links[0] != "a.example.com" {
		t.Errorf("with nothing on disk: got %+v", a)
	}
	if got := Stale(Input{State: &state.Snapshot{Orders: []acme.OpenOrder{{URL: "u"}}}}); len(got) != 1 {
		t.Errorf("the order of no target: got %v", got)
	}
}

// TestCAs holds which CA will be asked.
func TestCAs(t *testing.T) {
	t.Parallel()
	mine := config.CA{Name: "internal", Directory: "https://ca.internal/dir"}
	for _, tt := range []struct {
		name string
		cas  []string
		set  *config.Settings
		want string
	}{
		{"default", nil, nil, le},
		{"default of the settings", nil, &config.Settings{CAs: []config.CA{mine}}, mine.Directory},
		{"by name", []string{"zerossl", "letsencrypt"}, nil, zerossl},
		{"unknown ones are passed over", []string{"zebra", "letsencrypt"}, nil, le},
		{"v01 is not asked any more", []string{"https://acme-v01.api.letsencrypt.org/directory"}, nil, le},
	} {
		in := Input{Targets: []*config.Target{target("x", "a.example.com", func(t *config.Target) { t.CAs = tt.cas })}, Settings: tt.set}
		if a := one(t, in); a.CA != tt.want || a.Kind != Order {
			t.Errorf("%s: got %s from %q, want an order from %q", tt.name, a.Kind, a.CA, tt.want)
		}
	}
}
