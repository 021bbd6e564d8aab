package plan

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"certd/acme"
	"certd/config"
	"certd/state"
)

// skew is by how much a certificate may be valid only later than now and still
// be linked: the CA's clock is not ours.
const skew = time.Hour

// lookAgain is when a target is looked at again that nothing is scheduled for.
const lookAgain = day

// A planner holds the input, and what is looked up in it again and again.
type planner struct {
	Input
	owner    map[string]string               // live name to the file of the target that owns it
	byNames  map[string][]*state.Certificate // by names, joined
	byTarget map[string][]*state.Certificate // by the target they were ordered for
	inUse    map[string]bool                 // IDs of certificates that live/ points to
	leaked   map[string]bool                 // IDs of keys that were revoked as compromised
	onDisk   map[string]bool                 // order URLs whose certificate is there
	orders   map[string][]acme.OpenOrder     // by target, newest first
	cas      map[string]resolved             // by name as targets write it
}

// A resolved CA is what Settings.CA said of a name.
type resolved struct {
	config.CA
	canonical string // directory to compare by
	err       error
}

// A want is a target with its CAs looked up.
type want struct {
	*config.Target
	cas []resolved // those that are known, in order of preference
	err error      // why no CA is known; nil if one is

	hash string // Digest, once it was needed
}

// digest is the target's Digest.
func (w *want) digest() string {
	if w.hash == "" {
		w.hash = w.Digest()
	}
	return w.hash
}

// Compute returns what is to be done for each target, by file. It is pure:
// the same input gives the same actions, whatever the order of the targets.
// Callers that want some targets only pick their actions from the result. Busy
// targets have none.
func Compute(in Input) []Action {
	p := newPlanner(in)
	actions := make([]Action, 0, len(p.Targets))
	var turns []turn
	for _, t := range p.Targets {
		if p.Busy[t.File] {
			continue
		}
		w := p.want(t)
		a, best := p.action(w)
		actions = append(actions, a)
		if a.Kind == Order || a.Kind == Resume {
			turns = append(turns, turn{&actions[len(actions)-1], w, best})
		}
	}
	p.takeTurns(turns)
	return actions
}

// newPlanner sorts the input for looking things up.
func newPlanner(in Input) *planner {
	p := &planner{
		Input: in, owner: owners(in.Targets), byNames: map[string][]*state.Certificate{}, byTarget: map[string][]*state.Certificate{},
		inUse: map[string]bool{}, leaked: map[string]bool{}, onDisk: map[string]bool{}, orders: map[string][]acme.OpenOrder{}, cas: map[string]resolved{},
	}
	p.Now = in.Now.UTC()
	p.Targets = slices.SortedFunc(slices.Values(in.Targets), func(a, b *config.Target) int { return cmp.Compare(a.File, b.File) })
	if p.Settings == nil {
		p.Settings = &config.Settings{}
	}
	if p.State == nil {
		p.State = &state.Snapshot{}
	}
	for _, c := range p.State.Certificates {
		names := joined(c.Names)
		p.byNames[names] = append(p.byNames[names], c)
		p.byTarget[c.Target] = append(p.byTarget[c.Target], c)
		p.onDisk[c.URL] = true
		if c.Compromised() && c.KeyID != "" {
			p.leaked[c.KeyID] = true
		}
	}
	for _, id := range p.State.Live {
		p.inUse[id] = true
	}
	for _, o := range p.State.Orders {
		p.orders[o.Target] = append(p.orders[o.Target], o)
	}
	for _, list := range p.orders {
		slices.SortFunc(list, func(a, b acme.OpenOrder) int {
			return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.URL, b.URL))
		})
	}
	return p
}

// owners says which target owns each live name: the one with the highest
// priority, then the most names, then the first file.
func owners(targets []*config.Target) map[string]string {
	order := slices.SortedFunc(slices.Values(targets), func(a, b *config.Target) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(len(b.Names), len(a.Names)), cmp.Compare(a.File, b.File))
	})
	owner := make(map[string]string, len(targets))
	for _, t := range order {
		for _, n := range t.Names {
			if live := t.LiveName(n); owner[live] == "" {
				owner[live] = t.File
			}
		}
	}
	return owner
}

