package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/robfig/cron/v3"

	"certd/plan"
	"certd/state"
)

const (
	day = 24 * time.Hour

	// retryPause is the least time between two passes for the same thing that
	// did not work and whose failure could not be kept on disk.
	retryPause = time.Minute

	// breath is the least time between two passes.
	breath = time.Second

	// pollPause is the wait before a CA is asked for renewal information that the
	// pass did not get to ask for.
	pollPause = 5 * time.Minute

	// lockPause is the wait after another certd kept the lock for lockWait.
	lockPause = 10 * time.Second
)

// wakeUp returns the exact time of the next pass after one that ended at end:
// the earliest at which a target is to be renewed or tried again, or a hook
// event delivered. What is due already and was just tried has to wait.
func wakeUp(out outcome, end time.Time) time.Time {
	if _, locked := errors.AsType[*state.LockedError](out.err); locked {
		return end.Add(lockPause)
	}
	if out.err != nil || out.view == nil {
		return end.Add(retryPause)
	}
	tried := make(map[string]bool)
	for _, r := range out.report.Results {
		tried[r.Action.Target] = r.Outcome == Failed
	}
	var next time.Time
	consider := func(at time.Time, tried bool) {
		switch {
		case at.After(end):
		case tried:
			at = end.Add(retryPause)
		default:
			at = end.Add(breath)
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	in := out.view.input(nil, false)
	actions := plan.Compute(in)
	for _, a := range actions {
		consider(a.At, tried[a.Target])
	}
	for _, poll := range plan.Polls(in, actions) {
		if !poll.At.After(end) { // its CA fails, or there were too many of them
			poll.Wake = end.Add(pollPause)
		}
		consider(poll.Wake, false)
	}
	for _, e := range out.view.Snapshot.Pending {
		consider(e.NextAttempt, true)
	}
	if out.view.again {
		consider(end, false)
	}
	return next
}

// upcoming returns when the first thing comes due that the pass, which is at its
// targets now, has not planned to do. actions are all that it has planned; zero
// means nothing. An event may wait until the pass is done with its targets.
func (p *pass) upcoming(actions []plan.Action) time.Time {
	now := time.Now()
	var next time.Time
	consider := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	for _, a := range actions {
		if a.Kind != plan.Order && a.Kind != plan.Resume && a.At.After(now) {
			consider(a.At)
		}
	}
	for _, poll := range plan.Polls(p.view.input(nil, false), actions) {
		if poll.Wake.After(now) {
			consider(poll.Wake)
		}
	}
	p.shift.mu.Lock()
	defer p.shift.mu.Unlock()
	for _, e := range p.pending {
		consider(later(e.event.NextAttempt, now))
	}
	if p.view.again {
		consider(now)
	}
	return next
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// A ticker is the cron schedule, running.
type ticker struct {
	cron   *cron.Cron
	cancel context.CancelFunc
}

// newTicker checks the schedule and starts nothing yet. Each tick asks the loop
// for a pass and waits for its end, so that one that takes longer than the
// schedule's interval is not followed by a queue of others.
func newTicker(ctx context.Context, spec string, jitter time.Duration, ticks chan<- chan<- struct{}, log *slog.Logger) (*ticker, error) {
	schedule, err := parseSchedule(spec, jitter)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	logger := cronLogger{log}
	c := cron.New(cron.WithLogger(logger), cron.WithChain(cron.SkipIfStillRunning(logger), cron.Recover(logger)))
	c.Schedule(schedule, cron.FuncJob(func() {
		ran := make(chan struct{})
		select {
		case ticks <- ran:
		case <-ctx.Done():
			return
		}
		select {
		case <-ran:
		case <-ctx.Done():
		}
	}))
	return &ticker{c, cancel}, nil
}

func (t *ticker) start() { t.cron.Start() }

// close stops the schedule and joins its goroutines.
func (t *ticker) close() {
	t.cancel()
	<-t.cron.Stop().Done()
}

// next is when the schedule ticks next; zero if it has not been started.
func (t *ticker) next() time.Time {
	for _, e := range t.cron.Entries() {
		return e.Next
	}
	return time.Time{}
}

// parseSchedule reads the settings schedule and jitter.
func parseSchedule(spec string, jitter time.Duration) (cron.Schedule, error) {
	s, err := cron.ParseStandard(spec)
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("conf/certd.yaml: schedule %q: %w", spec, err)}
	}
	if s.Next(time.Now()).IsZero() {
		return nil, &ConfigError{fmt.Errorf("conf/certd.yaml: schedule %q never comes; is there such a day?", spec)}
	}
	return jittered{s, jitter}, nil
}

// jittered moves each tick later by a random time, so that machines with one
// configuration do not ask the CA at once: by at most most, and by at most half
// of the time to the tick after it.
type jittered struct {
	cron.Schedule
	most time.Duration
}

// Next returns the tick after t.
func (j jittered) Next(t time.Time) time.Time {
	next := j.Schedule.Next(t)
	if next.IsZero() {
		return next
	}
	most := j.most
	if after := j.Schedule.Next(next); !after.IsZero() {
		most = min(most, after.Sub(next)/2)
	}
	if most <= 0 {
		return next
	}
	return next.Add(rand.N(most))
}

// cronLogger passes on what the cron library says.
type cronLogger struct{ log *slog.Logger }

// Info is what it does all the time.
func (c cronLogger) Info(msg string, keysAndValues ...any) {
	c.log.Debug("schedule: "+msg, keysAndValues...)
}

// Error is a panic in a job.
func (c cronLogger) Error(err error, msg string, keysAndValues ...any) {
	c.log.Error("schedule: "+msg, append(keysAndValues, "err", err.Error())...)
}
