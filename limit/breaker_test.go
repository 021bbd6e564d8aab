package limit_test

import (
	"testing"
	"time"

	"certd/limit"
)

// open is for how long the breaker of the CA is open.
func open(b *limit.Book, now time.Time) time.Duration {
	if until := b.Open(production, now); !until.IsZero() {
		return until.Sub(now)
	}
	return 0
}

func TestBreakerSteps(t *testing.T) {
	t.Parallel()
	b, now := &limit.Book{}, start()
	for i := range 2 {
		b.Fault(production, now, time.Time{})
		if got := open(b, now); got != 0 {
			t.Errorf("open for %v after %d faults", got, i+1)
		}
	}
	for i, want := range []time.Duration{1, 5, 15, 60, 60, 60} {
		b.Fault(production, now, time.Time{})
		if got := open(b, now); got != want*time.Minute {
			t.Errorf("opened %d times: open for %v, want %v minutes", i+1, got, int(want))
		}
		for range 8 {
			b.Fault(production, now, time.Time{}) // requests that were under way
		}
		if got := open(b, now); got != want*time.Minute {
			t.Errorf("faults while it is open make it %v", got)
		}
		now = now.Add(want * time.Minute)
		if got := open(b, now); got != 0 {
			t.Errorf("no trial after %v minutes: %v more", int(want), got)
		}
	}
	b.Good(production, now)
	b.Fault(production, now, time.Time{})
	b.Fault(production, now, time.Time{})
	if got := open(b, now); got != 0 {
		t.Errorf("open for %v after a success and two faults", got)
	}
	b.Fault(production, now, time.Time{})
	if got := open(b, now); got != time.Minute {
		t.Errorf("open for %v after a success and three faults, want a minute again", got)
	}
	if until := b.Open(staging, now); !until.IsZero() {
		t.Errorf("another CA's breaker is open until %v", until)
	}
}

func TestBreakerRetryAfter(t *testing.T) {
	t.Parallel()
	now := start()
	for _, tt := range []struct {
		what  string
		until time.Duration
		want  time.Duration
	}{
		{"the CA's time opens at once", 7 * time.Minute, 7 * time.Minute},
		{"for a day at most", 300 * day, day},
		{"a time that has passed is none", -time.Minute, 0},
	} {
		b := &limit.Book{}
		b.Fault(production, now, now.Add(tt.until))
		if got := open(b, now); got != tt.want {
			t.Errorf("%s: open for %v, want %v", tt.what, got, tt.want)
		}
	}
	b := &limit.Book{}
	b.Fault(production, now, now.Add(time.Hour))
	b.Fault(production, now, now.Add(time.Minute))
	if got := open(b, now); got != time.Hour {
		t.Errorf("an earlier time makes it %v", got)
	}
	b.Fault(production, now, now.Add(2*time.Hour))
	if got := open(b, now); got != 2*time.Hour {
		t.Errorf("a later time makes it %v, want two hours", got)
	}
}

func TestBreakerForgets(t *testing.T) {
	t.Parallel()
	b, now := &limit.Book{}, start()
	for range 3 {
		b.Fault(production, now, time.Time{})
	}
	now = now.Add(2 * day)
	b.Fault(production, now, time.Time{})
	if got := open(b, now); got != 0 {
		t.Errorf("faults of two days ago count: open for %v", got)
	}
}

// TestHalfOpen: once the time of an open breaker is over it is not known whether
// the CA works, until something tells.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	b, now := &limit.Book{}, start()
	state := func() string {
		switch {
		case !b.Open(production, now).IsZero():
			return "open"
		case b.HalfOpen(production, now):
			return "half open"
		case b.Faulty(production):
			return "faulty"
		}
		return "closed"
	}
	expect := func(when, want string) {
		t.Helper()
		if got := state(); got != want {
			t.Errorf("%s the breaker is %s, want %s", when, got, want)
		}
	}
	expect("at first", "closed")
	b.Fault(production, now, time.Time{})
	expect("after a fault", "faulty")
	b.Fault(production, now, time.Time{})
	b.Fault(production, now, time.Time{})
	expect("after three faults", "open")
	now = now.Add(time.Minute)
	expect("after a minute", "half open")
	b.Fault(production, now, time.Time{})
	expect("after the trial failed", "open")
	now = now.Add(5 * time.Minute)
	b.Good(production, now)
	expect("after the trial succeeded", "closed")
}
