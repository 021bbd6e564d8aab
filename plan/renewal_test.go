package plan

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"certd/acme"
	"certd/config"
	"certd/state"
)

// lasting is a certificate that began at noon, with an identifier.
func lasting(lifetime time.Duration) *state.Certificate {
	c := cert("c1", "a.example.com", 0, lifetime)
	c.NotBefore, c.NotAfter, c.Created = noon(), noon().Add(lifetime), noon()
	c.ARIID, c.Directory, c.Target = "AQ.AQ", le, "x"
	return c
}

// lifetimes are those of today's and tomorrow's certificates.
func lifetimes() []time.Duration {
	return []time.Duration{10 * time.Minute, 6 * day, 160 * time.Hour, 45 * day, 47 * day, 64 * day, 90 * day}
}

// TestPolled walks through what a CA may answer.
func TestPolled(t *testing.T) {
	t.Parallel()
	c := lasting(90 * day)
	now := noon().Add(30 * day)
	window := func(from, to time.Duration) acme.RenewalInfo {
		return acme.RenewalInfo{Start: noon().Add(from), End: noon().Add(to), RetryAfter: 6 * time.Hour}
	}
	first := Polled(state.Renewal{}, c, window(50*day, 60*day), now, 0.25)
	if first.ID != "c1" || first.ARIID != "AQ.AQ" || !first.Chosen.Equal(noon().Add(52*day+12*time.Hour)) || first.Doubted ||
		!first.NextPoll.Equal(now.Add(6*time.Hour)) || !first.Polled.Equal(now) {
		t.Fatalf("the first answer gave %+v", first)
	}
	if again := Polled(first, c, window(50*day, 60*day), now, 0.75); !again.Chosen.Equal(first.Chosen) {
		t.Errorf("the same window gave %v, and then %v", first.Chosen, again.Chosen)
	}
	moved := Polled(first, c, window(50*day, 61*day), now, 0.5)
	if !moved.Chosen.Equal(noon().Add(55*day + 12*time.Hour)) {
		t.Errorf("another window gave %v", moved.Chosen)
	}
	if past := Polled(first, c, window(-10*day, -9*day), now, 0.5); past.Chosen.After(now) || past.Doubted {
		t.Errorf("a window in the past gave %+v, want renewal now", past)
	}
	successor := *c
	successor.ID, successor.ARIID = "c2", "AQ.Ag"
	if next := Polled(first, &successor, window(50*day, 60*day), now, 0.75); next.Chosen.Equal(first.Chosen) || next.ID != "c2" || next.ARIID != "AQ.Ag" {
		t.Errorf("another certificate takes over %+v", next)
	}
	for _, draw := range []float64{-1, 0, 1, 7} {
		if r := Polled(state.Renewal{}, c, window(50*day, 60*day), now, draw); r.Chosen.Before(r.Start) || r.Chosen.After(r.End) {
			t.Errorf("draw %v gave %v, outside of the window", draw, r.Chosen)
		}
	}
	for name, bad := range map[string]acme.RenewalInfo{
		"ends after": window(50*day, 91*day), "before it starts": window(60*day, 50*day), "longer than": window(-100*day, 60*day),
	} {
		if r := Polled(first, c, bad, now, 0.5); !r.Chosen.Equal(first.Chosen) || !strings.Contains(r.LastError, name) || r.NextPoll.Sub(now) != longPause || r.Failures != 1 {
			t.Errorf("a window that %s gave %+v, want the former instant kept", name, r)
		}
	}
}

// TestRetryAfterOfRenewal: it is when the CA is asked next, within reason.
func TestRetryAfterOfRenewal(t *testing.T) {
	t.Parallel()
	c := lasting(90 * day)
	for given, want := range map[time.Duration]time.Duration{
		0: 6 * time.Hour, -1: 6 * time.Hour, time.Second: time.Minute, time.Minute: time.Minute, 6 * time.Hour: 6 * time.Hour, 48 * time.Hour: day,
	} {
		r := Polled(state.Renewal{}, c, acme.RenewalInfo{Start: noon(), End: noon().Add(day), RetryAfter: given}, noon(), 0)
		if got := r.NextPoll.Sub(noon()); got != want {
			t.Errorf("Retry-After %v: asked again after %v, want %v", given, got, want)
		}
	}
}

