package plan

import (
	"strings"
	"testing"
	"time"

	"certd/acme"
	"certd/config"
	"certd/state"
)

// openOrder makes an order of an hour ago that a target with these names goes on with.
func openOrder(file, names string, change ...func(*acme.OpenOrder)) acme.OpenOrder {
	o := acme.OpenOrder{
		URL: "https://ca/order/open", Directory: le, Names: strings.Fields(names), Target: file, Reason: "expiry",
		Created: noon().Add(-time.Hour), Expires: noon().Add(7 * time.Hour),
	}
	for _, c := range change {
		c(&o)
	}
	return o
}

// TestOpenOrders: an order is resumed while it fits, else given up.
func TestOpenOrders(t *testing.T) {
	t.Parallel()
	type O = acme.OpenOrder
	type T = config.Target
	const resumed = "resume new: no certificate yet; goes on with the order of 2026-11-20 11:00Z"
	const ordered = "order new: no certificate yet"
	same := func(*T) {}
	for _, tt := range []struct {
		name   string
		target func(*T)
		order  func(*O)
		want   string
	}{
		{"fits", same, func(*O) {}, resumed},
		{"names in another order", func(t *T) { t.RequestNames = []string{"a.example.com", "b.example.com"} }, func(o *O) { o.Names = []string{"b.example.com", "a.example.com"} }, resumed},
		{"key type is there and not stipulated", same, func(o *O) { o.KeyType = "rsa-2048" }, resumed},
		{"key type as stipulated", func(t *T) { t.Key.Algorithm = "rsa" }, func(o *O) { o.KeyType = "rsa-2048" }, resumed},
		{"key type unknown", func(t *T) { t.Key.Algorithm = "rsa" }, func(*O) {}, ordered},
		{"key type changed", func(t *T) { t.Key.Algorithm = "rsa" }, func(o *O) { o.KeyType = "ecdsa-p256" }, ordered},
		{"names changed", func(t *T) { t.RequestNames = []string{"a.example.com", "b.example.com"} }, func(*O) {}, ordered},
		{"CA changed", func(t *T) { t.CAs = []string{"zerossl"} }, func(*O) {}, ordered},
		{"second CA", func(t *T) { t.CAs = []string{"zerossl", "letsencrypt"} }, func(*O) {}, resumed},
		{"profile changed", func(t *T) { t.Profile = "shortlived" }, func(*O) {}, ordered},
		{"other target", same, func(o *O) { o.Target = "y" }, ordered},
		{"no URL", same, func(o *O) { o.URL = "" }, ordered},
		{"expires now", same, func(o *O) { o.Expires = noon() }, ordered},
		{"expires in a second", same, func(o *O) { o.Expires = noon().Add(time.Second) }, resumed},
		{"expired, but has a key", same, func(o *O) { o.Expires, o.KeyID = noon().Add(-time.Hour), "k" }, resumed},
		{"expired a day ago, with a key", same, func(o *O) { o.Expires, o.Created, o.KeyID = noon().Add(-day), noon().Add(-2*day), "k" }, ordered},
		{"expired by our clock alone, with a key", same, func(o *O) { o.Expires, o.KeyID = noon().Add(-90*day), "k" }, resumed},
		{"expiry unknown, six days old", same, func(o *O) { o.Expires, o.Created = time.Time{}, noon().Add(-6*day) }, "resume new: no certificate yet; goes on with the order of 2026-11-14"},
		{"expiry unknown, seven days old", same, func(o *O) { o.Expires, o.Created = time.Time{}, noon().Add(-7*day) }, ordered},
	} {
		s := snapshot("")
		s.Orders = []O{openOrder("x", "a.example.com", tt.order)}
		in := Input{Now: noon(), Targets: []*T{target("x", "a.example.com", tt.target)}, State: s}
		a := one(t, in)
		if got := strings.TrimPrefix(brief(a), "x "); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
		stale := Stale(in)
		if resumes := a.Kind == Resume; (len(stale) == 0) != resumes {
			t.Errorf("%s: action %s and %d stale orders: an order is either resumed or given up", tt.name, a.Kind, len(stale))
		}
		if a.Kind == Resume && (a.Open == nil || a.Open.URL != s.Orders[0].URL || a.CA != s.Orders[0].Directory) {
			t.Errorf("%s: resumes %+v at %s", tt.name, a.Open, a.CA)
		}
	}
}

