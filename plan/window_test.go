package plan

import (
	"math/rand/v2"
	"testing"
	"time"
)

// noon is the now of most tests.
func noon() time.Time { return time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC) }

func TestRenewAt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		lifetime time.Duration
		margin   int           // days
		left     time.Duration // of the lifetime when it is due
	}{
		{398 * day, 0, 30 * day},
		{90 * day, 0, 30 * day},
		{90 * day, 30, 30 * day},
		{90 * day, 14, 14 * day},
		{90 * day, 60, 30 * day}, // never in the first two thirds
		{64 * day, 0, 64 * day / 3},
		{64 * day, 10, 10 * day},
		{47 * day, 0, 47 * day / 3},
		{45 * day, 0, 15 * day},
		{45 * day, 20, 15 * day},
		{45 * day, 1, 1 * day},
		{10 * day, 0, 10 * day / 3},
		{10*day - time.Second, 0, (10*day - time.Second) / 2},
		{160 * time.Hour, 0, 80 * time.Hour},
		{6 * day, 0, 3 * day},
		{6 * day, 1, 1 * day},
		{6 * day, 5, 3 * day},
		{10 * time.Minute, 0, 5 * time.Minute},
		{10 * time.Minute, 30, 5 * time.Minute},
		{time.Second, 0, time.Second / 2},
		{0, 0, 0},
		{-time.Hour, 5, 0},
		{90 * day, -3, 30 * day},
		{90 * day, 1 << 40, 30 * day},
	} {
		notAfter := noon().Add(tt.lifetime)
		if left := notAfter.Sub(RenewAt(noon(), notAfter, tt.margin)); left != tt.left {
			t.Errorf("lifetime %v, margin %d days: renewed with %v left, want %v", tt.lifetime, tt.margin, left, tt.left)
		}
	}
}

func TestRenewAtFarTimes(t *testing.T) {
	t.Parallel()
	forever := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) // RFC 5280 §4.1.2.5: no well-defined end
	if got := RenewAt(time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), forever, 0); !got.Equal(forever.Add(-30 * day)) {
		t.Errorf("a certificate without end: got %v", got)
	}
	berlin := time.FixedZone("CET", 3600)
	if got := RenewAt(noon().In(berlin), noon().In(berlin).Add(90*day), 0); got.Location() != time.UTC {
		t.Errorf("got a time in %v, want UTC", got.Location())
	}
}

func TestRenewAtProperties(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		lifetime := time.Duration(rng.Int64N(int64(400 * day)))
		margin := rng.IntN(60)
		left := lifetime - RenewAt(noon(), noon().Add(lifetime), margin).Sub(noon())
		switch {
		case left < 0 || left > lifetime/2:
			t.Fatalf("lifetime %v, margin %d: renewed with %v left", lifetime, margin, left)
		case lifetime >= 10*day && left > lifetime/3:
			t.Fatalf("lifetime %v, margin %d: renewed in the first two thirds", lifetime, margin)
		case margin > 0 && left > time.Duration(margin)*day:
			t.Fatalf("lifetime %v, margin %d: renewed %v before the end", lifetime, margin, left)
		}
	}
}
