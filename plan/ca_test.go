package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"certd/acme"
	"certd/config"
	"certd/limit"
	"certd/state"
)

// asking sets the CAs of a target.
func asking(cas ...string) func(*config.Target) {
	return func(t *config.Target) { t.CAs = cas }
}

// limited are settings with a limit of orders at each of two CAs.
func limited(burst int) *config.Settings {
	orders := []config.Limit{{Name: "orders", Per: config.PerAccount, Burst: burst, Window: time.Duration(burst) * time.Hour}}
	return &config.Settings{CAs: []config.CA{{Name: "first", Directory: "https://first.example/dir", Limits: orders},
		{Name: "second", Directory: "https://second.example/dir", Limits: orders}}}
}

// spent is a book in which so many orders were sent to the CA called name.
func spent(s *config.Settings, name string, orders int) *limit.Book {
	b := &limit.Book{}
	ca, err := s.CA(name)
	if err != nil {
		panic(err)
	}
	for range orders {
		b.Take(limit.Ask{CA: ca, Names: []string{"x.example.com"}}, noon())
	}
	return b
}

// broken makes CAs fail so often that their breaker opens.
func broken(b *limit.Book, s *config.Settings, names ...string) *limit.Book {
	for _, name := range names {
		ca, err := s.CA(name)
		if err != nil {
			panic(err)
		}
		for range 3 {
			b.Fault(ca.Directory, noon(), time.Time{})
		}
	}
	return b
}

// asksOf writes which CAs an action asks, by name, or what it waits for.
func asksOf(s *config.Settings, a Action) string {
	var names []string
	for i, directory := range a.CAs {
		ca, err := s.CA(directory)
		if err != nil || a.Asks[i].CA.Name != ca.Name {
			return fmt.Sprintf("asks %v for CAs %v", a.Asks, a.CAs)
		}
		names = append(names, ca.Name)
	}
	return strings.Join(strings.Fields(fmt.Sprint(a.Kind, " ", strings.Join(names, " "), " ", a.Limit)), " ")
}

func TestWhichCA(t *testing.T) {
	t.Parallel()
	s := limited(2)
	due := cert("c1", "a.example.com", 60*day+time.Hour, 90*day, func(c *state.Certificate) { c.Directory = "https://second.example/dir" })
	ending := cert("c1", "a.example.com", 89*day, 90*day, func(c *state.Certificate) { c.Directory = "https://second.example/dir" })
	order := openOrder("a", "a.example.com", func(o *acme.OpenOrder) { o.Directory = "https://second.example/dir" })
	tests := []struct {
		name   string
		cert   *state.Certificate
		order  *acme.OpenOrder
		book   *limit.Book
		force  bool
		want   string
		reason string
	}{
		{"all work", nil, nil, nil, false, "order first second", ""},
		{"the first does not work", nil, nil, broken(&limit.Book{}, s, "first"), false, "order second", ""},
		{"none works", nil, nil, broken(&limit.Book{}, s, "first", "second"), false, "wait breaker",
			"no certificate yet; first and second do not work, next attempt 12:01:00Z"},
		{"none works, but somebody forces it", nil, nil, broken(&limit.Book{}, s, "first", "second"), true, "order first second", ""},
		{"none works, and the certificate is about to expire", ending, nil, broken(&limit.Book{}, s, "first", "second"), false, "order first second", ""},
		{"nothing is left of the first's limit, and there is no certificate", nil, nil, spent(s, "first", 2), false, "order second first", ""},
		{"nothing is left of the first's limit, and there is time", due, nil, spent(s, "first", 2), false, "wait orders",
			"expires in 29 days; renewal due since 2026-11-20 11:00Z; waits for the limit orders of first until 13:00:00Z"},
		{"nothing is left of the first's limit, and there is no time", ending, nil, spent(s, "first", 2), false, "order second first", ""},
		{"an order is under way at the second", nil, &order, nil, false, "resume second first", ""},
		{"an order is under way at the second, which does not work", nil, &order, broken(&limit.Book{}, s, "second"), false, "order first", ""},
		{"an order is under way, and nothing is left of the limits", nil, &order, spent(s, "second", 2), false, "resume second first", ""},
	}
	for _, tt := range tests {
		in := Input{Targets: []*config.Target{target("a", "a.example.com", asking("first", "second"))}, Settings: s, State: snapshot(""), Limits: tt.book}
		if tt.cert != nil {
			in.State = snapshot("a.example.com=c1", tt.cert)
		}
		if tt.order != nil {
			in.State.Orders = []acme.OpenOrder{*tt.order}
		}
		if tt.force {
			in.Force = map[string]bool{"a": true}
		}
		a := one(t, in)
		if got := asksOf(s, a); got != tt.want || tt.reason != "" && a.Reason != tt.reason {
			t.Errorf("%s: got %s: %s, want %s: %s", tt.name, got, a.Reason, tt.want, tt.reason)
		}
	}
}