// TestOpenOrderOfSettledTarget: what was begun is finished, whatever for.
func TestOpenOrderOfSettledTarget(t *testing.T) {
	t.Parallel()
	c := cert("c1", "a.example.com", 10*day, 90*day)
	for _, tt := range []struct {
		name  string
		order acme.OpenOrder
		want  string
		stale int
	}{
		{"forced renewal was cut off", openOrder("x", "a.example.com", func(o *acme.OpenOrder) { o.Reason = "manual" }),
			"resume manual cert=c1: an order is under way; goes on with the order of 2026-11-20 11:00Z", 0},
		{"so was one by the CA's window", openOrder("x", "a.example.com", func(o *acme.OpenOrder) { o.Reason = "ari" }),
			"resume ari cert=c1: an order is under way; goes on with the order of 2026-11-20 11:00Z", 0},
		{"published, but not struck off the journal", openOrder("x", "a.example.com", func(o *acme.OpenOrder) { o.URL = c.URL }),
			"keep cert=c1: renews 2027-01-09", 1},
	} {
		s := snapshot("a.example.com=c1", c)
		s.Orders = []acme.OpenOrder{tt.order}
		in := Input{Now: noon(), Targets: []*config.Target{target("x", "a.example.com")}, State: s}
		if got := strings.TrimPrefix(brief(one(t, in)), "x "); got != tt.want || len(Stale(in)) != tt.stale {
			t.Errorf("%s:\ngot  %s, %d stale\nwant %s, %d", tt.name, got, len(Stale(in)), tt.want, tt.stale)
		}
	}
}

func TestStale(t *testing.T) {
	t.Parallel()
	at := func(url string, age time.Duration) func(*acme.OpenOrder) {
		return func(o *acme.OpenOrder) { o.URL, o.Created = url, noon().Add(-age) }
	}
	s := snapshot("")
	s.Orders = []acme.OpenOrder{
		openOrder("x", "a.example.com", at("older", 3*time.Hour)),
		openOrder("x", "a.example.com", at("newest", time.Hour)),
		openOrder("gone", "b.example.com", at("of no target", 2*time.Hour)),
		openOrder("unread", "c.example.com", at("of an unread target", 2*time.Hour)),
		openOrder("unread", "c.example.com", at("of an unread target, expired", 9*time.Hour), func(o *acme.OpenOrder) { o.Expires = noon().Add(-1) }),
		openOrder("shadow", "a.example.com", at("of a target that owns nothing", 2*time.Hour)),
	}
	in := Input{
		Now: noon(), State: s, Unread: map[string]bool{"unread": true},
		Targets: []*config.Target{target("shadow", "a.example.com"), target("x", "a.example.com", func(t *config.Target) { t.Priority = 1 })},
	}
	var got []string
	for _, o := range Stale(in) {
		got = append(got, o.URL)
	}
	want := "of an unread target, expired; older; of a target that owns nothing; of no target"
	if strings.Join(got, "; ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "; "), want)
	}
	if a := Compute(in)[1]; a.Open == nil || a.Open.URL != "newest" {
		t.Errorf("got %+v, want the newest order resumed", a)
	}
}

// TestBusyTargets have no action, take nobody's turn, and keep their orders; what
// they own is theirs all the same.
func TestBusyTargets(t *testing.T) {
	t.Parallel()
	s := snapshot("")
	s.Orders = []acme.OpenOrder{
		openOrder("busy", "a.example.com", func(o *acme.OpenOrder) { o.URL = "at work" }),
		openOrder("busy", "a.example.com", func(o *acme.OpenOrder) { o.URL, o.Trial = "its trial", true }),
		openOrder("gone", "a.example.com", func(o *acme.OpenOrder) { o.URL = "of no target" }),
	}
	in := Input{Now: noon(), State: s, Busy: map[string]bool{"busy": true}, Targets: []*config.Target{
		target("busy", "a.example.com", func(t *config.Target) { t.Priority = 1 }), target("idle", "a.example.com"), target("other", "b.example.com")}}
	actions := Compute(in)
	if len(actions) != 2 || actions[0].Target != "idle" || actions[0].Kind != Keep || actions[1].Kind != Order {
		t.Errorf("got %+v, want the idle target kept, as the busy one owns its name, and the other one ordered", actions)
	}
	if stale := Stale(in); len(stale) != 1 || stale[0].URL != "of no target" {
		t.Errorf("stale are %+v, want the order of no target", stale)
	}
}

