package plan

import (
	"cmp"
	"slices"
	"time"

	"certd/config"
	"certd/state"
)

// heldPart is what must be left of the lifetime of a certificate that was rolled
// back to, as a fraction: a tenth. Then it is renewed whatever comes of it.
const heldPart = 10

// Candidates returns the certificates on disk that could be live for a target, by
// file, the newest first; Compute links the first of those that are not set
// aside. Nil if there is no such target.
func Candidates(in Input, file string) []*state.Certificate {
	p := newPlanner(in)
	i := slices.IndexFunc(p.Targets, func(t *config.Target) bool { return t.File == file })
	if i < 0 {
		return nil
	}
	return p.candidates(p.want(p.Targets[i]))
}

// candidates are the certificates that satisfy the target and can be linked now,
// newest first.
func (p *planner) candidates(w *want) []*state.Certificate {
	var out []*state.Certificate
	for _, c := range p.byNames[joined(w.RequestNames)] {
		if c.Usable() && !p.leaked[c.KeyID] && p.linkable(c) && len(p.changes(w, c)) == 0 {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *state.Certificate) int {
		switch {
		case p.newer(w, a, b):
			return -1
		case p.newer(w, b, a):
			return 1
		}
		return cmp.Compare(a.ID, b.ID)
	})
	return out
}

// HeldUntil returns until when a certificate that a target was rolled back to can
// go without renewal at most: until a tenth of its lifetime is left.
func HeldUntil(c *state.Certificate) time.Time {
	return c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / heldPart).UTC()
}

// held returns until when the renewal of best waits because of a rollback: what
// would come is what was set aside. It ends when that would be renewed itself, is
// of no use any more, or when a tenth of the lifetime is left. The zero time means
// not at all.
func (p *planner) held(w *want, best *state.Certificate) time.Time {
	aside := func(c *state.Certificate) bool { return c.SetAside }
	if best.SetAside || !slices.ContainsFunc(p.byNames[joined(w.RequestNames)], aside) {
		return time.Time{}
	}
	for _, c := range p.candidates(w) {
		if c.ID == best.ID {
			break
		}
		if !c.SetAside {
			continue
		}
		until := RenewAt(c.NotBefore, c.NotAfter, w.Margin)
		if last := HeldUntil(best); last.Before(until) {
			until = last
		}
		return until
	}
	return time.Time{}
}
