package metrics

import "time"

const (
	maxRoundTrip = 5 * time.Second  // slower answers say too little
	maxStep      = time.Second      // of the wall clock against the monotonic one
	clockWindow  = 10 * time.Minute // after which the clock is measured anew
)

// A clock measures this machine's clock by the Date headers of CAs. An answer
// with Date D that was asked for at t0 and there at t2 bounds local time minus
// the CA's by (t0-D-1s, t2-D), as Date has whole seconds, truncated. The bounds
// of many answers are intersected.
type clock struct {
	low, high time.Duration
	since     time.Time // of the first answer in the bounds; zero means none yet
	last      time.Time // of the last exchange, with the monotonic clock
}

// add takes an exchange. It reports whether the wall clock was stepped since the
// last one, and whether there is a new estimate.
func (c *clock) add(e Exchange) (stepped, measured bool) {
	stepped = step(c.last, e.Received)
	within := step(e.Sent, e.Received)
	c.last = e.Received
	if stepped || within {
		c.since = time.Time{}
	}
	trip := e.Received.Sub(e.Sent)
	if within || e.Date.IsZero() || trip > maxRoundTrip || trip < 0 {
		return stepped, false
	}
	// Wall clock readings on purpose: Round(0) takes the monotonic one away.
	low := e.Sent.Round(0).Sub(e.Date) - time.Second
	high := e.Received.Round(0).Sub(e.Date)
	switch {
	case c.since.IsZero() || e.Received.Sub(c.since) > clockWindow:
		c.low, c.high, c.since = low, high, e.Received
	case low > c.high || high < c.low: // clocks that disagree: all we know is that it lies between
		c.low, c.high = min(low, c.low), max(high, c.high)
	default:
		c.low, c.high = max(low, c.low), min(high, c.high)
	}
	return stepped, true
}

// estimate is the middle of the bounds and half their width.
func (c *clock) estimate() (offset, uncertainty time.Duration) {
	return c.low + (c.high-c.low)/2, (c.high - c.low) / 2
}

// step reports whether the wall clock went another way than the monotonic one
// between two readings of both.
func step(from, to time.Time) bool {
	if from.IsZero() {
		return false
	}
	return (to.Round(0).Sub(from.Round(0)) - to.Sub(from)).Abs() > maxStep
}
