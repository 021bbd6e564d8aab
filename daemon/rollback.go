package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"certd/plan"
	"certd/state"
)

// A Rollback says which certificate a name goes back to.
type Rollback struct {
	Target string             // file in desired/: all its names go back together
	From   *state.Certificate // the live one so far; nil if it is none of the target's
	To     *state.Certificate // what the next pass links
	Until  time.Time          // when a new one is ordered at the latest; zero if nothing is set aside
}

// RollBack sets certificates aside, so that the next pass links an earlier one to
// a live name, and to all others of its target: with to, an ID, that one; else the
// newest before the live one that is still good and was not set aside before. The
// earlier one is not renewed before what was set aside would be, unless only a
// tenth of its lifetime is left. With undo nothing is set aside any more.
func RollBack(ctx context.Context, o Options, liveName, to string, undo bool) (*Rollback, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	lock, err := Lock(ctx, o.Store, o.LockWait, o.Log)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	view, err := look(o.Store, o.Fallback)
	if err != nil {
		return nil, err
	}
	target := view.ownerOf(liveName)
	if target == "" {
		return nil, fmt.Errorf("nothing wants %s: only a name that is wanted can be rolled back", liveName)
	}
	in := view.input(nil, false)
	all := plan.Candidates(in, target)
	r := &Rollback{Target: target, From: view.Snapshot.Certificates[view.Snapshot.Live[liveName]]}
	chosen, err := r.choose(all, to, undo, view.Now)
	if err != nil {
		return nil, err
	}
	r.To = all[chosen]
	var errs []error
	for i, c := range all {
		aside := i < chosen
		if undo || i <= chosen {
			errs = append(errs, o.Store.SetAside(c.ID, aside))
		}
		if aside && r.Until.IsZero() {
			r.Until = plan.HeldUntil(r.To)
		}
	}
	return r, errors.Join(errs...)
}

// ownerOf returns the target, by file, that owns a live name; empty without one.
func (v *View) ownerOf(liveName string) string {
	for _, a := range plan.Compute(v.input(nil, false)) {
		if slices.Contains(a.Links, liveName) {
			return a.Target
		}
	}
	return ""
}

// choose returns the index in all of the certificate to go back to.
func (r *Rollback) choose(all []*state.Certificate, to string, undo bool, now time.Time) (int, error) {
	is := func(id string) func(c *state.Certificate) bool {
		return func(c *state.Certificate) bool { return c.ID == id }
	}
	if undo {
		if len(all) == 0 {
			return 0, errors.New("there is no good certificate to go back to")
		}
		return 0, nil
	}
	if to != "" {
		if i := slices.IndexFunc(all, is(to)); i >= 0 {
			return i, nil
		}
		return 0, fmt.Errorf("certificate %s is not one that target %s could use: it must be there, good, and have the names, key type, CA and profile that are wanted", to, r.Target)
	}
	from := -1
	if r.From != nil {
		from = slices.IndexFunc(all, is(r.From.ID))
	}
	for i := from + 1; i < len(all); i++ {
		if !all[i].SetAside && plan.HeldUntil(all[i]).After(now) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("target %s has no earlier certificate to go back to that is good and has more than a tenth of its lifetime left", r.Target)
}