// TestDoubt: "now" for a certificate just issued has to be said twice.
func TestDoubt(t *testing.T) {
	t.Parallel()
	for _, lifetime := range lifetimes() {
		c := lasting(lifetime)
		soon := noon().Add(min(time.Minute, lifetime/30))
		past := acme.RenewalInfo{Start: noon().Add(-2 * day), End: noon().Add(-2*day + time.Minute)}
		r := Polled(state.Renewal{}, c, past, soon, 0.5)
		if !r.Doubted {
			t.Errorf("%v: renewal of a certificate just issued is believed at once: %+v", lifetime, r)
		}
		if _, by := suggested(c, r, soon); by != CauseExpiry {
			t.Errorf("%v: it is followed although it is doubted", lifetime)
		}
		r = Unpolled(r, c, errors.New("timeout"), soon)
		if twice := Polled(r, c, past, soon.Add(time.Minute), 0.5); twice.Doubted {
			t.Errorf("%v: said twice, and doubted still", lifetime)
		}
		past.Start = past.Start.Add(-time.Minute)
		if moved := Polled(r, c, past, soon.Add(time.Minute), 0.5); moved.Doubted {
			t.Errorf("%v: said twice with two windows, and doubted still", lifetime)
		}
		if other := Polled(r, c, acme.RenewalInfo{Start: noon().Add(lifetime / 2), End: noon().Add(lifetime)}, soon, 0.5); other.Doubted || !other.Chosen.After(soon) {
			t.Errorf("%v: taken back, and it is %+v", lifetime, other)
		}
		if old := Polled(state.Renewal{}, c, past, noon().Add(lifetime/2), 0.5); old.Doubted {
			t.Errorf("%v: doubted in the middle of its life", lifetime)
		}
	}
}

// suggested is when c is renewed by what is known, and by what.
func suggested(c *state.Certificate, r state.Renewal, now time.Time) (time.Time, Cause) {
	s := snapshot("a.example.com=c1", c)
	r.ID, r.ARIID = c.ID, c.ARIID
	s.Renewals[c.ID] = r
	a := Compute(Input{Now: now, State: s, Targets: []*config.Target{target("x", "a.example.com")}})
	return a[0].Due, a[0].DueBy
}

// TestUnpolled walks through the errors.
func TestUnpolled(t *testing.T) {
	t.Parallel()
	c := lasting(90 * day)
	known := state.Renewal{ID: "c1", ARIID: "AQ.AQ", Start: noon(), End: noon().Add(day), Chosen: noon().Add(time.Hour), Unreplaced: "no"}
	problem := func(status int, retry time.Duration, class acme.Class) error {
		p := &acme.Problem{Operation: "ari", Status: status, Class: class, Detail: "refused"}
		if retry > 0 {
			p.RetryAt = noon().Add(retry)
		}
		return p
	}
	silent := &acme.Problem{Operation: "ari", Class: acme.ClassTransient, Err: context.DeadlineExceeded}
	nowhere := &acme.Problem{Operation: "ari", Class: acme.ClassTransient, Err: &net.DNSError{Err: "no such host"}}
	for _, tt := range []struct {
		name     string
		err      error
		failures int // before
		want     time.Duration
		kept     bool // the window
	}{
		{"a timeout", silent, 0, 10 * time.Second, true},
		{"a second timeout", silent, 1, 30 * time.Second, true},
		{"a fifth timeout", silent, 4, 5 * time.Minute, true},
		{"a sixth timeout", silent, 5, 6 * time.Hour, true},
		{"a thousandth timeout", silent, 999, 6 * time.Hour, true},
		{"a broken CA", problem(500, 0, acme.ClassTransient), 0, 10 * time.Second, true},
		{"an overloaded CA", problem(503, time.Hour, acme.ClassWait), 0, time.Hour, true},
		{"a rate limit of a week", problem(429, 7*day, acme.ClassWait), 0, day, true},
		{"a refusal", problem(403, 0, acme.ClassOperator), 0, 6 * time.Hour, true},
		{"an unknown certificate", problem(404, 0, acme.ClassTransient), 0, 6 * time.Hour, false},
		{"a CA without a name", nowhere, 0, 6 * time.Hour, true},
		{"a CA without renewal information", fmt.Errorf("x: %w", acme.ErrNoRenewalInfo), 3, day, false},
	} {
		before := known
		before.Failures = tt.failures
		r := Unpolled(before, c, tt.err, noon())
		if got := r.NextPoll.Sub(noon()); got != tt.want || r.LastError == "" || r.Chosen.IsZero() == tt.kept || r.Unreplaced != "no" {
			t.Errorf("%s: asked again after %v with %+v, want after %v and the window kept: %v", tt.name, got, r, tt.want, tt.kept)
		}
	}
}

