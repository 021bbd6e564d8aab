package daemon

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"certd/config"
	"certd/state"
)

// usedKeys says what certificates have done with keys.
type usedKeys struct {
	used        map[string]bool // a certificate has it
	compromised map[string]bool // it was revoked for that it has leaked
}

// keys looks through the certificates of the pass.
func (p *pass) keys() usedKeys {
	k := usedKeys{used: make(map[string]bool), compromised: make(map[string]bool)}
	for _, c := range p.view.Snapshot.Certificates {
		k.used[c.KeyID] = true
		if c.Compromised() {
			k.compromised[c.KeyID] = true
		}
	}
	return k
}

// reusing narrows selected to targets that reuse their key.
func (v *View) reusing(selected func(*config.Target) bool) (func(*config.Target) bool, error) {
	if !slices.ContainsFunc(v.Targets.Targets, func(t *config.Target) bool { return selected(t) && t.KeyReuse }) {
		return nil, &NoReuseError{}
	}
	return func(t *config.Target) bool { return selected(t) && t.KeyReuse }, nil
}

// A NoReuseError says that there is no target to give its next key.
type NoReuseError struct{}

func (*NoReuseError) Error() string {
	return "no target that is meant reuses its key, so there is no next one; see request.key.reuse"
}

// keyFor returns the ID of the key for the next certificate of a target; empty
// for a new one.
func (p *pass) keyFor(t *config.Target) string {
	if !t.KeyReuse {
		return t.KeyID
	}
	keys := p.keys()
	staged := p.view.Snapshot.Staged[t.File]
	next := ""
	if t.Key.Satisfied(staged.KeyType) && !keys.compromised[staged.KeyID] && p.Store.HasKey(staged.KeyID) {
		next = staged.KeyID
	}
	if c := p.lastCertificate(t); c != nil && !(p.NextKey && next != "") &&
		!c.Revoked && !keys.compromised[c.KeyID] && t.Key.Satisfied(c.KeyType) && p.Store.HasKey(c.KeyID) {
		return c.KeyID
	}
	return next
}

// lastCertificate is the one whose key a target goes on with: that in use, else
// the newest that was ordered for it. Nil without one.
func (p *pass) lastCertificate(t *config.Target) *state.Certificate {
	snap := p.view.Snapshot
	for _, n := range t.Names {
		if c := snap.Certificates[snap.Live[t.LiveName(n)]]; c != nil && (c.Target == t.File || c.Target == "") {
			return c
		}
	}
	own := slices.DeleteFunc(slices.Collect(maps.Values(snap.Certificates)), func(c *state.Certificate) bool { return c.Target != t.File })
	if len(own) == 0 {
		return nil
	}
	return slices.MaxFunc(own, func(a, b *state.Certificate) int { return a.NotBefore.Compare(b.NotBefore) })
}

// stage makes sure that the selected targets that reuse their key have their next
// one ready. A staged key that a certificate has is the present one by now.
func (p *pass) stage(selected func(*config.Target) bool) {
	wanted := func(t *config.Target) bool { return t.KeyReuse && selected(t) }
	if !slices.ContainsFunc(p.view.Targets.Targets, wanted) {
		return
	}
	snap := p.view.Snapshot
	if len(p.report.Updated) > 0 { // what the pass has issued is not in it
		var err error
		if snap, err = p.Store.Snapshot(); err != nil {
			p.other(fmt.Errorf("look for keys: %w", err))
			return
		}
		p.view.Snapshot.Certificates = snap.Certificates
	}
	keys := p.keys()
	for _, t := range p.view.Targets.Targets {
		staged, ok := snap.Staged[t.File]
		if !wanted(t) || ok && !keys.used[staged.KeyID] && t.Key.Satisfied(staged.KeyType) && p.Store.HasKey(staged.KeyID) {
			continue
		}
		if err := p.stageFor(t); err != nil {
			p.other(err)
		}
	}
}

func (p *pass) stageFor(t *config.Target) error {
	key, err := newKey(t.Key)
	if err != nil {
		return fmt.Errorf("make the next key of %s: %w", t.File, err)
	}
	id, err := p.Store.SaveKey(key)
	if err == nil {
		err = p.Store.SaveStaged(state.Staged{Target: t.File, KeyID: id, KeyType: state.KeyType(key.Public()), Created: time.Now().UTC()})
	}
	if err != nil {
		return fmt.Errorf("keep the next key of %s: %w", t.File, err)
	}
	p.Log.Info("the next key is ready; publish its TLSA record, see certd tlsa", "target", t.File, "key", id)
	return nil
}
