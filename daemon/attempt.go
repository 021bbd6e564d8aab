package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"certd/acme"
	"certd/issue"
	"certd/plan"
	"certd/state"
)

func (p *pass) saveSuccess(a plan.Action, client *caClient) error {
	err := p.Store.SaveAttempt(state.Attempt{Target: a.Target, Digest: p.targets[a.Target].Digest(), CA: client.directory,
		Account: client.kid, LastAttempt: time.Now().UTC()})
	if err != nil {
		return fmt.Errorf("keep the result of %s: %w", a.Target, err)
	}
	return nil
}

// saveFailure counts a failed attempt, and sets and returns when the next may start.
// That the pass was interrupted is no failure of the target: the next one simply
// goes on.
func (p *pass) saveFailure(ctx context.Context, a plan.Action, cause error) (next time.Time) {
	if ctx.Err() != nil {
		return time.Time{}
	}
	now := time.Now()
	digest := p.targets[a.Target].Digest()
	last := p.view.Snapshot.Attempts[a.Target]
	at := state.Attempt{Target: a.Target, Digest: digest, CA: a.CA, Failures: 1, LastError: tell(cause), LastAttempt: now.UTC()}
	if last.Digest == digest {
		at.Failures = last.Failures + 1
	} else {
		last = state.Attempt{}
	}
	var lifetime time.Duration
	if c := p.view.Snapshot.Certificates[a.CertID]; c != nil {
		lifetime = c.NotAfter.Sub(c.NotBefore)
	}
	next, reason := decisive(cause, at.Failures, now, lifetime, spread(a.Target))
	at.Class, at.NextAttempt = string(acme.ClassOf(reason)), next
	if problem := problemOf(reason); problem != nil {
		at.Name = problem.Identifier.Value
		at.Challenges = strings.Join(p.failedChallenges(a.Target, problem.Challenge), " ")
	}
	at.Paused = pausedBy(cause, last)
	if err := p.Store.SaveAttempt(at); err != nil {
		p.other(fmt.Errorf("keep the failure of %s: %w", a.Target, err))
	}
	p.raise(state.Event{Event: "failed", Names: a.Names, Detail: at.LastError})
	if at.Paused != "" && last.Paused == "" {
		p.Log.Error("the CA has paused a name until somebody acts", "target", a.Target, "unpause", at.Paused)
		p.raise(state.Event{Event: "paused", Names: a.Names, Detail: at.Paused})
	}
	return next
}

// pausedBy says how to undo that a CA has paused a name, if it has: by what it
// answered now or, if nobody answered, before.
func pausedBy(cause error, last state.Attempt) string {
	for _, problem := range problems(cause) {
		if problem.Paused {
			return cmp.Or(problem.Unpause, problem.Detail)
		}
	}
	switch acme.ClassOf(cause) {
	case acme.ClassTransient, acme.ClassWait:
		return last.Paused
	}
	return ""
}

// failedChallenges are the types of challenges by which a target could not be
// proven, the last one last; failed is the one of now, if it was one. Each
// attempt tries another one first.
func (p *pass) failedChallenges(target, failed string) []string {
	types := failedBefore(p.view.Snapshot, p.targets[target])
	if !slices.Contains(issue.Preference(), failed) {
		return types
	}
	return append(slices.DeleteFunc(types, func(t string) bool { return t == failed }), failed)
}

// raise journals an event for the hooks at the end of the pass. An undelivered
// failure of the same names is brought up to date instead.
func (p *pass) raise(e state.Event) {
	e.Created = time.Now().UTC()
	p.shift.mu.Lock()
	defer p.shift.mu.Unlock()
	i := slices.IndexFunc(p.pending, func(old undelivered) bool {
		return e.Event == "failed" && old.event.Event == e.Event && slices.Equal(old.event.Names, e.Names)
	})
	if i >= 0 {
		e.ID, e.Created = p.pending[i].event.ID, p.pending[i].event.Created
	}
	saved, err := p.Store.SaveEvent(e)
	switch {
	case err != nil:
		p.other(fmt.Errorf("journal event %s: %w", e.Event, err))
	case i >= 0:
		p.pending[i] = undelivered{event: saved}
	default:
		p.addPending(saved)
	}
}

// problemOf returns the first *acme.Problem in err, or nil.
func problemOf(err error) *acme.Problem {
	problem, _ := errors.AsType[*acme.Problem](err)
	return problem
}
