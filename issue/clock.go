package issue

import (
	"context"
	"sync"
	"time"
)

// A clock is a context that ends after a time, as one of context.WithTimeout does,
// but for the time during which it stands still: that somebody's name servers are
// slow says nothing of the CA. Its own deadline moves, so Deadline is its parent's.
type clock struct {
	value    func(key any) any
	deadline func() (time.Time, bool)
	done     chan struct{}

	mu     sync.Mutex
	timer  *time.Timer
	end    time.Time     // when the time is up, if the clock does not stand still
	spare  time.Duration // for how long it may still do so
	stands int           // calls of stop without their goOn
	since  time.Time     // of the first of them
	until  time.Time     // when it goes on by itself
	err    error
}

// newClock returns a clock of parent that runs for limit, and stands still for
// spare at most.
func newClock(parent context.Context, limit, spare time.Duration) (c *clock, cancel func()) {
	c = &clock{value: parent.Value, deadline: parent.Deadline, done: make(chan struct{}), end: time.Now().Add(limit), spare: spare}
	c.mu.Lock()
	c.timer = time.AfterFunc(limit, func() { c.finish(context.DeadlineExceeded) })
	c.mu.Unlock()
	forget := context.AfterFunc(parent, func() { c.finish(parent.Err()) })
	return c, func() { forget(); c.finish(context.Canceled) }
}

func (c *clock) finish(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		c.timer.Stop()
		close(c.done)
	}
}

// Value is the parent's.
func (c *clock) Value(key any) any { return c.value(key) }

// Deadline is the parent's: it is there in any case.
func (c *clock) Deadline() (time.Time, bool) { return c.deadline() }

// Done is closed when the time is up, or the parent has ended.
func (c *clock) Done() <-chan struct{} { return c.done }

// Err is nil until then.
func (c *clock) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// stop has the clock stand still until goOn was called as often as stop, for the
// longest of their times at most.
func (c *clock) stop(most time.Duration) (goOn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.stands++; c.stands == 1 {
		c.since, c.until = now, now
	}
	if until := now.Add(most); until.After(c.until) {
		c.until = until
	}
	c.set(c.end.Add(min(c.until.Sub(c.since), c.spare)))
	return sync.OnceFunc(c.goOn)
}

func (c *clock) goOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stands--; c.stands > 0 {
		return
	}
	stood := min(time.Since(c.since), c.until.Sub(c.since), c.spare)
	c.spare -= stood
	c.end = c.end.Add(stood)
	c.set(c.end)
}

func (c *clock) set(end time.Time) {
	if c.err == nil {
		c.timer.Reset(time.Until(end))
	}
}
