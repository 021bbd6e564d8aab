package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"certd/acme"
	"certd/state"
)

// orderLife is how long an order is believed to live when its CA did not say.
const orderLife = 7 * day

// afterlife is for how long an order that expired is worth a look if it may have
// been finalized: its certificate may be there.
const afterlife = day

// A need is why a target needs a certificate. The zero Cause means it does
// not before due.
type need struct {
	cause Cause
	words string    // one line
	due   time.Time // UTC; of the best certificate, zero without one
	by    Cause     // what decides due
	held  bool      // the best certificate is one that was rolled back to
}

// best returns the certificate to link: of those that satisfy the target the
// one that can be linked, then the newest. It is not the one that lasts longest:
// a CA may shorten its lifetimes,
// and who orders anew wants the new one. Then one in use (so that two of the same
// moment do not take turns), then the one with the first ID. Nil if none
// satisfies it.
func (p *planner) best(w *want) *state.Certificate {
	var best *state.Certificate
	for _, c := range p.byNames[joined(w.RequestNames)] {
		if p.usable(w, c) && len(p.changes(w, c)) == 0 && (best == nil || p.better(w, c, best)) {
			best = c
		}
	}
	return best
}

func (p *planner) better(w *want, a, b *state.Certificate) bool {
	if l := p.linkable(a); l != p.linkable(b) {
		return l
	}
	if a.SetAside != b.SetAside { // by a rollback: better than none
		return b.SetAside
	}
	return p.newer(w, a, b)
}

// newer is better for two certificates that can both be linked, or both not, and
// whatever a rollback says.
func (p *planner) newer(w *want, a, b *state.Certificate) bool {
	if own := w.ordered(a); own != w.ordered(b) {
		return own
	}
	if newer := issued(a).Compare(issued(b)); newer != 0 {
		return newer > 0
	}
	if last := a.NotAfter.Compare(b.NotAfter); last != 0 {
		return last > 0
	}
	if used := p.inUse[a.ID]; used != p.inUse[b.ID] {
		return used
	}
	return a.ID < b.ID
}

// ordered reports whether a certificate was ordered for this target, as far as
// that is known: one made for another label is only better than none.
func (w *want) ordered(c *state.Certificate) bool { return c.Target == "" || c.Target == w.File }

// issued is when a certificate came to be: when certd published it or, for one
// that acmetool left, the start of its validity.
func issued(c *state.Certificate) time.Time {
	if c.Created.IsZero() {
		return c.NotBefore
	}
	return c.Created
}

// linkable reports whether a certificate is valid now, within the skew of clocks.
func (p *planner) linkable(c *state.Certificate) bool {
	return c.NotAfter.After(p.Now) && !c.NotBefore.After(p.Now.Add(skew))
}

// changes says in words how a certificate differs from what is wanted.
func (p *planner) changes(w *want, c *state.Certificate) []string {
	var out []string
	if joined(w.RequestNames) != joined(c.Names) {
		out = append(out, "names changed: "+sayNames(w.RequestNames, c.Names))
	}
	if !w.Key.Satisfied(c.KeyType) {
		out = append(out, fmt.Sprintf("key type changed: %s to %s", cmp.Or(c.KeyType, "unknown"), w.Key))
	}
	if !w.asks(c.Directory) {
		out = append(out, fmt.Sprintf("CA changed: %s to %s", host(c.Directory), host(w.cas[0].Directory)))
	}
	// A certificate without target comes from elsewhere: nobody knows what
	// profile was asked for. A profile that is only preferred can wait for the
	// next renewal.
	if c.Profile != w.Profile && !w.ProfileWish && (c.Profile != "" || c.Target != "") {
		out = append(out, fmt.Sprintf("profile changed: %s to %s", cmp.Or(c.Profile, "default"), cmp.Or(w.Profile, "default")))
	}
	return out
}

// asks reports whether the CA with this directory is one of the target's. An
// unknown one counts as such, and so does every one if the target's are unknown.
func (w *want) asks(directory string) bool {
	if directory == "" || len(w.cas) == 0 {
		return true
	}
	canonical := state.CanonicalDirectory(directory)
	return slices.ContainsFunc(w.cas, func(ca resolved) bool { return ca.canonical == canonical })
}

// need says why the target needs a certificate, if it does.
func (p *planner) need(w *want, best *state.Certificate) need {
	if best == nil {
		n := p.missing(w)
		n.words = oneLine(n.words)
		return n
	}
	n := need{}
	n.due, n.by = p.due(w, best)
	until := p.held(w, best)
	warned := n.by == CauseARI && p.explanation(best) != "" // a CA that says why has more than the usual reason
	if n.held = !until.IsZero(); until.After(n.due) && !warned {
		n.due, n.by = until, CauseExpiry
	}
	switch {
	case !n.due.After(p.Now):
		n.cause, n.words = n.by, p.sayDue(best, n)
	case p.revoked(w, best):
		n.cause, n.words = CauseRevoked, "a newer certificate was revoked; the one before it, which "+p.sayExpires(best.NotAfter)+", serves meanwhile"
	case p.Force[w.File]:
		n.cause, n.words = CauseManual, "renewal forced; "+p.sayExpires(best.NotAfter)
	}
	return n
}

