package plan

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"certd/acme"
)

func TestNextAttempt(t *testing.T) {
	t.Parallel()
	const m, h = time.Minute, time.Hour
	for class, want := range map[acme.Class][]time.Duration{
		acme.ClassTransient: {1 * m, 2 * m, 5 * m, 15 * m, 60 * m, 3 * h, 6 * h, 6 * h, 6 * h},
		acme.ClassName:      {1 * m, 10 * m, 100 * m, 24 * h, 24 * h},
		acme.ClassOperator:  {1 * h, 6 * h, 24 * h, 24 * h},
		acme.ClassWait:      {1 * h, 1 * h, 1 * h},
		acme.Class(""):      {1 * m, 2 * m, 5 * m},
		acme.Class("other"): {1 * m, 2 * m, 5 * m},
	} {
		for i, pause := range want {
			if got := NextAttempt(class, i+1, noon(), time.Time{}, 0, 0).Sub(noon()); got != pause {
				t.Errorf("class %q, failure %d: tried again after %v, want %v", class, i+1, got, pause)
			}
		}
	}
}

func TestNextAttemptRetryAt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		class    acme.Class
		failures int
		retry    time.Duration
		want     time.Duration
	}{
		{acme.ClassWait, 1, 90 * time.Minute, 90 * time.Minute},
		{acme.ClassWait, 50, 30 * time.Second, 30 * time.Second},
		{acme.ClassWait, 1, 0, time.Second},
		{acme.ClassWait, 1, -time.Hour, time.Second},
		{acme.ClassWait, 1, 100 * day, day},
		{acme.ClassWait, 1, math.MaxInt64, day},
		{acme.ClassTransient, 1, 10 * time.Minute, 10 * time.Minute},
		{acme.ClassTransient, 5, 10 * time.Minute, time.Hour},
		{acme.ClassTransient, 1, time.Second, time.Minute},
		{acme.ClassName, 1, 3 * day, day},
		{acme.ClassOperator, 0, time.Second, time.Hour},
		{acme.ClassTransient, -5, -day, time.Minute},
		{acme.ClassTransient, math.MaxInt, time.Second, 6 * time.Hour},
	} {
		if got := NextAttempt(tt.class, tt.failures, noon(), noon().Add(tt.retry), 0, 0).Sub(noon()); got != tt.want {
			t.Errorf("class %q, failure %d, CA says %v: tried again after %v, want %v", tt.class, tt.failures, tt.retry, got, tt.want)
		}
	}
}

// TestNextAttemptLifetime has certificates that would expire while we are
// patient.
func TestNextAttemptLifetime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		class    acme.Class
		lifetime time.Duration
		retry    time.Duration // 0: the CA names no time
		want     time.Duration
	}{
		{acme.ClassTransient, 90 * day, 0, 6 * time.Hour},
		{acme.ClassTransient, 160 * time.Hour, 0, 6 * time.Hour},
		{acme.ClassTransient, 20 * time.Hour, 0, time.Hour},
		{acme.ClassTransient, 10 * time.Minute, 0, time.Minute},
		{acme.ClassTransient, 20 * time.Hour, 3 * time.Hour, 3 * time.Hour},
		{acme.ClassTransient, -day, 0, 6 * time.Hour},
		{acme.ClassName, 90 * day, 0, day},
		{acme.ClassName, 160 * time.Hour, 0, 8 * time.Hour},
		{acme.ClassOperator, 160 * time.Hour, 0, 8 * time.Hour},
		{acme.ClassWait, 20 * time.Hour, 5 * time.Hour, 5 * time.Hour},
		{acme.ClassWait, 90 * day, 0, time.Hour},
		{acme.ClassWait, 10 * time.Minute, 0, time.Minute},
	} {
		var retryAt time.Time
		if tt.retry > 0 {
			retryAt = noon().Add(tt.retry)
		}
		if got := NextAttempt(tt.class, 99, noon(), retryAt, tt.lifetime, 0).Sub(noon()); got != tt.want {
			t.Errorf("class %q, lifetime %v, CA says %v: tried again after %v, want %v", tt.class, tt.lifetime, tt.retry, got, tt.want)
		}
	}
}

func TestNextAttemptSpread(t *testing.T) {
	t.Parallel()
	seen := map[time.Time]bool{}
	for spread := range uint64(2000) {
		got := NextAttempt(acme.ClassTransient, 5, noon(), time.Time{}, 0, spread)
		if d := got.Sub(noon()); d < time.Hour || d > 66*time.Minute {
			t.Errorf("spread %d: tried again after %v, want 60 to 66 minutes", spread, d)
		}
		if again := NextAttempt(acme.ClassTransient, 5, noon(), time.Time{}, 0, spread); !again.Equal(got) {
			t.Errorf("spread %d: got %v, then %v", spread, got, again)
		}
		seen[got] = true
	}
	if len(seen) < 1000 {
		t.Errorf("2000 spreads gave only %d times", len(seen))
	}
	if got := NextAttempt(acme.ClassName, 9, noon(), time.Time{}, 0, math.MaxUint64); got.Sub(noon()) > day {
		t.Errorf("a daily attempt is spread beyond a day: %v", got.Sub(noon()))
	}
}

// TestTenYearsOfFailure simulates a target that never succeeds.
func TestTenYearsOfFailure(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	classes := []acme.Class{acme.ClassTransient, acme.ClassName, acme.ClassOperator, acme.ClassWait}
	for round := range 40 {
		now, failures, firstDay := noon(), 0, 0
		for end := now.AddDate(10, 0, 0); now.Before(end); {
			class := classes[round%4]
			if round >= 20 {
				class = classes[rng.IntN(3)] // anything but a CA that names times
			}
			failures++
			next := NextAttempt(class, failures, now, time.Time{}, 0, rng.Uint64())
			pause := next.Sub(now)
			if pause < time.Minute || pause > day {
				t.Fatalf("class %q, failure %d: tried again after %v", class, failures, pause)
			}
			if now = next; now.Sub(noon()) <= day {
				firstDay++
			}
		}
		if firstDay > 40 {
			t.Errorf("round %d: %d attempts in the first day, want at most 40", round, firstDay)
		}
	}
}

func FuzzNextAttempt(f *testing.F) {
	f.Add("wait", 3, int64(0), int64(math.MaxInt64), uint64(7))
	f.Add("name", math.MaxInt, int64(1e9), int64(-1), uint64(math.MaxUint64))
	f.Fuzz(func(t *testing.T, class string, failures int, now, retry int64, spread uint64) {
		at := time.Unix(now%1e11, 0)
		pause := NextAttempt(acme.Class(class), failures, at, time.Unix(retry, 0), 0, spread).Sub(at)
		if pause < time.Second || pause > day || (class != "wait" && pause < time.Minute) {
			t.Errorf("class %q, failure %d: tried again after %v", class, failures, pause)
		}
	})
}