// TestAttempts: a failure is remembered until its time, or until what is wanted changes.
func TestAttempts(t *testing.T) {
	t.Parallel()
	type A = state.Attempt
	x := target("x", "a.example.com")
	base := A{
		Target: "x", Digest: x.Digest(), Failures: 3, Class: "transient",
		LastAttempt: noon().Add(-5 * time.Minute), NextAttempt: noon().Add(30 * time.Minute),
	}
	for _, tt := range []struct {
		name   string
		change func(*A)
		force  bool
		want   string
		at     time.Duration
	}{
		{"not yet", func(*A) {}, false, "wait new: no certificate yet; failed 3 times, next attempt 12:30:00Z", 30 * time.Minute},
		{"first failure", func(a *A) { a.Failures = 1 }, false, "wait new: no certificate yet; failed once, next attempt 12:30:00Z", 30 * time.Minute},
		{"name", func(a *A) { a.Class, a.Name = "name", "a.example.com" }, false,
			"wait new: no certificate yet; failed 3 times (a.example.com refused or not validated), next attempt 12:30:00Z", 30 * time.Minute},
		{"some name", func(a *A) { a.Class = "name" }, false, "wait new: no certificate yet; failed 3 times (name refused or not validated), next attempt 12:30:00Z", 30 * time.Minute},
		{"operator", func(a *A) { a.Class = "operator" }, false, "wait new: no certificate yet; failed 3 times (somebody must act), next attempt 12:30:00Z", 30 * time.Minute},
		{"the CA said so", func(a *A) { a.Class = "wait" }, false, "wait new: no certificate yet; the CA asked to wait until 12:30:00Z", 30 * time.Minute},
		{"tomorrow", func(a *A) { a.NextAttempt = noon().Add(20 * time.Hour) }, false, "wait new: no certificate yet; failed 3 times, next attempt 2026-11-21 08:00Z", 20 * time.Hour},
		{"now", func(a *A) { a.NextAttempt = noon() }, false, "order new: no certificate yet", 0},
		{"long ago", func(a *A) { a.NextAttempt = noon().Add(-day) }, false, "order new: no certificate yet", 0},
		{"at once", func(a *A) { a.NextAttempt = time.Time{} }, false, "order new: no certificate yet", 0},
		{"something else is wanted", func(a *A) { a.Digest = "other" }, false, "order new: no certificate yet", 0},
		{"forced", func(*A) {}, true, "order new: no certificate yet", 0},
		{"forced, but the CA said so", func(a *A) { a.Class = "wait" }, true, "wait new: no certificate yet; the CA asked to wait until 12:30:00Z", 30 * time.Minute},
		{"absurdly late", func(a *A) { a.NextAttempt = noon().AddDate(20, 0, 0) }, false,
			"wait new: no certificate yet; failed 3 times, next attempt 2026-11-21 11:55Z", day - 5*time.Minute},
		{"absurdly late, a day ago", func(a *A) { a.NextAttempt, a.LastAttempt = noon().AddDate(20, 0, 0), noon().Add(-day) }, false, "order new: no certificate yet", 0},
		{"the clock was set back", func(a *A) { a.NextAttempt, a.LastAttempt = noon().AddDate(10, 0, 1), noon().AddDate(10, 0, 0) }, false, "order new: no certificate yet", 0},
	} {
		for _, withOrder := range []bool{false, true} {
			s, last := snapshot(""), base
			tt.change(&last)
			s.Attempts["x"] = last
			want := tt.want
			if withOrder { // waiting holds for resuming as well
				s.Orders = []acme.OpenOrder{openOrder("x", "a.example.com")}
				want = strings.Replace(want, "order new: no certificate yet", "resume new: no certificate yet; goes on with the order of 2026-11-20 11:00Z", 1)
			}
			a := one(t, Input{Targets: []*config.Target{x}, State: s, Force: map[string]bool{"x": tt.force}})
			if got := strings.TrimPrefix(brief(a), "x "); got != want || a.At.Sub(noon()) != tt.at {
				t.Errorf("%s, open order %v:\ngot  %s, in %v\nwant %s, in %v", tt.name, withOrder, got, a.At.Sub(noon()), want, tt.at)
			}
		}
	}
}

