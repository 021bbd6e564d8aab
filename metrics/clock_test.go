package metrics

import (
	"math/rand/v2"
	"testing"
	"time"
)

// asked is an exchange with a CA, by a clock that is ahead of the CA's by
// offset: sent at a moment of the CA's clock, answered after there and back.
func asked(sent time.Time, offset, there, back time.Duration) Exchange {
	return Exchange{Sent: sent.Add(offset), Received: sent.Add(offset + there + back), Date: sent.Add(there).Truncate(time.Second)}
}

// TestClockBounds: the true offset is always within the uncertainty, and more
// answers make that smaller.
func TestClockBounds(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	milliseconds := func(n int) time.Duration { return time.Duration(random.IntN(n)) * time.Millisecond }
	for _, offset := range []time.Duration{0, 4 * time.Second, -4 * time.Second, 61 * time.Second, -24 * time.Hour, time.Since(time.Unix(0, 0))} {
		var c clock
		var widths []time.Duration
		sent := start()
		for range 20 {
			sent = sent.Add(milliseconds(3000))
			if _, measured := c.add(asked(sent, offset, milliseconds(100), milliseconds(100))); !measured {
				t.Fatalf("offset %v: an answer was not used", offset)
			}
			got, uncertainty := c.estimate()
			if (got - offset).Abs() > uncertainty {
				t.Errorf("offset %v: estimated %v ± %v", offset, got, uncertainty)
			}
			widths = append(widths, uncertainty)
		}
		if first, last := widths[0], widths[len(widths)-1]; first > 700*time.Millisecond || last > first/2 {
			t.Errorf("offset %v: the uncertainty went from %v to %v", offset, first, last)
		}
	}
}

// TestClockIgnores: answers that say nothing of the clock.
func TestClockIgnores(t *testing.T) {
	t.Parallel()
	slow := asked(start(), 0, 3*time.Second, 3*time.Second)
	undated := asked(start(), 0, 0, 0)
	undated.Date = time.Time{}
	backwards := asked(start(), 0, 0, -time.Second)
	for what, e := range map[string]Exchange{"a slow answer": slow, "one without Date": undated, "one that came before it was asked for": backwards} {
		var c clock
		if _, measured := c.add(e); measured {
			t.Errorf("%s was used", what)
		}
	}
}

// TestClocksDisagree: two CAs whose clocks differ widen the bounds to hold both.
func TestClocksDisagree(t *testing.T) {
	t.Parallel()
	var c clock
	c.add(asked(start(), 0, time.Millisecond, 0))
	c.add(asked(start().Add(time.Second), 10*time.Second, time.Millisecond, 0))
	got, uncertainty := c.estimate()
	if got-uncertainty > 0 || got+uncertainty < 10*time.Second {
		t.Errorf("estimated %v ± %v, which does not hold 0 s and 10 s", got, uncertainty)
	}
}

// TestClockStartsAnew: old bounds are not held against a clock that has been set
// meanwhile.
func TestClockStartsAnew(t *testing.T) {
	t.Parallel()
	var c clock
	c.add(asked(start(), 0, time.Millisecond, 0))
	c.add(asked(start().Add(clockWindow+time.Second), time.Minute, time.Millisecond, 0))
	if got, uncertainty := c.estimate(); (got - time.Minute).Abs() > uncertainty {
		t.Errorf("estimated %v ± %v after the clock was set by a minute", got, uncertainty)
	}
}

// TestClockSteps: a jump of the wall clock is told by the monotonic one. The
// readings of real clocks agree.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	var c clock
	now := time.Now()
	for range 3 {
		if stepped, measured := c.add(Exchange{Sent: now, Received: time.Now(), Date: now}); stepped || !measured {
			t.Errorf("a quiet clock: stepped %t, measured %t", stepped, measured)
		}
	}
	// A reading without the monotonic clock is compared by the wall clock alone.
	if step(now, now.Add(time.Hour)) || step(time.Time{}, now) {
		t.Error("a step was seen where there is none")
	}
}
