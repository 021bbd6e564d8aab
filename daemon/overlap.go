package daemon

import (
	"slices"
	"sync"
	"time"
)

const (
	// overlapAfter is for how long a pass has to be at its targets before what comes
	// due meanwhile does not wait for its end any more: most passes are over by then.
	overlapAfter = 5 * time.Second

	// maxRuns bounds the passes at one time. Each one but the first is there because
	// the ones before it are slow; each has its own view of the state directory.
	maxRuns = 16
)

// A run is a pass that the loop has begun. Its methods may be called for nil, by a
// pass that nobody waits for.
type run struct {
	trigger string
	begun   time.Time
	waiter  chan<- struct{} // of the cron job that asked for it; nil without

	mu    sync.Mutex
	works time.Time // since when it is at its targets; zero before that
	wakes []wake
}

// A wake is that something comes due while the pass is still at other targets.
type wake struct{ at, told time.Time }

// working is told that the pass is at its targets, and when the first of everything
// else comes due; zero means never.
func (r *run) working(next time.Time) {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.works = time.Now()
	r.mu.Unlock()
	r.wake(next)
}

// wake is told when something comes due that the pass will not do; zero means never.
func (r *run) wake(at time.Time) {
	if r == nil || at.IsZero() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wakes = append(r.wakes, wake{at, time.Now()})
}

// slow reports whether others need not wait for the pass.
func (r *run) slow(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.works.IsZero() && now.Sub(r.works) >= overlapAfter
}

// forget drops what was told before a moment at which everything was looked at, if it
// was for before that of due, or if due is zero.
func (r *run) forget(told, due time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wakes = slices.DeleteFunc(r.wakes, func(w wake) bool { return w.told.Before(told) && (due.IsZero() || !w.at.After(due)) })
}

// first is when the first thing comes due; zero if nothing does.
func (r *run) first() (at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.wakes {
		if at.IsZero() || w.at.Before(at) {
			at = w.at
		}
	}
	return at
}

// free reports whether a pass may begin: none is at work, or those that are take
// long. A pass that has not come to its targets yet will see to whatever is due.
func (l *loop) free(now time.Time) bool {
	return len(l.runs) < maxRuns && !slices.ContainsFunc(l.runs, func(r *run) bool { return !r.slow(now) })
}

// wakeTime is the exact wake-up: what was planned after the last pass, or what those
// at work have told since; zero without.
func (l *loop) wakeTime() time.Time {
	next := l.next
	for _, r := range l.runs {
		if at := r.first(); next.IsZero() || !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next
}

// planNext sets when the next pass comes after one that has ended. If others have begun
// while it was at work they have left things to it, and it has left things to them: one
// more pass comes, whichever of them ends last.
func (l *loop) planNext(out outcome) {
	l.next = wakeUp(out, l.ended)
	for _, r := range l.runs {
		if out.err == nil && out.look == nil {
			r.forget(out.at, time.Time{})
		}
	}
	l.owed = l.owed || out.run != l.newest
	if soon := l.ended.Add(breath); l.owed && (l.next.IsZero() || soon.Before(l.next)) {
		l.next = soon
	}
}