// TestAgain: a certificate that does not help is not ordered again and again.
func TestAgain(t *testing.T) {
	t.Parallel()
	const a = "a.example.com"
	wrongKey := cert("c1", a, 10*time.Minute, 90*day)
	wrongKey.KeyType = "rsa-2048"
	revoked := cert("c1", a, 10*time.Minute, 90*day)
	revoked.Revoked = true
	ahead, far := cert("c1", a, 40*day, 47*day), cert("c1", a, 60*day, 47*day) // by a clock that is ahead
	ahead.Created, far.Created = noon().Add(-11*time.Minute), noon().Add(-11*time.Minute)
	for _, tt := range []struct {
		name   string
		cert   *state.Certificate
		change func(*Input, *state.Attempt)
		want   string
		at     time.Duration
	}{
		{"not as wanted", wrongKey, func(*Input, *state.Attempt) {},
			"wait want_changed: key type changed: rsa-2048 to ecdsa-p256; was obtained like this a short time ago, next attempt 2026-11-21 11:50Z", day - 10*time.Minute},
		{"not as wanted, yesterday", wrongKey, func(_ *Input, l *state.Attempt) { l.LastAttempt = noon().Add(-day) }, "order want_changed: key type changed: rsa-2048 to ecdsa-p256", 0},
		{"something else is wanted since", wrongKey, func(_ *Input, l *state.Attempt) { l.Digest = "old" }, "order want_changed: key type changed: rsa-2048 to ecdsa-p256", 0},
		{"another CA is asked since", wrongKey, func(_ *Input, l *state.Attempt) { l.CA = zerossl }, "order want_changed: key type changed: rsa-2048 to ecdsa-p256", 0},
		{"forced", wrongKey, func(in *Input, _ *state.Attempt) { in.Force = map[string]bool{"x": true} }, "order want_changed: key type changed: rsa-2048 to ecdsa-p256", 0},
		{"revoked", revoked, func(*Input, *state.Attempt) {}, "order revoked: certificate revoked", 0},
		{"due when it came", cert("c1", a, time.Hour, 80*time.Minute), func(*Input, *state.Attempt) {},
			"wait expiry cert=c1: expires in 20 minutes; renewal due since 2026-11-20 11:40Z; was obtained like this a short time ago, next attempt 12:05:00Z", 5 * time.Minute},
		{"due when it came, for our clock is ahead", ahead, func(*Input, *state.Attempt) {},
			"wait expiry cert=c1: expires in 7 days; renewal due since 2026-11-11 20:00Z; was obtained like this a short time ago, next attempt 2026-11-21 11:50Z", day - 10*time.Minute},
		{"expired when it came, for our clock is far ahead", far, func(*Input, *state.Attempt) {},
			"wait expiry cert=c1: expired 13 days ago; renewal due since 2026-10-22 20:00Z; was obtained like this a short time ago, next attempt 2026-11-21 11:50Z", day - 10*time.Minute},
		{"due later than it came", cert("c1", a, 11*time.Minute, 20*time.Minute), func(*Input, *state.Attempt) {},
			"order expiry cert=c1: expires in 9 minutes; renewal due since 2026-11-20 11:59Z", 0},
		{"due, and older than the last success", cert("c1", a, 80*day, 90*day), func(*Input, *state.Attempt) {},
			"order expiry cert=c1: expires in 10 days; renewal due since 2026-10-31 12:00Z", 0},
	} {
		x := target("x", a, func(t *config.Target) { t.Key.Algorithm = "ecdsa" })
		in := Input{Targets: []*config.Target{x}, State: snapshot(a+"=c1", tt.cert)}
		last := state.Attempt{Target: "x", Digest: x.Digest(), CA: le, LastAttempt: noon().Add(-10 * time.Minute)}
		tt.change(&in, &last)
		in.State.Attempts["x"] = last
		got := one(t, in)
		if s := strings.TrimPrefix(brief(got), "x "); s != tt.want || got.At.Sub(noon()) != tt.at {
			t.Errorf("%s:\ngot  %s, in %v\nwant %s, in %v", tt.name, s, got.At.Sub(noon()), tt.want, tt.at)
		}
	}
}

// TestDamagedAgain: what is damaged is replaced at once, but not each time that it is
// damaged anew, as by a hook that edits files in live/.
func TestDamagedAgain(t *testing.T) {
	t.Parallel()
	const a, words = "a.example.com", "damaged: certificate damaged: edited"
	const asked = words + "; so was the one before it: does a hook edit files in live/? next attempt "
	for _, tt := range []struct {
		name string
		ages []time.Duration // of damaged certificates before the last
		want string
	}{
		{"for the first time", nil, "order " + words},
		{"for the second time", []time.Duration{20 * time.Minute}, "wait " + asked + "12:05:00Z"},
		{"for the third time", []time.Duration{20 * time.Minute, 2 * day}, "wait " + asked + "13:35:00Z"},
		{"for the fourth time", []time.Duration{20 * time.Minute, 2 * day, 6 * day}, "wait " + asked + "2026-11-21 11:55Z"},
		{"once more after long ago", []time.Duration{8 * day, 9 * day}, "order " + words},
	} {
		x, s := target("x", a), snapshot(a+"=c")
		for i, age := range append(tt.ages, 5*time.Minute) {
			id := strings.Repeat("c", len(tt.ages)-i+1)
			s.Certificates[id] = cert(id, a, age, 90*day, func(c *state.Certificate) { c.Damage, c.Target = "edited", "x" })
		}
		s.Attempts["x"] = state.Attempt{Target: "x", Digest: x.Digest(), CA: le, LastAttempt: noon().Add(-5 * time.Minute)}
		in := Input{Targets: []*config.Target{x}, State: s}
		if got := strings.TrimPrefix(brief(one(t, in)), "x "); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
		in.Force = map[string]bool{"x": true}
		if got := one(t, in); got.Kind != Order {
			t.Errorf("%s, forced: %s", tt.name, brief(got))
		}
	}
}