// TestLimitWithOneCA: without another CA a target waits for a limit, unless its
// certificate would expire meanwhile; what the CA itself said stands even then.
func TestLimitWithOneCA(t *testing.T) {
	t.Parallel()
	s := limited(1)
	ask := limit.Ask{CA: s.CAs[0], Names: []string{"a.example.com"}}
	refused := &limit.Book{}
	refused.Refused(ask, noon().Add(5*time.Hour), noon())
	ending := cert("c1", "a.example.com", 89*day, 90*day, func(c *state.Certificate) { c.Directory = s.CAs[0].Directory })
	for _, tt := range []struct {
		name string
		cert bool
		book *limit.Book
		want string
	}{
		{"no certificate and no token", false, spent(s, "first", 1), "wait orders"},
		{"a certificate about to expire, and no token", true, spent(s, "first", 1), "order first"},
		{"a certificate about to expire, and the CA said later", true, refused, "wait rate-limited"},
	} {
		in := Input{Targets: []*config.Target{target("a", "a.example.com", asking("first"))}, Settings: s, State: snapshot(""), Limits: tt.book}
		if tt.cert {
			in.State = snapshot("a.example.com=c1", ending)
		}
		if got := asksOf(s, one(t, in)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestUrgentFirst: the tokens there are go to what is missing, then to what ends
// first; each of the others waits for a token of its own.
func TestUrgentFirst(t *testing.T) {
	t.Parallel()
	s := limited(2)
	in := Input{Now: noon(), Settings: s, State: snapshot("")}
	var certs []*state.Certificate
	for i, age := range []time.Duration{60, 80, 70, 62} {
		name := fmt.Sprintf("t%d.example.com", i)
		in.Targets = append(in.Targets, target(name, name, asking("first")))
		certs = append(certs, cert(fmt.Sprint("c", i), name, age*day+time.Hour, 90*day, func(c *state.Certificate) { c.Directory = s.CAs[0].Directory }))
	}
	in.State = snapshot("t0.example.com=c0 t1.example.com=c1 t2.example.com=c2 t3.example.com=c3", certs...)
	in.Targets = append(in.Targets, target("new.example.com", "new.example.com", asking("first")))
	var got []string
	actions := Compute(in)
	slices.SortFunc(actions, func(a, b Action) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Target, b.Target)) })
	for _, a := range actions {
		got = append(got, fmt.Sprintf("%s %s %v", strings.TrimSuffix(a.Target, ".example.com"), a.Kind, a.At.Sub(noon())))
	}
	want := []string{"new order 0s", "t1 order 0s", "t2 wait 1h0m0s", "t3 wait 2h0m0s", "t0 wait 3h0m0s"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTrialIsNoOrder: the order of a trial is never gone on with, even where the
// staging directory is a CA of the target.
func TestTrialIsNoOrder(t *testing.T) {
	t.Parallel()
	o := openOrder("a", "a.example.com", func(o *acme.OpenOrder) { o.Trial = true })
	in := Input{Now: noon(), Targets: []*config.Target{target("a", "a.example.com")}, State: snapshot("")}
	in.State.Orders = []acme.OpenOrder{o}
	if a := one(t, in); a.Kind != Order {
		t.Errorf("%s, want to order anew", a.Kind)
	}
	if stale := Stale(in); len(stale) != 1 {
		t.Errorf("stale %v, want the trial", stale)
	}
}

// TestOutlivedOrder: an order is given up once the target has got a certificate
// since, from another CA.
func TestOutlivedOrder(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		created time.Duration
		target  string
		stale   int
	}{
		"the certificate came after the order": {-30 * time.Minute, "a", 1},
		"the order came after the certificate": {-2 * time.Hour, "a", 0},
		"the certificate was another target's": {-30 * time.Minute, "b", 0},
		"the clock was ahead when it came":     {2 * day, "a", 0},
	} {
		c := cert("c1", "a.example.com", day, 90*day, published(tt.created), func(c *state.Certificate) { c.Target = tt.target })
		in := Input{Now: noon(), Targets: []*config.Target{target("a", "a.example.com")}, State: snapshot("a.example.com=c1", c)}
		in.State.Orders = []acme.OpenOrder{openOrder("a", "a.example.com")}
		if got := Stale(in); len(got) != tt.stale {
			t.Errorf("%s: stale %v, want %d", name, got, tt.stale)
		}
	}
}

// TestPausedName: a paused name is left alone until its day is over; who forces it
// has unpaused it.
func TestPausedName(t *testing.T) {
	t.Parallel()
	x := target("a", "a.example.com")
	in := Input{Targets: []*config.Target{x}, State: snapshot("")}
	in.State.Attempts["a"] = state.Attempt{Target: "a", Digest: x.Digest(), Failures: 1, Class: string(acme.ClassWait), Name: "a.example.com",
		Paused: "https://ca.example/unpause", LastAttempt: noon().Add(-time.Hour), NextAttempt: noon().Add(23 * time.Hour)}
	a := one(t, in)
	want := "no certificate yet; the CA has paused a.example.com until somebody acts: https://ca.example/unpause; next look 2026-11-21 11:00Z"
	if a.Kind != Wait || a.Reason != want {
		t.Errorf("got %s: %s\nwant %s", a.Kind, a.Reason, want)
	}
	in.Force = map[string]bool{"a": true}
	in.Limits = &limit.Book{}
	ca, err := (&config.Settings{}).CA("")
	if err != nil {
		t.Fatal(err)
	}
	in.Limits.Refused(limit.Ask{CA: ca, Names: []string{"a.example.com"}}, noon().Add(20*time.Hour), noon())
	if a := one(t, in); a.Kind != Order || !a.Unpaused || !a.MayExceed(noon().Add(20*time.Hour), limit.RateLimited) {
		t.Errorf("forced: %s: %s, want to order", a.Kind, a.Reason)
	}
}

// TestBrokenCAIsTried: a CA that does not work is tried all the same each
// twentieth of a certificate's lifetime, and when that is about to expire.
func TestBrokenCAIsTried(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what          string
		age, lifetime time.Duration
		want          Kind
	}{
		{"months are left", 61 * day, 90 * day, Wait},
		{"a twentieth of the lifetime is less than the hour until it may be tried", 12 * time.Hour, 18 * time.Hour, Order},
		{"it ends within the hour", 90*day - 10*time.Minute, 90 * day, Order},
		{"it has ended, and lived for hours", 19 * time.Hour, 18 * time.Hour, Order},
		{"it has ended, and lived for months", 91 * day, 90 * day, Wait},
	} {
		ca := config.CA{Name: "le", Directory: le}
		b := &limit.Book{}
		b.Fault(ca.Directory, noon(), noon().Add(time.Hour))
		in := Input{Settings: &config.Settings{CAs: []config.CA{ca}}, Targets: []*config.Target{target("x", "a.example.com")}, Limits: b,
			State: snapshot("a.example.com=c1", cert("c1", "a.example.com", tt.age, tt.lifetime))}
		if a := one(t, in); a.Kind != tt.want {
			t.Errorf("%s: got %s, want %s", tt.what, brief(a), tt.want)
		}
	}
}
