package issue

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"certd/acme"
)

// The time of a clock is up when it has run for as long as it may, whatever it
// stood still for.
func TestClock(t *testing.T) {
	t.Parallel()
	const limit, spare = 15 * time.Minute, time.Hour
	for _, tt := range []struct {
		about string
		use   func(ctx context.Context, c *clock, cancel func())
		lasts time.Duration
		err   error
	}{
		{"nobody stops it", func(context.Context, *clock, func()) {}, limit, context.DeadlineExceeded},
		{"it stands still for a while", func(_ context.Context, c *clock, _ func()) {
			time.Sleep(time.Minute)
			goOn := c.stop(spare)
			time.Sleep(40 * time.Minute)
			goOn()
			goOn()
		}, limit + 40*time.Minute, context.DeadlineExceeded},
		{"several waits at the same time count once", func(_ context.Context, c *clock, _ func()) {
			first, second := c.stop(spare), c.stop(spare)
			time.Sleep(10 * time.Minute)
			first()
			time.Sleep(10 * time.Minute)
			second()
		}, limit + 20*time.Minute, context.DeadlineExceeded},
		{"it stands still for too long", func(_ context.Context, c *clock, _ func()) { c.stop(2 * spare) }, limit + spare, context.DeadlineExceeded},
		{"it stands still for longer than was said", func(_ context.Context, c *clock, _ func()) {
			goOn, other := c.stop(time.Minute), c.stop(5*time.Minute)
			time.Sleep(10 * time.Minute)
			goOn()
			other()
		}, limit + 5*time.Minute, context.DeadlineExceeded},
		{"nobody ever says that it may go on", func(_ context.Context, c *clock, _ func()) {
			time.Sleep(time.Minute)
			c.stop(5 * time.Minute)
		}, limit + 5*time.Minute, context.DeadlineExceeded},
		{"it does so in two parts", func(_ context.Context, c *clock, _ func()) {
			for range 2 {
				goOn := c.stop(spare)
				time.Sleep(spare/2 + time.Minute)
				goOn()
			}
		}, limit + spare, context.DeadlineExceeded},
		{"it stands still after its time", func(_ context.Context, c *clock, _ func()) {
			time.Sleep(limit + time.Second)
			c.stop(spare)()
		}, limit, context.DeadlineExceeded},
		{"the parent is canceled while it stands still", func(ctx context.Context, c *clock, _ func()) {
			c.stop(spare)
			<-ctx.Done()
		}, 2 * time.Hour, nil},
		{"it is canceled", func(_ context.Context, _ *clock, cancel func()) { cancel() }, 0, context.Canceled},
	} {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, stop := context.WithTimeout(t.Context(), 10*time.Hour)
				defer stop()
				if tt.err == nil {
					time.AfterFunc(30*time.Minute, stop)
					tt.lasts, tt.err = 30*time.Minute, context.Canceled
				}
				begun := time.Now()
				c, cancel := newClock(parent, limit, spare)
				defer cancel()
				child, done := context.WithTimeout(c, 5*time.Hour)
				defer done()
				over := make(chan time.Duration)
				go func() {
					<-child.Done()
					over <- time.Since(begun)
				}()
				go tt.use(parent, c, cancel)
				if lasted := <-over; lasted != tt.lasts {
					t.Errorf("it lasted %v, want %v", lasted, tt.lasts)
				}
				if !errors.Is(c.Err(), tt.err) || !errors.Is(child.Err(), tt.err) {
					t.Errorf("the errors are %v and, of what depends on it, %v, want %v", c.Err(), child.Err(), tt.err)
				}
				time.Sleep(2 * time.Hour) // until use is back
			})
		})
	}
}

// A slow solver waits as long as it says.
type slow struct {
	*solver
	patience time.Duration
}

func (s slow) Patience(acme.Challenge) time.Duration { return s.patience }

// Answers that take the whole hour to be seen leave their order as much time as
// others have, and show that they are still looked for.
func TestLongWaitIsNotCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, cancel := newClock(t.Context(), defaultTimeout, waitTime)
		defer cancel()
		said := time.Now()
		r := &run{Issuer: &Issuer{Progress: func(s Step) {
			if silent := time.Since(said); silent > waitSteps || s.Step != "self-test" {
				t.Errorf("step %q after %v, want self-test at least every %v", s.Step, silent, waitSteps)
			}
			said = time.Now()
		}}, standStill: c.stop}
		var proofs []*proof
		for n := range 3 {
			s := newSolver()
			s.wait = func(ctx context.Context, _ string) error {
				timer := time.NewTimer(time.Duration(n+1) * 20 * time.Minute)
				defer timer.Stop()
				select {
				case <-timer.C:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			id := acme.NewIdentifier(fmt.Sprintf("n%d.example.com", n))
			proofs = append(proofs, &proof{name: id, authz: &acme.Authorization{Identifier: id}, ch: acme.Challenge{Type: "dns-01"}, solver: slow{s, time.Hour}, pending: true})
		}
		begun := time.Now()
		if err := each(proofs, func(p *proof) error { return r.see(c, p) }); err != nil {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		if silent := time.Since(said); silent > waitSteps {
			t.Errorf("no step in the last %v of the wait", silent)
		}
		<-c.Done()
		if lasted := time.Since(begun); lasted != time.Hour+defaultTimeout {
			t.Errorf("the order had %v, want 75 minutes", lasted)
		}
	})
}
