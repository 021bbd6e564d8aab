package doctor

import (
	"fmt"
	"time"

	"certd/acme"
)

// Bounds of the clock check.
const (
	maxTrip      = 5 * time.Second // slower answers say too little
	clockWarning = 5 * time.Second
	clockFailure = 60 * time.Second
)

// clock says how far this machine's clock is from a CA's. An answer with Date D
// that was asked for at t0 and there at t2 bounds local time minus the CA's by
// (t0-D-1s, t2-D), as Date has whole seconds, truncated; the bounds of several
// answers are intersected. ok is false if no answer told the time.
func clock(exchanges []acme.Exchange) (offset, uncertainty time.Duration, ok bool) {
	var low, high time.Duration
	for _, e := range exchanges {
		if e.Date.IsZero() || e.Cached || e.Took < 0 || e.Took > maxTrip {
			continue
		}
		sent := e.Sent.Round(0) // wall clock: the monotonic one says nothing here
		l, h := sent.Sub(e.Date)-time.Second, sent.Add(e.Took).Sub(e.Date)
		switch {
		case !ok:
			low, high, ok = l, h, true
		case l > high || h < low: // servers that disagree: it lies between
			low, high = min(l, low), max(h, high)
		default:
			low, high = max(l, low), min(h, high)
		}
	}
	return low + (high-low)/2, (high - low) / 2, ok
}

// judgeClock compares what is certain of the offset with the bounds.
func judgeClock(offset, uncertainty time.Duration) (result Result, detail, remedy string) {
	word := "ahead of"
	if offset < 0 {
		word = "behind"
	}
	detail = fmt.Sprintf("%s %s the CA's, ±%s", offset.Abs().Round(10*time.Millisecond), word, uncertainty.Round(10*time.Millisecond))
	remedy = "set the clock, and let a time service (chrony, systemd-timesyncd) keep it right"
	switch certain := offset.Abs() - uncertainty; {
	case certain > clockFailure:
		return Failure, detail, remedy
	case certain > clockWarning:
		return Warning, detail, remedy
	}
	return OK, detail, ""
}
