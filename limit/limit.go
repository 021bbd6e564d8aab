// Package limit is how much a CA may be asked: the token buckets that CAs
// publish, kept on our side too, and the breaker of a CA that does not work.
// It is pure: time is passed in.
package limit

import (
	"time"

	"certd/config"
)

const (
	day = 24 * time.Hour

	// maxWait is the longest time that a CA's own word or a breaker stands.
	maxWait = day
)

// letsEncrypt returns the directories of Let's Encrypt's production and
// staging environments.
func letsEncrypt() (production, staging string) {
	return "https://acme-v02.api.letsencrypt.org/directory", "https://acme-staging-v02.api.letsencrypt.org/directory"
}

// For returns the limits of a CA: those it is configured with, or the published
// ones of Let's Encrypt; nil if none are known.
func For(ca config.CA) []config.Limit {
	if ca.Limits != nil {
		return ca.Limits
	}
	production, staging := letsEncrypt()
	switch ca.Directory {
	case production:
		return LetsEncrypt()
	case staging:
		return table(1500, 30_000, 30_000, 200)
	}
	return nil
}

// LetsEncrypt returns the limits that Let's Encrypt publishes for its
// production environment (https://letsencrypt.org/docs/rate-limits/).
func LetsEncrypt() []config.Limit { return table(300, 50, 5, 5) }

// table returns limits of the kinds that Let's Encrypt has.
func table(orders, domain, names, failures int) []config.Limit {
	return []config.Limit{
		{Name: "orders-per-account", Per: config.PerAccount, Burst: orders, Window: 3 * time.Hour},
		{Name: "certificates-per-domain", Per: config.PerDomain, Burst: domain, Window: 7 * day},
		{Name: "certificates-per-names", Per: config.PerNames, Burst: names, Window: 7 * day},
		{Name: "failed-authorizations", Per: config.PerFailure, Burst: failures, Window: time.Hour},
	}
}

// An Ask is a newOrder request (RFC 8555 §7.4) as far as limits care.
type Ask struct {
	CA      config.CA
	Account string   // whatever tells accounts of the CA apart
	Names   []string // identifiers in canonical text, in any order
	ARI     bool     // it replaces a certificate inside the window that the CA suggests (RFC 9773 §5)
	Renewal bool     // a certificate for exactly these names was issued by this CA before
}

// checks reports whether a limit can hold this request up. Let's Encrypt
// exempts renewals inside its window from everything, and other renewals of
// the same names from what is counted per account and per domain.
func (a Ask) checks(l config.Limit) bool {
	switch {
	case !a.exempting():
		return true
	case a.ARI:
		return false
	}
	return !a.Renewal || l.Per == config.PerNames || l.Per == config.PerFailure
}

// spends reports whether this request takes a token of a limit: of one that
// checks it, and a renewal inside the window also counts as a certificate for
// these names.
func (a Ask) spends(l config.Limit) bool {
	switch {
	case l.Per == config.PerFailure:
		return false
	case l.Per == config.PerNames:
		return true
	}
	return a.checks(l)
}

// exempting reports whether the CA is one that exempts renewals.
func (a Ask) exempting() bool {
	production, staging := letsEncrypt()
	return a.CA.Directory == production || a.CA.Directory == staging
}

// Next returns the earliest moment at which newOrder keeps within all limits,
// and the name of the limit that decides it; the zero time and "" if that is
// now. What the CA itself answered to such a request is one of them, with the
// name RateLimited.
func (b *Book) Next(a Ask, now time.Time) (at time.Time, by string) {
	return b.Plan().Next(a, now)
}

// RateLimited is what Next calls the limit that only the CA knows.
const RateLimited = "rate-limited"

// Take notes that newOrder was sent. It takes its tokens also if there are
// none left; a bucket is never emptier than empty.
func (b *Book) Take(a Ask, now time.Time) {
	c := b.change(a.CA.Directory, now)
	a.spend(c, now)
	b.bound(now)
}

// spend takes a token of each bucket that the request costs one.
func (a Ask) spend(c *ca, now time.Time) {
	for _, l := range For(a.CA) {
		if !a.spends(l) {
			continue
		}
		for _, key := range a.keys(l) {
			c.take(l, key, now)
		}
	}
}

// Returned notes that an order which was taken ended without a certificate:
// what is counted per certificate is given back.
func (b *Book) Returned(a Ask, now time.Time) {
	c := b.change(a.CA.Directory, now)
	for _, l := range For(a.CA) {
		if !a.spends(l) || l.Per == config.PerAccount {
			continue
		}
		for _, key := range a.keys(l) {
			c.giveBack(l, key, now)
		}
	}
}

// Failed notes that the authorization of a name became invalid.
func (b *Book) Failed(a Ask, name string, now time.Time) {
	c := b.change(a.CA.Directory, now)
	for _, l := range For(a.CA) {
		if l.Per == config.PerFailure {
			c.take(l, failureKey(name, a.Account), now)
		}
	}
	b.bound(now)
}

// Refused notes that the CA answered rateLimited (RFC 8555 §6.6) and may be
// asked for these names again at until; zero if it did not say, which stands
// for an hour. It stands for at least a second and at most a day.
func (b *Book) Refused(a Ask, until, now time.Time) {
	if until.IsZero() {
		until = now.Add(time.Hour)
	}
	c := b.change(a.CA.Directory, now)
	c.refused[a.refusal()] = clamp(until, now.Add(time.Second), now.Add(maxWait))
	b.bound(now)
}

// interval is how long one token takes to come back.
func interval(l config.Limit) time.Duration {
	return max(l.Window/time.Duration(max(l.Burst, 1)), 1)
}

// size is how long an empty bucket takes to be full.
func size(l config.Limit) time.Duration { return interval(l) * time.Duration(max(l.Burst, 1)) }

// take takes a token of one bucket. What is kept is when the bucket will be
// full again, its "theoretical arrival time" (the generic cell rate algorithm).
func (c *ca) take(l config.Limit, key string, now time.Time) {
	bucket := c.spent[l.Name]
	if bucket == nil {
		bucket = map[string]time.Time{}
		c.spent[l.Name] = bucket
	}
	bucket[key] = taken(l, c.full(l, key, now), now)
}

// taken is when a bucket will be full again after a token was taken of it.
func taken(l config.Limit, full, now time.Time) time.Time {
	return clamp(later(full, now).Add(interval(l)), now, now.Add(size(l)))
}

// full is when a bucket will be full again; the zero time if it is, or if only a
// clock that was far ahead can have said so.
func (c *ca) full(l config.Limit, key string, now time.Time) time.Time {
	full := c.spent[l.Name][key]
	if full.After(now.Add(2 * l.Window)) {
		return time.Time{}
	}
	return full
}

// giveBack puts a token of one bucket back.
func (c *ca) giveBack(l config.Limit, key string, now time.Time) {
	full, ok := c.spent[l.Name][key]
	if !ok {
		return
	}
	if full = full.Add(-interval(l)); full.After(now) {
		c.spent[l.Name][key] = full
		return
	}
	delete(c.spent[l.Name], key)
}

// clamp returns t, but not before low and not after high.
func clamp(t, low, high time.Time) time.Time {
	switch {
	case t.Before(low):
		t = low
	case t.After(high):
		t = high
	}
	return t.UTC()
}

// later returns the later of two instants.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