// TestDue holds rules 1 to 3 of when to renew, for all lifetimes.
func TestDue(t *testing.T) {
	t.Parallel()
	for _, lifetime := range lifetimes() {
		c := lasting(lifetime)
		own := RenewAt(c.NotBefore, c.NotAfter, 0).Sub(noon())
		for _, tt := range []struct {
			name  string
			drawn time.Duration // after notBefore; 0 means the CA offers nothing
			want  time.Duration
			cause Cause
		}{
			{"no advice", 0, own, CauseExpiry},
			{"advice is earlier", own * 2 / 3, own * 2 / 3, CauseARI},
			{"advice is later", own + lifetime/10, own + lifetime/10, CauseARI},
			{"advice leaves a twentieth", lifetime - lifetime/20, lifetime - lifetime/20, CauseARI},
			{"advice leaves less", lifetime - lifetime/20 + time.Second, own, CauseExpiry},
			{"advice after the end", 10 * lifetime, own, CauseExpiry},
			{"advice before the beginning", -day, -day, CauseARI},
		} {
			r := state.Renewal{}
			if tt.drawn != 0 {
				r.Chosen = noon().Add(tt.drawn)
			}
			if at, by := suggested(c, r, noon()); at.Sub(noon()) != tt.want || by != tt.cause {
				t.Errorf("%v, %s: got %v after the beginning by %q, want %v by %q", lifetime, tt.name, at.Sub(noon()), by, tt.want, tt.cause)
			}
		}
	}
}

// TestNextRun: without a daemon, an instant before the next run means now.
func TestNextRun(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		lifetime time.Duration
		age      time.Duration
		chosen   time.Duration // from now
		kind     Kind
		at       time.Duration // of a Keep, from now
	}{
		{"before the next run", 90 * day, 50 * day, 5 * time.Hour, Order, 0},
		{"at the next run", 90 * day, 50 * day, 6 * time.Hour, Keep, 6 * time.Hour},
		{"long after the next run", 90 * day, 50 * day, 3 * day, Keep, 3 * day},
		{"of six days", 160 * time.Hour, 100 * time.Hour, 5 * time.Hour, Order, 0},
		{"too early in its life", 10 * time.Minute, time.Minute, 6 * time.Minute, Keep, 10*time.Minute/3 - time.Minute},
		{"as soon as its life allows", 10 * time.Minute, 4 * time.Minute, 30 * time.Second, Order, 0},
	} {
		c := lasting(tt.lifetime)
		now := noon().Add(tt.age)
		s := snapshot("a.example.com=c1", c)
		s.Renewals["c1"] = state.Renewal{ID: "c1", ARIID: c.ARIID, Chosen: now.Add(tt.chosen)}
		in := Input{Now: now, State: s, Targets: []*config.Target{target("x", "a.example.com")}, NextRun: now.Add(6 * time.Hour)}
		a := Compute(in)[0]
		if a.Kind != tt.kind || a.Kind == Keep && a.At.Sub(now) != tt.at {
			t.Errorf("%s: %s at %v from now, want %s at %v", tt.name, a.Kind, a.At.Sub(now), tt.kind, tt.at)
		}
		if a.Kind == Order && !strings.Contains(a.Reason, "before the next run") {
			t.Errorf("%s: the reason is %q", tt.name, a.Reason)
		}
		in.NextRun = time.Time{}
		if a := Compute(in)[0]; a.Kind != Keep || a.At.Sub(now) != tt.chosen && tt.lifetime > day {
			t.Errorf("%s: with a daemon it is %s at %v from now, want the very instant", tt.name, a.Kind, a.At.Sub(now))
		}
	}
}

// TestCalm: a CA that goes on saying "now" is not followed all the time.
func TestCalm(t *testing.T) {
	t.Parallel()
	before := func(id string, age time.Duration, reason Cause) *state.Certificate {
		c := cert(id, "a.example.com", age, 90*day)
		c.Created, c.Target, c.Reason = noon().Add(-age), "x", string(reason)
		return c
	}
	for _, tt := range []struct {
		name  string
		certs []*state.Certificate
		want  time.Duration // from now
	}{
		{"the first time", []*state.Certificate{before("c1", 3*time.Hour, CauseNew)}, -time.Hour},
		{"an hour after it was followed", []*state.Certificate{before("c1", 3*time.Hour, CauseARI)}, 21 * time.Hour},
		{"a day after", []*state.Certificate{before("c1", 25*time.Hour, CauseARI)}, -time.Hour},
		{"twice in a month", []*state.Certificate{before("c0", 26*day, CauseARI), before("c1", 2*day, CauseARI)}, 4 * day},
		{"of another target", []*state.Certificate{before("c1", 3*day, CauseNew), func() *state.Certificate { c := before("c0", time.Hour, CauseARI); c.Target = "y"; return c }()}, -time.Hour},
	} {
		s := snapshot("a.example.com=c1", tt.certs...)
		s.Renewals["c1"] = state.Renewal{ID: "c1", Chosen: noon().Add(-time.Hour)}
		a := Compute(Input{Now: noon(), State: s, Targets: []*config.Target{target("x", "a.example.com")}})[0]
		if got := a.Due.Sub(noon()); got != tt.want || a.DueBy != CauseARI {
			t.Errorf("%s: due %v from now by %s, want %v", tt.name, got, a.DueBy, tt.want)
		}
	}
}

