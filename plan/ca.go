package plan

import (
	"cmp"
	"slices"
	"time"

	"certd/acme"
	"certd/limit"
	"certd/state"
)

// Breaker is Action.Limit of a target whose CAs do not work.
const Breaker = "breaker"

// A turn is a target that wants to ask a CA now.
type turn struct {
	*Action
	want *want
	best *state.Certificate // nil without one
}

// takeTurns decides which of the targets that want a CA now may ask which: those
// whose certificate ends first come first, and those that need one at all before
// them. What the limits of the CAs do not allow now has to wait, each target until
// a moment of its own.
func (p *planner) takeTurns(turns []turn) {
	slices.SortStableFunc(turns, func(a, b turn) int {
		return cmp.Or(a.End.Compare(b.End), cmp.Compare(a.Target, b.Target))
	})
	book := p.Limits.Plan()
	for _, t := range turns {
		if t.Kind == Resume {
			p.resumeAt(book, t)
		} else {
			p.orderAt(book, t)
		}
	}
}

// asks are the newOrder requests that the target may send, in order of preference:
// to CAs that work, as far as is known, and only else to those that do not. until
// is when the first of the latter may be tried.
func (p *planner) newOrders(t turn) (asks []limit.Ask, until time.Time) {
	for _, ca := range t.want.cas {
		open := p.Limits.Open(ca.Directory, p.Now)
		if open.IsZero() || p.Force[t.Target] || t.TriesBefore(open, p.Now) {
			asks = append(asks, limit.Ask{CA: ca.CA, Names: t.want.RequestNames, Renewal: p.hadFrom(t.want, ca), ARI: p.insideWindow(t, ca)})
		} else if until.IsZero() || open.Before(until) {
			until = open
		}
	}
	return asks, until
}

// hadFrom reports whether the CA has issued a certificate for exactly these names.
func (p *planner) hadFrom(w *want, ca resolved) bool {
	return slices.ContainsFunc(p.byNames[joined(w.RequestNames)], func(c *state.Certificate) bool {
		return c.Directory != "" && state.CanonicalDirectory(c.Directory) == ca.canonical
	})
}

// insideWindow reports whether the order would replace a certificate of this CA
// inside the window that the CA suggests (RFC 9773 §5): such orders have no limit.
func (p *planner) insideWindow(t turn, ca resolved) bool {
	if t.Cause != CauseARI || t.best == nil || state.CanonicalDirectory(t.best.Directory) != ca.canonical {
		return false
	}
	r, ok := p.State.Renewals[t.best.ID]
	return ok && r.ARIID == t.best.ARIID && r.Unreplaced == "" && !p.Now.Before(r.Start) && p.Now.Before(r.End)
}

// orderAt decides where a target orders, or until when it waits.
func (p *planner) orderAt(book *limit.Plan, t turn) {
	asks, until := p.newOrders(t)
	if len(asks) == 0 {
		p.waitFor(t, until, Breaker, "; "+p.sayBroken(t.want, until))
		return
	}
	at, by := book.Next(asks[0], p.Now)
	if t.Unpaused {
		at = time.Time{}
	}
	first := 0
	if !at.IsZero() && at.After(t.Latest) {
		first = slices.IndexFunc(asks, func(a limit.Ask) bool {
			free, _ := book.Next(a, p.Now)
			return free.IsZero()
		})
		if first < 0 && t.MayExceed(at, by) {
			first, at = 0, time.Time{}
		}
	}
	if first > 0 {
		at = time.Time{}
		chosen := asks[first]
		asks = slices.Insert(slices.Delete(asks, first, first+1), 0, chosen)
	}
	if reserved, _ := book.Reserve(asks[0], p.Now); !at.IsZero() {
		p.waitFor(t, reserved, by, "; "+p.sayLimit(asks[0].CA.Name, by, reserved))
		return
	}
	p.ask(t, asks)
}

// resumeAt lets a target go on with its order, if the CA works; else it orders
// from another one, if there is one.
func (p *planner) resumeAt(book *limit.Plan, t turn) {
	asks, _ := p.newOrders(t)
	own := slices.IndexFunc(asks, func(a limit.Ask) bool {
		return state.CanonicalDirectory(a.CA.Directory) == state.CanonicalDirectory(t.Open.Directory)
	})
	if own < 0 {
		t.Kind, t.Open, t.Reason = Order, nil, t.need
		p.orderAt(book, t)
		return
	}
	chosen := asks[own]
	p.ask(t, slices.Insert(slices.Delete(asks, own, own+1), 0, chosen))
}

// ask makes asks the requests of a target.
func (p *planner) ask(t turn, asks []limit.Ask) {
	t.Asks = asks
	t.CAs = make([]string, len(asks))
	for i, a := range asks {
		t.CAs[i] = a.CA.Directory
	}
	t.CA = t.CAs[0]
}

// waitFor makes a target wait.
func (p *planner) waitFor(t turn, until time.Time, by, why string) {
	t.Kind, t.At, t.Limit = Wait, until.UTC(), by
	t.Open = nil
	t.Reason += why
}

// latest is until when a target can wait for a CA's limit: what leaves a twentieth
// of its certificate's lifetime. The zero time if it has none that could be served.
func (p *planner) latest(best *state.Certificate) time.Time {
	if best == nil || !p.linkable(best) {
		return time.Time{}
	}
	return best.NotAfter.Add(-best.NotAfter.Sub(best.NotBefore) / 20).UTC()
}

// MayExceed reports whether the target asks although a limit that we keep would
// have it wait until at: its certificate would be about to expire by then. What
// the CA itself said stands, but for a pause that somebody has ended.
func (a *Action) MayExceed(at time.Time, by string) bool {
	return a.Unpaused || a.late(at) && by != limit.RateLimited
}

// TriesBefore reports whether the target tries a CA that does not work before
// until, when that is to be left alone till then: it is at most a twentieth of
// its certificate's lifetime, and until that is about to expire.
func (a *Action) TriesBefore(until, now time.Time) bool {
	return a.late(until) || a.patience > 0 && until.Sub(now) > a.patience
}

// late reports whether the target's certificate is about to expire at a moment.
func (a *Action) late(at time.Time) bool { return !a.Latest.IsZero() && at.After(a.Latest) }

// outlived reports whether an order is older than a certificate that was obtained
// for its target since, from another CA for instance. One that was obtained in the
// time to come, by a clock that was ahead, says nothing about that.
func (p *planner) outlived(w *want, o acme.OpenOrder, best *state.Certificate) bool {
	return best != nil && best.Target == w.File && best.Created.After(o.Created) && !best.Created.After(p.Now.Add(minPause))
}

// sayLimit says which limit a target waits for.
func (p *planner) sayLimit(ca, by string, until time.Time) string {
	if by == limit.RateLimited {
		return ca + " asked to wait until " + p.clock(until)
	}
	return "waits for the limit " + by + " of " + ca + " until " + p.clock(until)
}

// sayBroken says which CAs do not work.
func (p *planner) sayBroken(w *want, until time.Time) string {
	var names []string
	for _, ca := range w.cas {
		names = append(names, ca.Name)
	}
	verb := " does not work"
	if len(names) > 1 {
		verb = " do not work"
	}
	return list(names) + verb + ", next attempt " + p.clock(until)
}

// list joins names with commas and an "and".
func list(names []string) string {
	if len(names) < 2 {
		return joined(names)
	}
	out := names[0]
	for _, n := range names[1 : len(names)-1] {
		out += ", " + n
	}
	return out + " and " + names[len(names)-1]
}
