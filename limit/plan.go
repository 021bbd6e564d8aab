package limit

import (
	"time"

	"certd/config"
)

// A Plan gives each of many requests a moment of its own. It reads the book it
// was made from, changes nothing in it, and is to be thrown away before the
// book changes: what is sent counts by Take.
type Plan struct {
	book     *Book
	reserved map[bucketID]time.Time // when a bucket will be full again
}

// A bucketID is one bucket of one CA.
type bucketID struct{ directory, limit, key string }

// Plan begins to plan. A nil book is an empty one.
func (b *Book) Plan() *Plan { return &Plan{book: b} }

// Next is Book.Next with what was reserved so far counted in.
func (p *Plan) Next(a Ask, now time.Time) (at time.Time, by string) {
	return p.decide(a, now, func(config.Limit, string) {})
}

// Reserve is Next for a request that others follow: it takes the tokens of the
// moment it returns, in the order of the calls.
func (p *Plan) Reserve(a Ask, now time.Time) (at time.Time, by string) {
	var deciding config.Limit
	var key string
	at, by = p.decide(a, now, func(l config.Limit, k string) { deciding, key = l, k })
	switch {
	case deciding.Name != "":
		p.take(a, deciding, key, at) // the others refill until then
	case at.IsZero():
		for _, l := range For(a.CA) {
			if !a.spends(l) {
				continue
			}
			for _, key := range a.keys(l) {
				p.take(a, l, key, now)
			}
		}
	}
	return at, by
}

// decide is Next; decides is called with each limit and key that decided so far.
func (p *Plan) decide(a Ask, now time.Time, decides func(config.Limit, string)) (at time.Time, by string) {
	if c := p.book.find(a.CA.Directory); c != nil {
		if until := c.refused[a.refusal()]; until.After(now) && !until.After(now.Add(2*maxWait)) {
			at, by = until, RateLimited
			decides(config.Limit{}, "")
		}
	}
	for _, l := range For(a.CA) {
		if !a.checks(l) {
			continue
		}
		for _, key := range a.keys(l) {
			full := p.full(a, l, key, now)
			if free := full.Add(interval(l) - size(l)); free.After(now) && free.After(at) {
				at, by = free, l.Name
				decides(l, key)
			}
		}
	}
	return at, by
}

// full is when a bucket will be full again; the zero time if it is.
func (p *Plan) full(a Ask, l config.Limit, key string, now time.Time) time.Time {
	if full, ok := p.reserved[bucketID{a.CA.Directory, l.Name, key}]; ok {
		return full
	}
	if c := p.book.find(a.CA.Directory); c != nil {
		return c.full(l, key, now)
	}
	return time.Time{}
}

// take takes a token of one bucket, at a moment that may be to come.
func (p *Plan) take(a Ask, l config.Limit, key string, at time.Time) {
	if p.reserved == nil {
		p.reserved = map[bucketID]time.Time{}
	}
	p.reserved[bucketID{a.CA.Directory, l.Name, key}] = taken(l, p.full(a, l, key, at), at)
}
