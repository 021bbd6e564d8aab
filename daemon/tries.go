package daemon

import (
	"errors"
	"strings"
	"time"

	"certd/acme"
	"certd/plan"
)

// tries are the errors of several CAs that were asked one after the other.
type tries []error

// Error is all of them, each of which names its CA, in the order of the CAs.
func (t tries) Error() string {
	var texts []string
	for _, err := range t {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; then ")
}

// Unwrap returns them with a refused name first: it says most.
func (t tries) Unwrap() []error {
	var named, others []error
	for _, err := range t {
		if acme.ClassOf(err) == acme.ClassName {
			named = append(named, err)
		} else {
			others = append(others, err)
		}
	}
	return append(named, others...)
}

// each returns the errors of the CAs that were asked.
func each(err error) []error {
	if t, ok := errors.AsType[tries](err); ok {
		return t
	}
	return []error{err}
}

// heldBack reports whether no CA was asked at all.
func heldBack(err error) bool {
	for _, err := range each(err) {
		if !isHeld(err) {
			return false
		}
	}
	return true
}

// tell is an error as it is kept and shown: one line, and of each CA a text of its
// own, so that a long one cuts off none of the others.
func tell(err error) string {
	var texts []string
	for _, err := range each(err) {
		texts = append(texts, acme.Sanitize(err.Error()))
	}
	return strings.Join(texts, "; then ")
}

// decisive returns when to try again, and the error that says so: that of
// a name that is refused, as it would be by every CA; else that of the CA that may
// be asked first.
func decisive(err error, failures int, now time.Time, lifetime time.Duration, spread uint64) (next time.Time, reason error) {
	for _, e := range each(err) {
		var retryAt time.Time
		if problem := problemOf(e); problem != nil && !problem.RetryGuess {
			retryAt = problem.RetryAt
		}
		class := acme.ClassOf(e)
		at := plan.NextAttempt(class, failures, now, retryAt, lifetime, spread).UTC()
		if class == acme.ClassName {
			return at, e
		}
		if reason == nil || at.Before(next) {
			reason, next = e, at
		}
	}
	return next, reason
}

// firstHeld returns until when and by what the first CA is held back of those that err
// is about.
func firstHeld(err error) (until time.Time, by string) {
	for _, e := range each(err) {
		problem := problemOf(e)
		reason, ok := errors.AsType[*heldError](e)
		if ok && problem != nil && (until.IsZero() || problem.RetryAt.Before(until)) {
			until, by = problem.RetryAt, reason.by
		}
	}
	return until, by
}
