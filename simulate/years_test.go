package simulate_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"certd/config"
	"certd/simulate"
)

const day = 24 * time.Hour

// run simulates and fails the test if it cannot.
func run(t *testing.T, o simulate.Options) *simulate.Result {
	t.Helper()
	r, err := simulate.Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// setting returns a number from the environment, or one that suits everyday tests.
// CERTD_SIMULATE_SEEDS=500 CERTD_SIMULATE_NAMES=1000 go test -timeout 24h ./simulate
// takes 1,000 names through three years 500 times for each lifetime, for hours.
func setting(name string, everyday uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv(name), 10, 32); err == nil {
		return n
	}
	return everyday
}

// many returns how often a random world is tried.
func many(few uint64) uint64 { return setting("CERTD_SIMULATE_SEEDS", few) }

// trouble fills the simulated time with outages and a clock that is wrong for
// a while, so that there is always a tenth of the lifetime without trouble
// between the renewal point of a certificate and its end.
func trouble(o *simulate.Options, r *rand.Rand) {
	after := o.Lifetime / 3 // what is left at the renewal point
	if o.Lifetime < 10*day {
		after = o.Lifetime / 2
	}
	longest := after - o.Lifetime/50 - o.Lifetime/10 // the CA's window reaches a hundredth further
	for at := time.Duration(0); ; {
		at += o.Lifetime/10 + time.Duration(r.Int64N(int64(o.Lifetime)))
		length := longest/10 + time.Duration(r.Int64N(int64(longest-longest/10)))
		if at+length > o.Length {
			return
		}
		if r.IntN(3) > 0 {
			o.Outages = append(o.Outages, simulate.Span{Start: at, Length: length})
		} else {
			by := time.Duration(r.Int64N(int64(80*day))) - 40*day
			o.Clock = append(o.Clock, simulate.Jump{At: at, By: by}, simulate.Jump{At: at + length, By: -by})
		}
		at += length
	}
}

// TestNothingExpires is what certd is for: whatever happens, a name whose CA
// works for a tenth of the lifetime after the renewal point has a certificate.
func TestNothingExpires(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		lifetime, length time.Duration
		ari              bool
		few              uint64
	}{
		{90 * day, 1095 * day, true, 4},
		{64 * day, 1095 * day, true, 4},
		{47 * day, 1095 * day, true, 6},
		{47 * day, 1095 * day, false, 6},
		{160 * time.Hour, 180 * day, true, 5},
		{160 * time.Hour, 180 * day, false, 5},
		{3 * day, 90 * day, false, 5},
		{day, 30 * day, false, 10},
		{6 * time.Hour, 8 * day, true, 10},
		{time.Hour, 30 * time.Hour, false, 10},
		{10 * time.Minute, 5 * time.Hour, true, 10},
	} {
		names := int(setting("CERTD_SIMULATE_NAMES", 10))
		for seed := range many(tt.few) {
			t.Run(fmt.Sprintf("%v/ari=%v/%d names/%d", tt.lifetime, tt.ari, names, seed), func(t *testing.T) {
				t.Parallel()
				o := simulate.Defaults()
				o.Lifetime, o.Length, o.Names, o.ARI, o.Seed, o.Spread = tt.lifetime, tt.length, names, tt.ari, seed, true
				o.Parallel, o.OrderTime = 100, time.Second
				if tt.lifetime < 2*day {
					o.CA = config.CA{Name: "internal", Directory: "https://ca.internal/directory"} // nobody gives such certificates with Let's Encrypt's limits
				}
				trouble(&o, rand.New(rand.NewPCG(seed, 9)))
				o.Recalls = []simulate.Recall{{At: o.Length / 2, Share: 0.5}, {At: o.Length * 3 / 4, Share: 1}}
				r := run(t, o)
				if r.Expired.Times > 0 {
					t.Errorf("%d names expired (%d certificates), one for %.0f seconds, with %d outages and %d changes of the clock",
						r.Expired.Names, r.Expired.Times, r.Expired.Longest, len(o.Outages), len(o.Clock))
				}
				if len(o.Outages) == 0 && len(o.Clock) == 0 {
					t.Error("nothing was tried")
				}
			})
		}
	}
}