// want looks up the CAs of a target.
func (p *planner) want(t *config.Target) *want {
	w := &want{Target: t}
	if p.Stopped != "" {
		w.err = errors.New(p.Stopped)
		return w
	}
	names := t.CAs
	if len(names) == 0 {
		names = []string{""}
	}
	var errs []error
	for _, name := range names {
		r, ok := p.cas[name]
		if !ok {
			r.CA, r.err = p.Settings.CA(name)
			r.canonical = state.CanonicalDirectory(r.Directory)
			p.cas[name] = r
		}
		if r.err != nil {
			errs = append(errs, r.err)
			continue
		}
		w.cas = append(w.cas, r)
	}
	if len(w.cas) == 0 {
		w.err = errors.Join(errs...)
	}
	return w
}

// action decides about one target, but for the CA; best is the certificate that
// satisfies it, nil without one.
func (p *planner) action(w *want) (a Action, best *state.Certificate) {
	a = Action{Target: w.File, Names: slices.Clone(w.RequestNames), At: p.Now}
	if len(w.cas) > 0 {
		a.CA = w.cas[0].Directory
	}
	for _, n := range w.Names {
		if live := w.LiveName(n); p.owner[live] == w.File {
			a.Links = append(a.Links, live)
		}
	}
	slices.Sort(a.Links)
	best = p.best(w)
	a.Latest = p.latest(best)
	if best != nil {
		a.CertID, a.End, a.patience = best.ID, best.NotAfter.UTC(), best.NotAfter.Sub(best.NotBefore)/20
		if p.linkable(best) {
			a.Stale = slices.DeleteFunc(slices.Clone(a.Links), func(l string) bool { return p.State.Live[l] == best.ID })
		}
	}
	if len(a.Links) == 0 {
		a.Kind, a.At, a.Reason = Keep, p.Now.Add(lookAgain), p.sayUnowned(w)
		return a, best
	}
	need := p.need(w, best)
	a.Due, a.DueBy = need.due, need.by
	if best != nil {
		a.Explanation = p.explanation(best)
	}
	open := p.open(w)
	if need.cause == CauseNone && open == nil {
		return p.settled(a, best, need), best
	}
	if until := p.again(w, need, best); open == nil && !until.IsZero() {
		a.Kind, a.Cause, a.At = Wait, need.cause, until
		a.Reason = need.words + p.sayAgain(w, need.cause) + p.clock(until)
		return a, best
	}
	return p.unsettled(a, w, need, open), best
}

// settled finishes the action of a target that needs no certificate now.
func (p *planner) settled(a Action, best *state.Certificate, need need) Action {
	if len(a.Stale) > 0 {
		a.Kind, a.Reason = Relink, sayRelink(a.Stale)
		if p.Stopped != "" {
			a.Kind, a.At, a.Reason = Wait, p.Now.Add(lookAgain), a.Reason+"; "+p.Stopped
		}
		return a
	}
	a.Kind, a.At, a.Reason = Keep, need.due, p.sayRenews(best, need)
	if !p.linkable(best) && best.NotBefore.After(p.Now) && best.NotBefore.Before(need.due) {
		a.At, a.Reason = best.NotBefore.UTC(), "valid only from "+p.moment(best.NotBefore)
	}
	return a
}

// unsettled finishes the action of a target that needs a certificate or has
// an order under way.
func (p *planner) unsettled(a Action, w *want, need need, open *acme.OpenOrder) Action {
	a.Cause, a.Reason = need.cause, need.words
	if need.cause == CauseNone {
		a.Cause, a.Reason = orderCause(open.Reason), "an order is under way"
	}
	until := p.waiting(w)
	a.need, a.Unpaused = a.Reason, p.Force[w.File] && p.State.Attempts[w.File].Paused != ""
	switch {
	case w.err != nil:
		a.Kind, a.At = Wait, p.Now.Add(lookAgain)
		a.Reason += "; " + strings.ReplaceAll(w.err.Error(), "\n", "; ")
	case !until.IsZero():
		a.Kind, a.At = Wait, until
		a.Reason += "; " + p.sayWaiting(p.State.Attempts[w.File], until)
	case open != nil:
		a.Kind, a.Open, a.CA = Resume, open, open.Directory
		a.Reason += "; goes on with the order of " + p.moment(open.Created)
	default:
		a.Kind = Order
	}
	return a
}

// orderCause is the cause that an order was made for.
func orderCause(reason string) Cause {
	switch c := Cause(reason); c {
	case CauseNew, CauseExpiry, CauseARI, CauseRevoked, CauseChanged, CauseDamaged:
		return c
	}
	return CauseManual
}

// joined makes one key of sorted names.
func joined(names []string) string { return strings.Join(names, " ") }
