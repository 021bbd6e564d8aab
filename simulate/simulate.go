// Package simulate is what would happen: the planner, the limits and the
// schedule that certd uses, run for years against a CA and a clock that are
// simulated. It knows no network, no disk and no time of day; the same options
// give the same result.
package simulate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"certd/config"
)

const day = 24 * time.Hour

// Options say what to simulate. Defaults returns useful ones; the zero value is
// refused.
type Options struct {
	Length         time.Duration // simulated time, at most 100 years
	Names          int           // identifiers in all, at most a million
	PerCertificate int           // identifiers of a certificate, at most 100
	PerDomain      int           // identifiers below one registered domain
	Lifetime       time.Duration // of the certificates that the CA issues
	Margin         int           // satisfy.margin in days; 0 is the default
	Spread         bool          // begin with certificates of every age instead of none

	CA      config.CA // its limits are enforced by the simulated CA and known to certd
	ARI     bool      // the CA suggests renewal windows, as Let's Encrypt does (RFC 9773)
	Outages []Span    // the CA cannot be reached
	Recalls []Recall  // the CA wants certificates replaced at once, and says so by ARI
	Failing float64   // share of the orders, 0 to 1, in which an authorization fails

	Clock     []Jump        // this machine's clock is set
	Parallel  int           // orders open at once, as in conf/certd.yaml
	OrderTime time.Duration // what one order takes
	Seed      uint64        // of all that is random
}

// A Span is a part of the simulated time.
type Span struct{ Start, Length time.Duration }

// A Recall is a moment at which the CA moves the renewal windows of a share of
// all certificates to the past, as for a mass revocation.
type Recall struct {
	At    time.Duration
	Share float64 // 0 to 1
}

// A Jump is a moment at which this machine's clock is set.
type Jump struct {
	At time.Duration
	By time.Duration // positive is forward
}

// Defaults returns the options of `certd simulate` without flags.
func Defaults() Options {
	return Options{
		Length: 1095 * day, Names: 1000, PerCertificate: 1, PerDomain: 10, Lifetime: 47 * day, ARI: true,
		CA: config.CA{Name: "letsencrypt", Directory: "https://acme-v02.api.letsencrypt.org/directory"}, Parallel: 8, OrderTime: 5 * time.Second,
	}
}

// check refuses what cannot be simulated.
func (o Options) check() error {
	within := func(what string, n, low, high int) error {
		if n < low || n > high {
			return fmt.Errorf("%s: want %d to %d, found %d", what, low, high, n)
		}
		return nil
	}
	span := func(what string, d, low, high time.Duration) error {
		if d < low || d > high {
			return fmt.Errorf("%s: want a time from %v to %v, found %v", what, low, high, d)
		}
		return nil
	}
	errs := []error{
		within("names", o.Names, 1, 1_000_000), within("names per certificate", o.PerCertificate, 1, 100),
		within("names per domain", o.PerDomain, 1, 1_000_000), within("parallel", o.Parallel, 1, 10_000),
		within("margin", o.Margin, 0, 3650), span("length", o.Length, time.Hour, 36_500*day),
		span("lifetime", o.Lifetime, 5*time.Minute, 3650*day), span("time of an order", o.OrderTime, time.Second, time.Hour),
	}
	if o.CA.Directory == "" {
		errs = append(errs, errors.New("no CA"))
	}
	for _, s := range o.Outages {
		errs = append(errs, span("start of an outage", s.Start, 0, o.Length), span("length of an outage", s.Length, 0, o.Length))
	}
	for _, j := range o.Clock {
		errs = append(errs, span("setting the clock", j.At, 0, o.Length), span("setting the clock by", j.By, -3650*day, 3650*day))
	}
	shares := []float64{o.Failing}
	for _, r := range o.Recalls {
		errs, shares = append(errs, span("recall", r.At, 0, o.Length)), append(shares, r.Share)
	}
	for _, s := range shares {
		if !(s >= 0 && s <= 1) {
			errs = append(errs, fmt.Errorf("a share of %v: want 0 to 1", s))
		}
	}
	return errors.Join(errs...)
}

// Run simulates. The error says what is wrong with the options, or that ctx
// was done.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	w := newWorld(o)
	w.populate()
	for turn := 0; ; turn++ {
		if turn%1024 == 0 && ctx.Err() != nil {
			return nil, fmt.Errorf("simulate: %w", ctx.Err())
		}
		at, ok := w.events.next()
		if !ok || at > w.end {
			break
		}
		w.turn(at)
	}
	return w.finish(), nil
}
