package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"certd/challenge"
)

// leftTime bounds the removal of what doctors that were killed have left.
const leftTime = 3 * time.Minute

// journal has the records that are tried remembered in the state directory, so
// that what comes after a doctor that was killed removes them, and removes what
// such a doctor has left. unlock is to be called when no record is there any more.
// Nothing is written if no record is tried and none was left.
func (r *run) journal(ctx context.Context, subjects []subject) (unlock func()) {
	const check = "dns journal"
	entries, _ := r.store.Records() // LockDoctor tells the error
	tries := func(s subject) bool { return s.inDNS() && r.setter(s) != "" }
	if onlyTrials(entries); len(entries) == 0 && !slices.ContainsFunc(subjects, tries) {
		return func() {}
	}
	lock, left, err := r.store.LockDoctor(ctx)
	if err != nil {
		r.add(check, "", Warning, "random records cannot be journaled, so one stays in the DNS if the doctor is killed, and what an earlier one left stays as well: "+oneLine(err),
			"run certd doctor as the user that certd runs as, or as root")
		return func() {}
	}
	r.dns.Journal = r.store
	if onlyTrials(left); len(left) > 0 {
		ctx, cancel := context.WithTimeout(ctx, leftTime)
		defer cancel()
		if err := errors.Join(r.dns.Load(left), r.dns.Sweep(ctx)); err != nil {
			r.add(check, "", Warning, "a doctor that was killed has left records: "+oneLine(err), "the next certd doctor or reconcile tries again; or remove them by hand")
		} else {
			r.add(check, "", OK, fmt.Sprintf("records that a doctor that was killed had left, and that are removed now: %d", len(left)), "")
		}
	}
	return func() { _ = lock.Unlock() } // else the process's end does it
}

// onlyTrials drops the records of orders: those are reconcile's.
func onlyTrials(entries map[string][]byte) {
	maps.DeleteFunc(entries, func(_ string, entry []byte) bool { return !challenge.IsTrial(entry) })
}