// TestPolls: only what is in use and wanted is asked about, and at its time.
func TestPolls(t *testing.T) {
	t.Parallel()
	c := lasting(90 * day)
	for _, tt := range []struct {
		name   string
		change func(in *Input, c *state.Certificate)
		want   bool
		wake   time.Duration
	}{
		{"asked an hour ago", func(*Input, *state.Certificate) {}, true, 5*time.Hour + 5*time.Minute},
		{"never asked", func(in *Input, _ *state.Certificate) { delete(in.State.Renewals, "c1") }, true, 0},
		{"asked about another", func(in *Input, c *state.Certificate) { c.ARIID = "AQ.Ag" }, true, 0},
		{"expired", func(in *Input, c *state.Certificate) { c.NotAfter = in.Now }, false, 0},
		{"without identifier", func(_ *Input, c *state.Certificate) { c.ARIID = "" }, false, 0},
		{"of an unknown CA", func(_ *Input, c *state.Certificate) { c.Directory = "" }, false, 0},
		{"not wanted", func(in *Input, _ *state.Certificate) { in.Targets = nil }, false, 0},
		{"not in use", func(in *Input, _ *state.Certificate) { in.State.Live = map[string]string{} }, false, 0},
		{"revoked", func(_ *Input, c *state.Certificate) { c.Revoked = true }, false, 0},
		{"due", func(in *Input, c *state.Certificate) { in.Now = c.NotAfter.Add(-day) }, false, 0},
		{"written by a clock that was ahead", func(in *Input, _ *state.Certificate) {
			in.State.Renewals["c1"] = state.Renewal{ID: "c1", ARIID: "AQ.AQ", Polled: in.Now.Add(100 * day), NextPoll: in.Now.Add(101 * day)}
		}, true, 0},
		{"written with a time that may not be", func(in *Input, _ *state.Certificate) {
			in.State.Renewals["c1"] = state.Renewal{ID: "c1", ARIID: "AQ.AQ", Polled: in.Now, NextPoll: in.Now.Add(100 * day)}
		}, true, day + 5*time.Minute},
	} {
		own := *c
		in := Input{Now: noon().Add(day), State: snapshot("a.example.com=c1", &own), Targets: []*config.Target{target("x", "a.example.com")}}
		in.State.Renewals["c1"] = state.Renewal{ID: "c1", ARIID: "AQ.AQ", Polled: in.Now.Add(-time.Hour), NextPoll: in.Now.Add(5 * time.Hour)}
		tt.change(&in, &own)
		polls := Polls(in, Compute(in))
		if (len(polls) == 1) != tt.want {
			t.Errorf("%s: %d polls, want one: %v", tt.name, len(polls), tt.want)
			continue
		}
		if tt.want && tt.wake == 0 && !polls[0].At.IsZero() || tt.want && tt.wake > 0 && polls[0].Wake.Sub(in.Now) != tt.wake {
			t.Errorf("%s: polled at %v, worth waking up at %v", tt.name, polls[0].At, polls[0].Wake)
		}
	}
	if polls := Polls(Input{}, nil); len(polls) != 0 {
		t.Error("polls of nothing")
	}
}

// TestDrawIsUniform: instants lie evenly in the window.
func TestDrawIsUniform(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	c := lasting(90 * day)
	var tenths [10]int
	const n = 10000
	for range n {
		r := Polled(state.Renewal{}, c, acme.RenewalInfo{Start: noon().Add(50 * day), End: noon().Add(60 * day)}, noon(), rng.Float64())
		tenths[r.Chosen.Sub(r.Start)/day]++
	}
	for i, k := range tenths {
		if k < n/10*8/10 || k > n/10*12/10 {
			t.Errorf("%d of %d instants lie in tenth %d of the window", k, n, i)
		}
	}
}
