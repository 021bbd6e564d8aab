package plan

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"certd/acme"
	"certd/config"
	"certd/state"
)

// A life is one name with a daemon that wakes when plan says, at a CA that
// answers whatever it likes about renewal and always issues.
type life struct {
	*rand.Rand
	lifetime time.Duration
	now      time.Time
	state    *state.Snapshot
	live     *state.Certificate
	issued   int
	early    []time.Time // renewals that came before our own point, because of the CA
	err      string
}

// answer is what the CA says of renewal, by mood.
func (l *life) answer(mood int) (acme.RenewalInfo, error) {
	c := l.live
	at := func(from, to time.Duration) (acme.RenewalInfo, error) {
		return acme.RenewalInfo{Start: c.NotBefore.Add(from), End: c.NotBefore.Add(to), RetryAfter: time.Duration(l.Int64N(int64(l.lifetime/20 + time.Minute)))}, nil
	}
	switch mood {
	case 0: // as it should be
		return at(l.lifetime*6/10, l.lifetime*7/10)
	case 1: // now, always
		return at(-day, -day+time.Minute)
	case 2: // never
		return at(l.lifetime*98/100, l.lifetime)
	case 3: // nonsense
		return at(l.lifetime, 50*365*day)
	case 4:
		return acme.RenewalInfo{}, &acme.Problem{Operation: "ari", Status: 404}
	case 5:
		return acme.RenewalInfo{}, &acme.Problem{Operation: "ari", Status: 500, Class: acme.ClassTransient}
	case 6: // always a little later
		d := l.now.Sub(c.NotBefore)
		return at(d+l.lifetime/50, d+l.lifetime/25)
	}
	return l.answer(l.IntN(7))
}

// issue makes a new certificate live.
func (l *life) issue(reason Cause) {
	l.issued++
	c := cert(fmt.Sprintf("c%05d", l.issued), "a.example.com", 0, 0)
	c.NotBefore, c.NotAfter, c.Created = l.now.Add(-min(time.Hour, l.lifetime/100)), l.now.Add(l.lifetime), l.now
	c.ARIID, c.Directory, c.Target, c.Reason = fmt.Sprintf("AQ.%d", l.issued), le, "x", string(reason)
	l.state.Certificates[c.ID] = c
	l.state.Live["a.example.com"] = c.ID
	l.live = c
}

// step is one pass, and the sleep after it.
func (l *life) step(mood int) {
	in := Input{Now: l.now, State: l.state, Targets: []*config.Target{target("x", "a.example.com")}}
	for _, p := range Polls(in, Compute(in)) {
		old := l.state.Renewals[p.Certificate.ID]
		if p.At.After(l.now) {
			continue
		}
		if !old.Polled.IsZero() && l.now.Sub(old.Polled) < 10*time.Second {
			l.err = "the CA is asked again after " + l.now.Sub(old.Polled).String()
		}
		info, err := l.answer(mood)
		if err != nil {
			l.state.Renewals[p.Certificate.ID] = Unpolled(old, p.Certificate, err, l.now)
			continue
		}
		l.state.Renewals[p.Certificate.ID] = Polled(old, p.Certificate, info, l.now, l.Float64())
	}
	a := Compute(in)[0]
	if a.Kind == Order {
		if l.live != nil && !l.live.NotAfter.After(l.now) {
			l.err = "it expired"
		}
		if a.Cause == CauseARI && l.now.Before(RenewAt(l.live.NotBefore, l.live.NotAfter, 0)) {
			l.early = append(l.early, l.now)
		}
		l.issue(a.Cause)
		a = Compute(in)[0]
	}
	next := a.At
	for _, p := range Polls(in, Compute(in)) {
		next = earlier(next, p.Wake)
	}
	l.now = next
	if !next.After(in.Now) {
		l.now = in.Now.Add(time.Second)
	}
}

// TestLives: whatever a CA says, no name expires, the CA is not asked too often,
// and certificates are not renewed early more than once in a day, nor twice in a
// third of their life.
func TestLives(t *testing.T) {
	t.Parallel()
	for _, lifetime := range lifetimes() {
		for mood := range 8 {
			for seed := range uint64(3) {
				l := &life{Rand: rand.New(rand.NewPCG(seed, uint64(mood))), lifetime: lifetime, now: noon(), state: snapshot("")}
				end := noon().Add(5 * lifetime)
				for steps := 0; l.now.Before(end) && l.err == ""; steps++ {
					if l.step(mood); steps > 40000 {
						l.err = "it goes round and round"
					}
				}
				where := fmt.Sprintf("lifetime %v, mood %d, seed %d", lifetime, mood, seed)
				if l.err != "" {
					t.Errorf("%s: %s", where, l.err)
				}
				third := lifetime / 3
				for i := range l.early {
					if i > 0 && l.early[i].Sub(l.early[i-1]) < min(day, third) {
						t.Errorf("%s: early renewals %v apart", where, l.early[i].Sub(l.early[i-1]))
					}
					if i > 1 && l.early[i].Sub(l.early[i-2]) < third {
						t.Errorf("%s: three early renewals in %v", where, l.early[i].Sub(l.early[i-2]))
					}
				}
				if mood == 0 && (l.issued < 7 || l.issued > 10) {
					t.Errorf("%s: %d certificates in five lifetimes with a window at 60-70%%", where, l.issued)
				}
			}
		}
	}
}