// TestGoneAgain: a certificate that somebody removes as soon as it is there is not
// ordered each time.
func TestGoneAgain(t *testing.T) {
	t.Parallel()
	const a = "a.example.com"
	for links, words := range map[string]string{"": "no certificate yet", a + "=c1": "the certificate in use is missing or cannot be read"} {
		x, s := target("x", a), snapshot(links)
		last := state.Attempt{Target: "x", Digest: x.Digest(), CA: le, LastAttempt: noon().Add(-5 * time.Minute)}
		s.Attempts["x"] = last
		in := Input{Targets: []*config.Target{x}, State: s}
		want := words + "; one was obtained a short time ago, and is gone: does a hook remove it? next attempt 12:55:00Z"
		if got := one(t, in); got.Kind != Wait || got.Reason != want || got.At.Sub(noon()) != 55*time.Minute {
			t.Errorf("five minutes after it came: %s, want to wait, as %s", brief(got), want)
		}
		last.LastAttempt = noon().Add(-time.Hour)
		s.Attempts["x"] = last
		if got := one(t, in); got.Kind != Order {
			t.Errorf("after an hour: %s", brief(got))
		}
	}
}

// TestAttemptOfSettledTarget: failures of the past do not matter to a target that needs nothing.
func TestAttemptOfSettledTarget(t *testing.T) {
	t.Parallel()
	x := target("x", "a.example.com")
	s := snapshot("", cert("c1", "a.example.com", 0, 90*day))
	s.Attempts["x"] = state.Attempt{Digest: x.Digest(), Failures: 9, Class: "wait", NextAttempt: noon().Add(time.Hour)}
	if a := one(t, Input{Targets: []*config.Target{x}, State: s}); a.Kind != Relink {
		t.Errorf("got %s, want the link put right", brief(a))
	}
}

func TestForce(t *testing.T) {
	t.Parallel()
	s := snapshot("a.example.com=c1", cert("c1", "a.example.com", 10*day, 90*day))
	in := Input{Targets: []*config.Target{target("x", "a.example.com")}, State: s, Force: map[string]bool{"x": true}}
	if got, want := brief(one(t, in)), "x order manual cert=c1: renewal forced; expires in 80 days"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	s.Orders = []acme.OpenOrder{openOrder("x", "a.example.com")}
	if got, want := brief(one(t, in)), "x resume manual cert=c1: renewal forced; expires in 80 days; goes on with the order of 2026-11-20 11:00Z"; got != want {
		t.Errorf("with an open order: got %s, want %s", got, want)
	}
	in.Force = map[string]bool{"y": true}
	s.Orders = nil
	if a := one(t, in); a.Kind != Keep {
		t.Errorf("another target is forced: got %s", brief(a))
	}
}

// TestSuggested holds the words and causes of the CA's advice.
func TestSuggested(t *testing.T) {
	t.Parallel()
	for drawn, want := range map[time.Duration]string{
		-time.Hour:  "x order ari cert=c1: expires in 80 days; the CA suggested renewal at 2026-11-20 11:00Z",
		0:           "x order ari cert=c1: expires in 80 days; the CA suggested renewal at 2026-11-20 12:00Z",
		time.Minute: "x keep cert=c1: renews 2026-11-20 12:01Z, as the CA suggested",
		60 * day:    "x keep cert=c1: renews 2027-01-19, as the CA suggested",
		79 * day:    "x keep cert=c1: renews 2027-01-09",
	} {
		s := snapshot("a.example.com=c1", cert("c1", "a.example.com", 10*day, 90*day))
		s.Renewals["c1"] = state.Renewal{ID: "c1", Chosen: noon().Add(drawn)}
		a := one(t, Input{Targets: []*config.Target{target("x", "a.example.com")}, State: s})
		if got := brief(a); got != want {
			t.Errorf("drawn %v from now: got %s, want %s", drawn, got, want)
		}
	}
}
