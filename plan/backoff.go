package plan

import (
	"time"

	"certd/acme"
	"certd/state"
)

const (
	minWait     = time.Second // what a CA may ask for at least
	minPause    = time.Minute // between two attempts of our own accord
	maxPause    = day         // between any two attempts
	defaultWait = time.Hour   // when a CA limits requests without naming a time
	goneWait    = time.Hour   // before a certificate is replaced that was removed as soon as it was there
)

// NextAttempt returns when a target that failed at now may be tried again.
// failures counts the failures in a row, this one included; less than 1 counts
// as 1. retryAt is the time the CA named, zero if it did not. lifetime is that of
// the target's certificate, 0 without one. spread, a hash of the target, moves
// the time later by up to a tenth, so that targets that failed together are not
// tried together.
//
// A transient failure is tried again after 1, 2, 5, 15 and 60 minutes, 3 hours
// and then every 6 hours; a refused name after 1, 10 and 100 minutes and then
// daily; one that needs an operator after 1 hour, 6 hours and then daily; but
// within a twentieth of the lifetime, so that a CA that works again is asked
// before a certificate of a few days or hours expires; and none of them before
// retryAt. With class wait it is retryAt, or without that an hour, which is patience
// of our own as well.
// The result is never less than a minute away (at the word of a CA: a second),
// and never more than 24 hours.
func NextAttempt(class acme.Class, failures int, now, retryAt time.Time, lifetime time.Duration, spread uint64) time.Time {
	least, pause := minPause, time.Duration(0)
	switch class {
	case acme.ClassWait:
		pause = defaultWait
		if !retryAt.IsZero() {
			least, pause = minWait, 0
		}
	case acme.ClassName:
		pause = step(failures, time.Minute, 10*time.Minute, 100*time.Minute, day)
	case acme.ClassOperator:
		pause = step(failures, time.Hour, 6*time.Hour, day)
	default:
		pause = step(failures, time.Minute, 2*time.Minute, 5*time.Minute, 15*time.Minute, time.Hour, 3*time.Hour, 6*time.Hour)
	}
	if lifetime > 0 {
		pause = min(pause, lifetime/20)
	}
	pause = max(pause, least)
	if !retryAt.IsZero() {
		pause = max(pause, retryAt.Sub(now))
	}
	pause = min(pause, maxPause)
	pause += time.Duration(float64(pause/10) * float64(spread%1024) / 1024)
	return now.Add(min(pause, maxPause)).UTC()
}

// step returns the pause after so many failures; the last one is for all that follow.
func step(failures int, pauses ...time.Duration) time.Duration {
	return pauses[min(max(failures, 1), len(pauses))-1]
}

// waiting returns until when a target must not be tried because of what
// happened last time; the zero time if it may be tried. Forcing overrides our
// own patience and not the CA's, but for a pause: whoever forces it has acted.
func (p *planner) waiting(w *want) time.Time {
	last, ok := p.State.Attempts[w.File]
	if !ok || last.Digest != w.digest() || (p.Force[w.File] && (last.Class != string(acme.ClassWait) || last.Paused != "")) {
		return time.Time{}
	}
	until := last.NextAttempt
	if !last.LastAttempt.IsZero() {
		if last.LastAttempt.After(p.Now.Add(minPause)) {
			return time.Time{} // the clock was set back since: these times say nothing
		}
		if limit := last.LastAttempt.Add(maxPause); until.After(limit) {
			until = limit
		}
	}
	if !until.After(p.Now) {
		return time.Time{}
	}
	return until.UTC()
}

// again returns until when a target that got a certificate not long ago is
// left alone although it would get another one; the zero time if it is not.
// A CA, or a key that is reused, may give something that never satisfies the
// target, or that is due as soon as it is there; and whoever edits files in live/,
// such as a hook, damages each new one: without this rule each pass would order
// anew. What is damaged for the first time is replaced at once, then there are
// pauses of 10 and 100 minutes, then of a day; what is gone a short time after it
// came is replaced after an hour. Forcing overrides it.
func (p *planner) again(w *want, n need, best *state.Certificate) time.Time {
	last, ok := p.State.Attempts[w.File]
	success := ok && last.Failures == 0 && last.Class == "" && !last.LastAttempt.IsZero() && !last.LastAttempt.After(p.Now)
	if !success || last.Digest != w.digest() || !w.asks(last.CA) || p.Force[w.File] {
		return time.Time{}
	}
	got := last.LastAttempt
	var until time.Time
	switch {
	case n.cause == CauseChanged:
		until = got.Add(maxPause)
	case n.cause == CauseNew || n.cause == CauseDamaged && p.nearest(w) == nil:
		until = got.Add(goneWait)
	case n.cause == CauseDamaged:
		until = got.Add(step(p.damaged(w), 0, 10*time.Minute, 100*time.Minute, maxPause))
	case n.cause == CauseExpiry && !n.due.After(got) && issued(best).After(got.Add(-2*skew)):
		// Due as soon as it was there: the CA's clock or ours is wrong by days.
		left := best.NotAfter.Sub(got)
		if left <= 0 {
			left = best.NotAfter.Sub(best.NotBefore)
		}
		until = got.Add(min(max(left/2, minPause), maxPause))
	}
	if !until.After(p.Now) {
		return time.Time{}
	}
	return until.UTC()
}

// damaged is how many certificates of a target are damaged, or without their key,
// that were obtained in the last week.
func (p *planner) damaged(w *want) int {
	n := 0
	for _, c := range p.byTarget[w.File] {
		if (c.Damage != "" || !c.HasKey) && p.Now.Sub(issued(c)) < 7*day {
			n++
		}
	}
	return n
}
