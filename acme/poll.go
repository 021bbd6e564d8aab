package acme

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// How a CA is polled for orders and authorizations (RFC 8555 §7.5.1).
const (
	maxPolls  = 60
	firstPoll = 100 * time.Millisecond // wait without Retry-After, doubled each time
	slowPoll  = 5 * time.Second        // up to this
	minPoll   = time.Second            // bounds of the CA's Retry-After
	maxPoll   = 30 * time.Second

	// Without Retry-After the first look comes after what the CA may have needed:
	// some times as long as its answer took, and at least and at most this.
	answersToWork = 15
	leastWork     = 40 * time.Millisecond
	mostWork      = time.Second
)

// WaitOrder reads the order at url again and again until done says so. It gives
// up after 60 reads or when ctx ends; the order may be taken up again later. An
// order that became invalid is an error, with the CA's reason.
func (c *Client) WaitOrder(ctx context.Context, url string, done func(*Order) bool) (*Order, error) {
	var order *Order
	err := c.poll(ctx, request{name: "order", op: "order"}, func() (*answer, error) {
		o, a, err := c.order(ctx, url)
		if err != nil {
			return nil, err
		}
		before := order
		order = o
		if before != nil {
			if err := before.mayBecome(o); err != nil {
				return nil, nonsense(err)
			}
		}
		switch {
		case o.Status == StatusInvalid:
			return nil, o.failure()
		case done(o):
			return nil, nil
		case o.Status == StatusValid:
			return nil, nonsense(errors.New("the order is valid already, and will not change"))
		}
		return a, nil
	})
	if err != nil {
		return nil, err
	}
	return order, nil
}

// mayBecome returns an error if an order like o cannot become next: orders only
// go forward, pending - ready - processing - valid, or to invalid (RFC 8555 §7.1.6).
func (o *Order) mayBecome(next *Order) error {
	rank := map[Status]int{StatusPending: 0, StatusReady: 1, StatusProcessing: 2, StatusValid: 3, StatusInvalid: 4}
	if rank[next.Status] < rank[o.Status] {
		return fmt.Errorf("the order went back from %s to %s", o.Status, next.Status)
	}
	return sameIdentifiers(next.Identifiers, o.Identifiers)
}

// ErrPendingAgain reports a challenge that failed and yet is pending: it may be
// answered once more (RFC 8555 §8.2; some CAs never make it invalid).
var ErrPendingAgain = errors.New("the challenge failed and may be answered again")

// WaitAuthorization reads the authorization at url until it is valid, at most 60
// times. One that can no longer become valid is an error, which names the
// identifier and carries the CA's reason.
func (c *Client) WaitAuthorization(ctx context.Context, url string) (*Authorization, error) {
	return c.WaitChallenge(ctx, url, Challenge{})
}

// WaitChallenge is WaitAuthorization after an Answer to ch, which is one of the
// authorization's. If it is pending with an error, the error carries the CA's
// reason as well and wraps ErrPendingAgain. Beside an error, the authorization is
// returned if it is what the error is about.
func (c *Client) WaitChallenge(ctx context.Context, url string, ch Challenge) (*Authorization, error) {
	var judged *Authorization
	err := c.poll(ctx, request{name: "authorization", op: "authz"}, func() (*answer, error) {
		z, a, err := c.authorization(ctx, url)
		if err != nil {
			return nil, err
		}
		var failed *Problem
		switch z.Status {
		case StatusValid:
		case StatusPending:
			if failed = z.pendingAgain(ch.URL); failed == nil {
				return a, nil
			}
		default:
			failed = z.failure()
		}
		judged = z
		if failed != nil {
			return nil, failed
		}
		return nil, nil
	})
	return judged, err
}

// poll calls get until it returns no answer to wait on. The error is a *Problem.
func (c *Client) poll(ctx context.Context, r request, get func() (*answer, error)) error {
	start := time.Now()
	pause := firstPoll
	for look := range maxPolls {
		a, err := get()
		if err != nil {
			return c.problem(r, nil, err)
		}
		if a == nil {
			c.pace.learn(look > 0)
			return nil
		}
		wait, given := a.pollAfter()
		if !given {
			wait, pause = pause, min(2*pause, slowPoll)
		}
		if err := sleep(ctx, wait); err != nil {
			return c.problem(r, nil, err)
		}
	}
	return c.problem(r, nil, nonsense(fmt.Errorf("still not done after %d polls in %v; it is looked at again later",
		maxPolls, time.Since(start).Round(time.Second))))
}

// pollAfter is how long the answer wants us to wait; false if it does not say.
func (a *answer) pollAfter() (time.Duration, bool) {
	wait, given := retryAfter(a.header, a.date())
	return min(max(wait, minPoll), maxPoll), given
}

// pollAt is when that is over; zero if the answer does not say.
func (a *answer) pollAt() time.Time {
	wait, given := a.pollAfter()
	if !given {
		return time.Time{}
	}
	return a.at.Add(wait).UTC()
}

// lookAt is pollAt for an answer that has set the CA to work: without its word,
// when that is probably done. A look that comes too early is a request for nothing.
func (c *Client) lookAt(a *answer) time.Time {
	if at := a.pollAt(); !at.IsZero() {
		return at
	}
	usual := max(answersToWork*a.took, leastWork)
	return a.at.Add(min(time.Duration(float64(usual)*c.pace.factor()), mostWork)).UTC()
}

// A pace is how many times as long as usual a CA works, as far as was seen; at
// least once. The zero value has seen nothing.
type pace struct {
	mu   sync.Mutex
	more float64 // guarded by mu
}

func (p *pace) factor() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return 1 + p.more
}

// learn takes up whether the first look came too early.
func (p *pace) learn(early bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if early {
		p.more = min(p.more+0.5, 9)
	} else {
		p.more *= 0.95
	}
}

// nonsense is the error of answers that are proper each by itself.
func nonsense(err error) *Problem {
	return &Problem{Class: ClassTransient, Status: http.StatusOK, Err: err}
}

// sleep waits for d or until ctx ends, whose error it then returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
