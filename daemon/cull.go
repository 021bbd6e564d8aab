package daemon

import "certd/state"

// Culling says what is needed, for Store.Cull. While a target cannot be read,
// what names and keys it wants is not known.
func (v *View) Culling() state.Culling {
	c := state.Culling{Now: v.Now, Targets: append([]string{}, v.Files()...)}
	if len(v.Targets.Unread) > 0 || len(v.Targets.Errors) > 0 {
		return c
	}
	c.Live, c.Keys = make(map[string]bool), make(map[string]bool)
	for _, t := range v.Targets.Targets {
		for _, n := range t.Names {
			c.Live[t.LiveName(n)] = true
		}
		if t.KeyID != "" {
			c.Keys[t.KeyID] = true
		}
	}
	return c
}
