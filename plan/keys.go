package plan

import "certd/state"

// usable reports whether a certificate could be served for a target: not with a
// key that has leaked; and, where the key is reused and so announced, not with one
// that the target had before the present one.
func (p *planner) usable(w *want, c *state.Certificate) bool {
	if !c.Usable() || p.leaked[c.KeyID] {
		return false
	}
	if !w.KeyReuse {
		return true
	}
	last := p.last(w)
	return last == nil || last.KeyID == c.KeyID
}

// last is the newest certificate of a target that was not set aside, whatever is
// wrong with it. Nil without one.
func (p *planner) last(w *want) *state.Certificate {
	var last *state.Certificate
	for _, c := range p.byNames[joined(w.RequestNames)] {
		if !c.SetAside && w.ordered(c) && (last == nil || p.newer(w, c, last)) {
			last = c
		}
	}
	return last
}