// revoked reports whether a newer certificate of the target than best was revoked,
// so that best is one that was replaced before: that was due to go, be it for its
// key or because the CA wanted it, and serves only until there is another.
func (p *planner) revoked(w *want, best *state.Certificate) bool {
	return slices.ContainsFunc(p.byNames[joined(w.RequestNames)], func(c *state.Certificate) bool {
		return c.Revoked && !c.SetAside && w.ordered(c) && w.Key.Satisfied(c.KeyType) && issued(c).After(issued(best)) && !issued(c).After(p.Now)
	})
}

// missing says why no certificate satisfies the target: what is wrong with
// the one that comes nearest.
func (p *planner) missing(w *want) need {
	c := p.nearest(w)
	switch {
	case c == nil && p.dangling(w):
		return need{cause: CauseDamaged, words: "the certificate in use is missing or cannot be read"}
	case c == nil:
		return need{cause: CauseNew, words: "no certificate yet"}
	case c.Revoked:
		return need{cause: CauseRevoked, words: "certificate revoked"}
	case p.leaked[c.KeyID]:
		return need{cause: CauseRevoked, words: "another certificate with its key was revoked, because that is compromised"}
	case c.Damage != "":
		return need{cause: CauseDamaged, words: "certificate damaged: " + c.Damage}
	case !c.HasKey:
		return need{cause: CauseDamaged, words: "key missing"}
	}
	return need{cause: CauseChanged, words: strings.Join(p.changes(w, c), "; ")}
}

// nearest returns the certificate that the target had so far: one that is in
// use for its names, one with exactly the names it wants, or one that was
// ordered for it; of these the one that lasts longest. Certificates that are
// known to be another target's do not count. Nil if there is none.
func (p *planner) nearest(w *want) *state.Certificate {
	exact := joined(w.RequestNames)
	inUse := map[string]bool{}
	candidates := slices.Concat(p.byNames[exact], p.byTarget[w.File])
	for _, n := range w.Names {
		live := w.LiveName(n)
		if c := p.State.Certificates[p.State.Live[live]]; c != nil && p.owner[live] == w.File {
			inUse[c.ID] = true
			candidates = append(candidates, c)
		}
	}
	candidates = slices.DeleteFunc(candidates, func(c *state.Certificate) bool { return c.Target != "" && c.Target != w.File })
	rank := func(c *state.Certificate) int {
		switch {
		case inUse[c.ID]:
			return 0
		case joined(c.Names) == exact:
			return 1
		}
		return 2
	}
	if len(candidates) == 0 {
		return nil
	}
	return slices.MinFunc(candidates, func(a, b *state.Certificate) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), b.NotAfter.Compare(a.NotAfter), cmp.Compare(a.ID, b.ID))
	})
}

// dangling reports whether a link of the target points to a certificate that
// is not there, or could not be read.
func (p *planner) dangling(w *want) bool {
	return slices.ContainsFunc(w.Names, func(n string) bool {
		live := w.LiveName(n)
		id := p.State.Live[live]
		return id != "" && p.State.Certificates[id] == nil && p.owner[live] == w.File
	})
}

// open returns the newest journaled order that the target can go on with; nil
// without one.
func (p *planner) open(w *want) *acme.OpenOrder {
	owns := slices.ContainsFunc(w.Names, func(n string) bool { return p.owner[w.LiveName(n)] == w.File })
	if !owns {
		return nil
	}
	if len(p.orders[w.File]) == 0 {
		return nil
	}
	best := p.best(w)
	for _, o := range p.orders[w.File] {
		if p.alive(o) && w.fits(o) && !p.outlived(w, o, best) {
			return &o
		}
	}
	return nil
}

// alive reports whether an order can still lead to a certificate. One with a key
// may have one: it is worth a look for a day after it expired, or was created if
// our clock was wrong.
func (p *planner) alive(o acme.OpenOrder) bool {
	expires := o.Expires
	if expires.IsZero() {
		expires = o.Created.Add(orderLife)
	}
	if o.KeyID != "" {
		if o.Created.After(expires) {
			expires = o.Created
		}
		expires = expires.Add(afterlife)
	}
	return o.URL != "" && expires.After(p.Now) && !p.onDisk[o.URL]
}

// fits reports whether an order is for what the target wants now.
func (w *want) fits(o acme.OpenOrder) bool {
	names := slices.Sorted(slices.Values(o.Names))
	return !o.Trial && joined(names) == joined(w.RequestNames) && (o.Profile == w.Profile || w.ProfileWish && o.Profile == "") && w.asks(o.Directory) &&
		(o.KeyType == w.Key.String() || w.Key.Satisfied(o.KeyType))
}

// Stale returns the journaled orders to give up, oldest first: their target is
// gone, or wants something else by now, or goes on with a newer one; they have
// expired; or their certificate is on disk already, so that only the journal
// entry is left. Orders of unread targets are kept until they expire, and those
// of busy ones are their worker's.
func Stale(in Input) []acme.OpenOrder {
	if in.State == nil || len(in.State.Orders) == 0 {
		return nil
	}
	p := newPlanner(in)
	kept := map[string]bool{}
	for _, t := range p.Targets {
		if o := p.open(p.want(t)); o != nil {
			kept[o.URL] = true
		}
	}
	var stale []acme.OpenOrder
	for _, o := range p.State.Orders {
		if !kept[o.URL] && !p.Busy[o.Target] && !(p.Unread[o.Target] && p.alive(o)) {
			stale = append(stale, o)
		}
	}
	slices.SortFunc(stale, func(a, b acme.OpenOrder) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.URL, b.URL))
	})
	return stale
}
