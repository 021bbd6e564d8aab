package limit

import "time"

// tolerated is after how many faults in a row a CA's breaker opens.
const tolerated = 3

// A breaker keeps from asking a CA that does not work. The zero value is
// closed.
type breaker struct {
	Faults int       `json:"faults"`         // in a row
	Opened int       `json:"opened"`         // how often it opened since the CA worked
	Last   time.Time `json:"last"`           // the last fault
	Until  time.Time `json:"until,omitzero"` // when the CA may be tried again
}

// Fault notes that a CA did not work: it could not be reached, or answered
// with an error of its own. until is when the CA said it would work again, zero
// if it did not. The breaker opens after three faults in a row, or at once if
// the CA named a time: until that, or for 1, 5, 15 and then each time 60
// minutes. Then one more fault opens it again. What is reported while it is
// open comes from requests that were under way, and opens it no longer unless
// the CA names a later time.
func (b *Book) Fault(directory string, now, until time.Time) {
	c := b.change(directory, now)
	br := c.breaker
	if now.Sub(br.Last).Abs() > maxWait {
		br = breaker{}
	}
	open := br.until(now).After(now)
	br.Last = now.UTC()
	br.Faults = min(br.Faults+1, tolerated)
	switch {
	case until.After(now):
		if !open {
			br.Opened++
		}
		br.Until = later(clamp(until, now, now.Add(maxWait)), br.until(now)).UTC()
	case !open && br.Faults >= tolerated:
		pauses := []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour}
		br.Until = now.Add(pauses[min(max(br.Opened, 0), len(pauses)-1)]).UTC()
		br.Opened++
	}
	br.Opened = min(br.Opened, 1000)
	c.breaker = br
	b.bound(now)
}

// Good notes that a CA worked, which closes its breaker.
func (b *Book) Good(directory string, now time.Time) {
	if c := b.find(directory); c != nil && c.breaker != (breaker{}) {
		b.change(directory, now).breaker = breaker{}
	}
}

// Open returns until when a CA is better not asked; the zero time if its
// breaker is closed. Once that time has come the CA may be tried.
func (b *Book) Open(directory string, now time.Time) (until time.Time) {
	if c := b.find(directory); c != nil {
		if until = c.breaker.until(now); until.After(now) {
			return until
		}
	}
	return time.Time{}
}

// Faulty reports whether a CA had a fault since it last worked.
func (b *Book) Faulty(directory string) bool {
	c := b.find(directory)
	return c != nil && c.breaker != (breaker{})
}

// HalfOpen reports whether a CA that did not work may be tried again, and nobody
// knows yet whether it works: one request is enough to find out.
func (b *Book) HalfOpen(directory string, now time.Time) bool {
	c := b.find(directory)
	return c != nil && c.breaker.Opened > 0 && !c.breaker.until(now).After(now)
}

// until is when the CA may be tried again, as far as that can be believed: a
// clock that was far ahead may have left anything.
func (br breaker) until(now time.Time) time.Time {
	if br.Until.After(now.Add(2 * maxWait)) {
		return time.Time{}
	}
	return br.Until
}
