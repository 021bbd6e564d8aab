package simulate

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"certd/plan"
)

// A Result is what happened. Its lengths of time are in seconds of simulated
// time.
type Result struct {
	Options Setting `json:"options"`

	Orders  Orders      `json:"orders"`
	Expired Expired     `json:"expired"`
	Limits  []LimitWait `json:"limits"` // by name
	// Complete is after what time every name had a certificate; nil if that did
	// not come.
	Complete *float64 `json:"complete_seconds"`
	// LeastLeft is the smallest share of its lifetime that a certificate had
	// left when its successor was there; below 0 it had expired. Nil if none
	// was replaced.
	LeastLeft *float64 `json:"least_left"`
	// Recalls are the drills, and how certd followed.
	Recalls []Recalled `json:"recalls"`
	PerDay  []Day      `json:"per_day"`
}

// A Setting is what was simulated.
type Setting struct {
	Days           float64 `json:"days"`
	Names          int     `json:"names"`
	PerCertificate int     `json:"names_per_certificate"`
	PerDomain      int     `json:"names_per_domain"`
	Certificates   int     `json:"certificates"`
	Lifetime       float64 `json:"lifetime_seconds"`
	CA             string  `json:"ca"`
	ARI            bool    `json:"ari"`
	Parallel       int     `json:"parallel"`
	Outages        []Gone  `json:"outages"`
	Seed           uint64  `json:"seed"`
}

// Gone is an outage of the CA.
type Gone struct {
	Day    float64 `json:"day"`
	Length float64 `json:"seconds"`
}

// Orders are the orders that were sent.
type Orders struct {
	Sent        int            `json:"sent"`        // newOrder requests
	Issued      int            `json:"issued"`      // that led to a certificate
	Unreachable int            `json:"unreachable"` // during outages
	Refused     int            `json:"refused"`     // by the CA, because of a limit
	Failed      int            `json:"failed"`      // in which an authorization failed
	Causes      map[string]int `json:"causes"`      // why they were sent
	PeakHour    int            `json:"peak_per_hour"`
	PeakDay     float64        `json:"peak_day"` // when that was
	MeanHour    float64        `json:"mean_per_hour"`
	MedianHour  int            `json:"median_per_hour"`
}

// Expired are names whose certificate expired before its successor was there.
type Expired struct {
	Names   int     `json:"names"`   // that ever did
	Times   int     `json:"times"`   // certificates
	Longest float64 `json:"seconds"` // without a valid certificate
}

// A LimitWait is how targets waited for one limit.
type LimitWait struct {
	Limit   string  `json:"limit"`
	Waits   int     `json:"waits"`
	Mean    float64 `json:"mean_seconds"`
	Longest float64 `json:"longest_seconds"`
}

// Recalled is what became of a recall.
type Recalled struct {
	Day          float64  `json:"day"`
	Certificates int      `json:"certificates"`
	Replaced     *float64 `json:"replaced_seconds"` // after what time all of them were; nil if that did not come
}

// A Day is one day of the simulation.
type Day struct {
	Orders   int  `json:"orders"`
	PeakHour int  `json:"peak_per_hour"`
	Waiting  int  `json:"waiting"` // targets that waited for a limit, at most
	Expired  int  `json:"expired"` // certificates that expired before their successor was there
	Outage   bool `json:"outage"`
}

// A tally counts while the simulation runs.
type tally struct {
	o       *Options
	hours   []int32
	days    []Day
	orders  Orders
	causes  map[plan.Cause]int
	limits  map[string]*LimitWait
	now     int // waiting for a limit at the moment
	missing int // targets that had no certificate yet
	done    int64
	least   float64
	any     bool
	times   int
	longest int64
	lapsed  []bool // targets whose certificate ever expired
	recalls []recallTally
}

type recallTally struct {
	at, last    int64
	total, left int
}

func newTally(o *Options, targets int) tally {
	hours := int(o.Length/time.Hour) + 1
	t := tally{o: o, hours: make([]int32, hours), days: make([]Day, hours/24+1), causes: map[plan.Cause]int{}, limits: map[string]*LimitWait{},
		missing: targets, lapsed: make([]bool, targets)}
	for i := range t.days {
		from, to := time.Duration(i)*day, time.Duration(i+1)*day
		t.days[i].Outage = slices.ContainsFunc(o.Outages, func(s Span) bool { return s.Start < to && s.Start+s.Length > from })
	}
	return t
}

// order counts a newOrder.
func (t *tally) order(at int64, cause plan.Cause, what answer) {
	t.orders.Sent++
	t.causes[cause]++
	t.hours[at/int64(time.Hour)]++
	t.days[at/int64(day)].Orders++
	switch what {
	case granted:
		t.orders.Issued++
	case unreachable:
		t.orders.Unreachable++
	case refused:
		t.orders.Refused++
	case failed:
		t.orders.Failed++
	}
}

