package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"certd/acme"
	"certd/config"
	"certd/issue"
	"certd/limit"
	"certd/plan"
	"certd/state"
)

// A heldError is that a CA was not asked: its limits, as far as we keep them, or
// its faults do not allow it now. It comes wrapped in a *acme.Problem of class wait.
type heldError struct {
	by string // as in plan.Action.Limit
}

func (e *heldError) Error() string { return "held back: " + e.by }

// isHeld reports whether err is that the CA was not asked.
func isHeld(err error) bool {
	_, ok := errors.AsType[*heldError](err)
	return ok
}

// A ledger keeps the book of limits during a shift, and on disk.
type ledger struct {
	store  *state.Store
	forced bool // somebody forces this pass: broken CAs are tried

	mu     sync.Mutex // guards the fields below
	book   *limit.Book
	entry  int                      // number of the last change
	trials map[string]chan struct{} // by directory: closed when one target has tried whether the CA works again

	saving sync.Mutex // guards saved, and is held while the book is written
	saved  int        // number of the last change that is on disk
}

// loadBook reads the book of limits. One that cannot be read is begun anew, and
// the error says so.
func loadBook(store *state.Store) (*limit.Book, error) {
	data, err := store.LoadLimits()
	if err != nil || data == nil {
		return &limit.Book{}, err
	}
	book, err := limit.Decode(data)
	if err != nil {
		return &limit.Book{}, fmt.Errorf("%s: %w; the next run begins a new one", store.Path("limits.json"), err)
	}
	return book, nil
}

func newLedger(o Options, view *View) *ledger {
	l := &ledger{store: o.Store, forced: o.Force, book: view.Limits, trials: make(map[string]chan struct{})}
	l.book.Prune(time.Now())
	return l
}

// trialTime is about how long a target may take to find out whether a CA works.
const trialTime = 15 * time.Minute

// trialLook is how often a target that waits for what comes of a trial looks whether
// it still has time to.
const trialLook = time.Minute