// TestRecall is a mass revocation: everything is replaced within a day, and the
// CA refuses nothing.
func TestRecall(t *testing.T) {
	t.Parallel()
	for seed := range many(4) {
		o := simulate.Defaults()
		o.Names, o.Length, o.Seed, o.Spread = 1000, 100*day, seed, true
		o.Recalls = []simulate.Recall{{At: 50 * day, Share: 1}}
		r := run(t, o)
		if len(r.Recalls) != 1 || r.Recalls[0].Certificates != 1000 || r.Recalls[0].Replaced == nil || *r.Recalls[0].Replaced > day.Seconds() {
			t.Errorf("seed %d: %+v; want 1000 certificates replaced within a day", seed, r.Recalls)
		}
		if r.Orders.Refused > 0 || r.Expired.Times > 0 {
			t.Errorf("seed %d: %d refused, %d expired", seed, r.Orders.Refused, r.Expired.Times)
		}
	}
}

// TestLimits has limits that matter: certd waits by itself for what the CA would
// refuse.
func TestLimits(t *testing.T) {
	t.Parallel()
	limits := []config.Limit{
		{Name: "account", Per: config.PerAccount, Burst: 20, Window: 6 * time.Hour},
		{Name: "domain", Per: config.PerDomain, Burst: 5, Window: 2 * day},
		{Name: "names", Per: config.PerNames, Burst: 2, Window: 7 * day},
	}
	for seed := range many(4) {
		o := simulate.Defaults()
		o.Names, o.PerDomain, o.PerCertificate, o.Length, o.Seed = 600, 24, 2, 120*day, seed
		o.CA = config.CA{Directory: "https://ca.internal/directory", Limits: limits}
		r := run(t, o)
		if r.Orders.Refused > 0 {
			t.Errorf("seed %d: the CA refused %d orders", seed, r.Orders.Refused)
		}
		if len(r.Limits) == 0 || r.Complete == nil || r.Expired.Times > 0 {
			t.Errorf("seed %d: limits %v, complete %v, expired %+v; want waits, and nothing expired", seed, r.Limits, r.Complete, r.Expired)
		}
	}
}

// TestBadNews has limits below what is needed: the simulation has to show it.
func TestBadNews(t *testing.T) {
	t.Parallel()
	o := simulate.Defaults()
	o.Names, o.Length, o.Spread = 500, 100*day, true
	o.CA = config.CA{Directory: "https://ca.internal/directory", Limits: []config.Limit{{Name: "few", Per: config.PerAccount, Burst: 5, Window: day}}}
	r := run(t, o)
	if r.Expired.Names == 0 || r.Expired.Longest == 0 || len(r.Limits) != 1 || r.Limits[0].Longest < day.Seconds() {
		t.Errorf("got %+v, limits %+v; with 5 orders a day for 500 names of 47 days some expire", r.Expired, r.Limits)
	}
}

// TestOutageTooLong: an outage that leaves no time lets names expire, and they
// are renewed when it ends.
func TestOutageTooLong(t *testing.T) {
	t.Parallel()
	o := simulate.Defaults()
	o.Names, o.Length, o.Spread = 100, 200*day, true
	o.Outages = []simulate.Span{{Start: 60 * day, Length: 30 * day}}
	r := run(t, o)
	if r.Expired.Names == 0 || r.Orders.Unreachable == 0 || r.Expired.Longest > (15*day).Seconds() {
		t.Errorf("got %+v with %d requests in the outage; want names that expired, for less than 15 days", r.Expired, r.Orders.Unreachable)
	}
}

// TestFailing has names whose validation fails now and then.
func TestFailing(t *testing.T) {
	t.Parallel()
	o := simulate.Defaults()
	o.Names, o.Length, o.Spread, o.Failing = 300, 200*day, true, 0.3
	r := run(t, o)
	share := float64(r.Orders.Failed) / float64(r.Orders.Sent)
	if r.Expired.Times > 0 || share < 0.2 || share > 0.4 || r.Orders.Refused > 0 {
		t.Errorf("got %+v, expired %+v; want about 30 %% that failed, and nothing expired", r.Orders, r.Expired)
	}
}