// waiting counts targets that begin or end to wait for a limit.
func (t *tally) waiting(at int64, n int) {
	t.now += n
	d := &t.days[at/int64(day)]
	d.Waiting = max(d.Waiting, t.now)
}

// waited counts a wait for a limit that is over.
func (t *tally) waited(by string, length time.Duration) {
	l := t.limits[by]
	if l == nil {
		l = &LimitWait{Limit: by}
		t.limits[by] = l
	}
	l.Waits++
	l.Mean += length.Seconds() // divided in the end
	l.Longest = max(l.Longest, length.Seconds())
}

// got counts a certificate of a target whose last one was valid until notAfter.
func (t *tally) got(id int32, first bool, at, notAfter int64) {
	if first {
		if t.missing--; t.missing == 0 {
			t.done = at
		}
		return
	}
	left := float64(notAfter-at) / float64(t.o.Lifetime)
	if !t.any || left < t.least {
		t.any, t.least = true, left
	}
	if at > notAfter {
		t.expired(id, at, notAfter)
	}
}

// expired counts a certificate that was not replaced before it ended.
func (t *tally) expired(id int32, at, notAfter int64) {
	t.times++
	t.lapsed[id] = true
	t.longest = max(t.longest, at-notAfter)
	if notAfter >= 0 {
		t.days[notAfter/int64(day)].Expired++
	}
}

// replaced counts a certificate that was recalled and has a successor.
func (t *tally) replaced(recall int, at int64) {
	r := &t.recalls[recall]
	r.left--
	r.last = at
}

// finish adds up.
func (w *world) finish() *Result {
	t := &w.tally
	for i := range w.targets {
		if g := &w.targets[i]; g.issued > 0 && g.notAfter < w.end {
			t.expired(int32(i), w.end, g.notAfter)
		}
		if g := &w.targets[i]; g.by != "" {
			t.waited(g.by, time.Duration(w.end-g.since))
		}
	}
	res := &Result{Orders: t.orders, PerDay: t.days[:max(1, int((w.o.Length+day-1)/day))], Limits: []LimitWait{}, Recalls: []Recalled{}, Options: w.setting()}
	res.Orders.Causes = map[string]int{}
	for cause, n := range t.causes {
		res.Orders.Causes[string(cause)] = n
	}
	hours := t.hours[:max(1, int(w.o.Length/time.Hour))]
	for i, n := range hours {
		d := &t.days[i/24]
		d.PeakHour = max(d.PeakHour, int(n))
		if int(n) > res.Orders.PeakHour {
			res.Orders.PeakHour, res.Orders.PeakDay = int(n), float64(i)/24
		}
	}
	res.Orders.MeanHour = float64(t.orders.Sent) / w.o.Length.Hours()
	res.Orders.MedianHour = int(slices.Sorted(slices.Values(hours))[len(hours)/2])
	for i, lapsed := range t.lapsed {
		if lapsed {
			res.Expired.Names += len(w.names(int32(i)))
		}
	}
	res.Expired.Times, res.Expired.Longest = t.times, time.Duration(t.longest).Seconds()
	for _, l := range t.limits {
		l.Mean /= float64(l.Waits)
	}
	for _, name := range slices.Sorted(maps.Keys(t.limits)) {
		res.Limits = append(res.Limits, *t.limits[name])
	}
	if t.missing == 0 {
		s := time.Duration(t.done).Seconds()
		res.Complete = &s
	}
	if t.any {
		res.LeastLeft = &t.least
	}
	for _, r := range t.recalls {
		out := Recalled{Day: time.Duration(r.at).Hours() / 24, Certificates: r.total}
		if s := time.Duration(r.last - r.at).Seconds(); r.left == 0 {
			out.Replaced = &s
		}
		res.Recalls = append(res.Recalls, out)
	}
	return res
}

// setting is what was simulated.
func (w *world) setting() Setting {
	o, outages := w.o, []Gone{}
	for _, s := range o.Outages {
		outages = append(outages, Gone{s.Start.Hours() / 24, s.Length.Seconds()})
	}
	return Setting{Days: o.Length.Hours() / 24, Names: o.Names, PerCertificate: o.PerCertificate, PerDomain: o.PerDomain, Certificates: len(w.targets),
		Lifetime: o.Lifetime.Seconds(), CA: cmp.Or(o.CA.Name, o.CA.Directory), ARI: o.ARI, Parallel: o.Parallel, Outages: outages, Seed: o.Seed}
}