// enter returns once the CA may be asked, and else why it may not: it does not
// work. After a time out of order one target tries whether it works again, and
// the others wait for what comes of it, but for those whose certificate could expire
// meanwhile. leave must be called when the target is
// done with the CA, and judge before.
func (l *ledger) enter(ctx context.Context, a plan.Action, ca config.CA) (leave func(), err error) {
	for {
		l.mu.Lock()
		now := time.Now()
		if until := l.book.Open(ca.Directory, now); !until.IsZero() && !l.forced && !a.TriesBefore(until, now) {
			l.mu.Unlock()
			return nil, held(ca, plan.Breaker, "the CA does not work", until)
		}
		running := l.trials[ca.Directory]
		if running == nil {
			break
		}
		if a.TriesBefore(now.Add(trialTime), now) {
			l.mu.Unlock()
			return func() {}, nil
		}
		l.mu.Unlock()
		look := time.NewTimer(trialLook)
		select {
		case <-running:
		case <-look.C: // by now its certificate may be about to expire
		case <-ctx.Done():
		}
		if look.Stop(); ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	defer l.mu.Unlock()
	if !l.book.HalfOpen(ca.Directory, time.Now()) {
		return func() {}, nil
	}
	trial := make(chan struct{})
	l.trials[ca.Directory] = trial
	over := sync.OnceFunc(func() {
		l.mu.Lock()
		delete(l.trials, ca.Directory)
		l.mu.Unlock()
		close(trial)
	})
	late := time.AfterFunc(trialTime, over) // by then it waits for something else than the CA
	return func() { late.Stop(); over() }, nil
}

// held is the problem of a CA that is not asked.
func held(ca config.CA, by, why string, until time.Time) error {
	return &acme.Problem{CA: ca.Name, Operation: "order", Class: acme.ClassWait, RetryAt: until.UTC(),
		Detail: "not asked: " + why, Err: &heldError{by}}
}

// judge notes whether the CA works, going by how an attempt ended.
func (l *ledger) judge(ctx context.Context, ca config.CA, err error) {
	problem := problemOf(err)
	blame := issue.BlameOf(err)
	switch {
	case isHeld(err): // it was not asked
	case blame == issue.BlameCA && ctx.Err() == nil:
		var until time.Time
		if problem.Class == acme.ClassWait && !problem.RetryGuess {
			until = problem.RetryAt
		}
		l.change(func(now time.Time) { l.book.Fault(ca.Directory, now, until) })
	case err == nil, blame != issue.BlameCA && problem != nil && problem.Status != 0:
		l.mu.Lock()
		faulty := l.book.Faulty(ca.Directory)
		l.mu.Unlock()
		if faulty {
			l.change(func(now time.Time) { l.book.Good(ca.Directory, now) })
		}
	}
}

// admit takes the tokens of a newOrder that is about to be sent, and returns once
// they are on disk; or it says until when the target has to wait. That the book
// cannot be kept holds up no order: flush tells of it.
func (l *ledger) admit(a plan.Action, ask limit.Ask) error {
	l.mu.Lock()
	now := time.Now()
	at, by := l.book.Next(ask, now)
	if !at.IsZero() && !a.MayExceed(at, by) {
		l.mu.Unlock()
		return held(ask.CA, by, "its limit "+by, at)
	}
	if len(limit.For(ask.CA)) == 0 {
		l.mu.Unlock()
		return nil
	}
	l.book.Take(ask, now)
	l.entry++
	entry := l.entry
	l.mu.Unlock()
	_ = l.write(entry)
	return nil
}

// closings counts the orders that end without a certificate, or never began,
// and were not finalized.
type closings struct {
	issue.Journal
	n atomic.Int32
}

// CloseOrder implements issue.Journal.
func (c *closings) CloseOrder(o acme.OpenOrder) error {
	if o.KeyID == "" {
		c.n.Add(1)
	}
	return c.Journal.CloseOrder(o)
}

// returned gives the tokens of so many orders back that came to nothing.
func (l *ledger) returned(ask limit.Ask, n int) {
	for range n {
		l.change(func(now time.Time) { l.book.Returned(ask, now) })
	}
}

// settle notes what a CA's limits make of an attempt that failed after newOrder
// was admitted, or was refused. A refusal that names no time stands for an hour,
// if the target's certificate lasts long enough for that.
func (l *ledger) settle(a plan.Action, ask limit.Ask, err error) {
	problem := problemOf(err)
	switch {
	case issue.BlameOf(err) == issue.BlameLimit:
		l.change(func(now time.Time) {
			if !problem.RetryGuess || !a.TriesBefore(problem.RetryAt, now) {
				l.book.Refused(ask, problem.RetryAt, now)
			}
		})
	case acme.ClassOf(err) == acme.ClassName:
		l.change(func(now time.Time) {
			for _, name := range failedNames(err) {
				l.book.Failed(ask, name, now)
			}
		})
	}
}

// failedNames are the names whose authorization the CA found to be invalid.
func failedNames(err error) []string {
	var names []string
	for _, p := range problems(err) {
		if p.CA != "" && p.Class == acme.ClassName && (p.Operation == "authz" || p.Operation == "challenge") && p.Identifier.Value != "" {
			names = append(names, p.Identifier.Value)
		}
	}
	return names
}

// problems returns every *acme.Problem in err.
func problems(err error) []*acme.Problem {
	switch e := err.(type) {
	case nil:
		return nil
	case *acme.Problem:
		return []*acme.Problem{e}
	case interface{ Unwrap() error }:
		return problems(e.Unwrap())
	case interface{ Unwrap() []error }:
		var out []*acme.Problem
		for _, inner := range e.Unwrap() {
			out = append(out, problems(inner)...)
		}
		return out
	}
	return nil
}

// change changes the book; it is written with the next admission or at the end.
func (l *ledger) change(do func(now time.Time)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do(time.Now())
	l.entry++
}

// write makes the book durable, at least up to that entry. Targets that come
// while it is being written are written together after that.
func (l *ledger) write(entry int) error {
	l.saving.Lock()
	defer l.saving.Unlock()
	if l.saved >= entry {
		return nil
	}
	l.mu.Lock()
	last := l.entry
	data, err := l.book.Encode()
	l.mu.Unlock()
	if err == nil {
		err = l.store.SaveLimits(data)
	}
	if err != nil {
		return err
	}
	l.saved = last
	return nil
}

// copy is the book as it is now.
func (l *ledger) copy() *limit.Book {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book.Prune(time.Now())
	return l.book.Clone()
}

// flush writes what has changed since.
func (l *ledger) flush() error {
	l.mu.Lock()
	last := l.entry
	l.mu.Unlock()
	return l.write(last)
}
