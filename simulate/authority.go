package simulate

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"certd/config"
	"certd/limit"
)

// An authority is the simulated CA. It keeps the limits in its own way: plain
// token buckets, so that the bookkeeping of package limit is held against
// something else.
type authority struct {
	o       *Options
	r       *rand.Rand
	epoch   time.Time
	limits  []config.Limit
	exempts bool // renewals, as Let's Encrypt does
	buckets map[bucketKey]*bucket
}

type bucketKey struct {
	limit int
	key   string
}

type bucket struct {
	tokens float64
	at     int64
}

// An answer is what the authority said to an order.
type answer int

const (
	granted     answer = iota
	unreachable        // an outage
	refused            // a limit
	failed             // an authorization
)

func newAuthority(o *Options, r *rand.Rand, epoch time.Time) *authority {
	le := Defaults().CA
	limits := slices.SortedStableFunc(slices.Values(limit.For(o.CA)), func(a, b config.Limit) int { // per account first
		return cmp.Compare(a.Per, b.Per)
	})
	return &authority{o: o, r: r, epoch: epoch, limits: limits, exempts: o.CA.Directory == le.Directory, buckets: map[bucketKey]*bucket{}}
}

// works reports whether the CA can be reached at a moment, and when the outage
// ends otherwise.
func (a *authority) works(at int64) (bool, int64) {
	for _, s := range a.o.Outages {
		if from, to := int64(s.Start), int64(s.Start+s.Length); from <= at && at < to {
			return false, to
		}
	}
	return true, 0
}

// order answers a newOrder. When it is refused, retry is when to come back.
func (a *authority) order(at int64, names []string, renewal, inWindow bool) (what answer, retry int64) {
	if ok, _ := a.works(at); !ok {
		return unreachable, 0
	}
	var spend []*bucket // orders, then certificates
	orders := 0
	for i, l := range a.limits {
		if a.exempts && (inWindow && l.Per != config.PerNames || renewal && (l.Per == config.PerAccount || l.Per == config.PerDomain)) {
			continue
		}
		for _, key := range a.keys(l, names) {
			b := a.bucket(i, l, key, at)
			every := float64(l.Window) / float64(l.Burst)
			if wait := (1 - b.tokens) * every; wait > 1 && l.Per != config.PerFailure && !(a.exempts && inWindow) {
				retry = max(retry, at+int64(wait)+1)
			}
			if l.Per != config.PerFailure {
				spend = append(spend, b)
			}
			if l.Per == config.PerAccount {
				orders++
			}
		}
	}
	if retry > 0 {
		return refused, retry
	}
	fails := a.o.Failing > 0 && a.r.Float64() < a.o.Failing
	if fails {
		spend = spend[:orders] // no certificate, none counted
	}
	for _, b := range spend {
		b.tokens = max(b.tokens-1, 0)
	}
	if fails {
		return failed, 0
	}
	return granted, 0
}

// keys are what a limit counts by.
func (a *authority) keys(l config.Limit, names []string) []string {
	switch l.Per {
	case config.PerAccount:
		return []string{""}
	case config.PerNames:
		return names[:1] // no two targets share a name
	}
	var keys []string
	for _, n := range names {
		if d := limit.RegisteredDomain(n); len(keys) == 0 || keys[len(keys)-1] != d {
			keys = append(keys, d)
		}
	}
	return keys
}

// bucket returns a bucket as it is at a moment.
func (a *authority) bucket(i int, l config.Limit, key string, at int64) *bucket {
	k := bucketKey{i, key}
	b := a.buckets[k]
	if b == nil {
		b = &bucket{tokens: float64(l.Burst), at: at}
		a.buckets[k] = b
	}
	b.tokens = min(b.tokens+float64(at-b.at)*float64(l.Burst)/float64(l.Window), float64(l.Burst))
	b.at = at
	return b
}

// issue returns the validity of a certificate issued at a moment: backdated a
// little, as CAs do.
func (a *authority) issue(at int64) (notBefore, notAfter int64) {
	notBefore = at - int64(min(time.Hour, a.o.Lifetime/100))
	return notBefore, notBefore + int64(a.o.Lifetime)
}

// window returns the window that the CA suggests for a certificate: a fiftieth
// of the lifetime around two thirds of it, or half of one under ten days.
func (a *authority) window(notBefore, notAfter int64) (start, end int64) {
	lifetime := notAfter - notBefore
	middle := notBefore + lifetime/3*2
	if lifetime < int64(10*day) {
		middle = notBefore + lifetime/2
	}
	return middle - lifetime/100, middle + lifetime/100
}

// recalled is the window of a certificate that is to be replaced at once.
func recalled(at int64) (start, end int64) {
	return at - int64(time.Hour), at - int64(30*time.Minute)
}
