package simulate

import (
	"math/rand/v2"
	"time"

	"certd/acme"
	"certd/config"
	"certd/limit"
	"certd/plan"
)

// pollEvery is how often certd asks for renewal information, as Let's Encrypt
// wants it.
const pollEvery = 6 * time.Hour

// A world is a running simulation. Times in it are nanoseconds since its start,
// by the right clock, if nothing else is said.
type world struct {
	o      Options
	r      *rand.Rand
	epoch  time.Time
	now    int64
	end    int64
	skew   int64 // of this machine's clock: what it shows is now and skew
	events events
	ca     *authority

	settings config.Settings
	targets  []target
	ready    []int32 // targets whose orders wait for one of the others to end
	busy     int     // orders under way
	book     *limit.Book
	pruned   int64
	tally    tally
}

// A target is what is wanted and how it stands, in little space: there may be
// a million.
type target struct {
	notBefore, notAfter int64      // of its certificate
	issued              uint32     // certificates so far; 0 is none
	stamp               uint32     // of the event that is meant
	due                 int64      // what the planner said last, by this machine's clock
	running             bool       // an order is under way
	queued              bool       // in ready
	got                 answer     // what the order under way will come to
	cause               plan.Cause // of that
	ask                 limit.Ask  // of that

	created int64      // when that was, by this machine's clock
	reason  plan.Cause // why it was ordered

	start, end                 int64 // the window that the CA has for the certificate
	polled, hasWindow, doubted bool  // what certd knows of it, see state.Renewal
	pollTime, nextPoll         int64
	seenStart, seenEnd, chosen int64

	recall int32 // the recall that its certificate is in, from 1; 0 without

	tried      bool // there was an attempt
	digest     string
	failures   int32
	class      acme.Class
	last, next int64 // attempts, by this machine's clock

	since int64  // when it began to wait for a limit
	by    string // that limit; empty if it waits for none
}

func newWorld(o Options) *world {
	w := &world{o: o, r: rand.New(rand.NewPCG(o.Seed, 0x63657274)), epoch: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), end: int64(o.Length), book: &limit.Book{},
		settings: config.Settings{CAs: []config.CA{o.CA}}}
	w.ca = newAuthority(&w.o, w.r, w.epoch)
	w.targets = make([]target, (o.Names+o.PerCertificate-1)/o.PerCertificate)
	w.tally = newTally(&w.o, len(w.targets))
	return w
}

// populate sets the first events.
func (w *world) populate() {
	for i := range w.targets {
		if w.o.Spread {
			// As if it had been issued at some time and were renewed like this ever since.
			age := int64(w.r.Float64() * float64(plan.RenewAt(w.at(0), w.at(int64(w.o.Lifetime)), w.o.Margin).Sub(w.at(0))))
			w.targets[i].notBefore, w.targets[i].notAfter = w.ca.issue(-age)
			w.targets[i].issued, w.targets[i].created = 1, -age
			w.tally.missing--
			w.suggest(int32(i))
		}
		w.schedule(int32(i), 0)
	}
	for i, j := range w.o.Clock {
		w.events.push(event{at: int64(j.At), kind: evClock, id: int32(i)})
	}
	for i, r := range w.o.Recalls {
		w.events.push(event{at: int64(r.At), kind: evRecall, id: int32(i)})
	}
}

// at is a moment by the right clock, clock one by this machine's.
func (w *world) at(ns int64) time.Time    { return w.epoch.Add(time.Duration(ns)) }
func (w *world) clock(ns int64) time.Time { return w.epoch.Add(time.Duration(ns + w.skew)) }

// shown keeps a moment that this machine's clock shows; at brings it back.
func (w *world) shown(t time.Time) int64 { return int64(t.Sub(w.epoch)) }

// schedule sets when a target is looked at, and forgets when else it was to be.
func (w *world) schedule(id int32, at int64) {
	t := &w.targets[id]
	t.stamp++
	w.events.push(event{at: at, kind: evPlan, id: id, stamp: t.stamp})
}

// turn does all that happens at a moment.
func (w *world) turn(at int64) {
	w.now = at
	if at-w.pruned > int64(time.Hour) {
		w.book.Prune(w.clock(at))
		w.pruned = at
	}
	var due []int32
	for len(w.events) > 0 && w.events[0].at == at {
		e := w.events.pop()
		switch e.kind {
		case evPlan:
			if t := &w.targets[e.id]; t.stamp == e.stamp && !t.running && !t.queued {
				due = append(due, e.id)
			}
		case evFinish:
			w.complete(e.id)
			due = append(due, e.id)
		case evLearn:
			if w.learn(e) {
				due = append(due, e.id)
			}
		case evClock:
			w.setClock(w.o.Clock[e.id])
		case evRecall:
			w.recall(w.o.Recalls[e.id])
		}
	}
	w.decide(due, false)
	for len(w.ready) > 0 && w.busy < w.room() {
		n := min(w.room()-w.busy, len(w.ready))
		next := w.ready[:n:n]
		w.ready = w.ready[n:]
		for _, id := range next {
			w.targets[id].queued = false
		}
		w.decide(next, true)
	}
}

// room is how many orders may be under way: one while that tries whether a CA
// that was out of order works again.
func (w *world) room() int {
	if w.book.HalfOpen(w.o.CA.Directory, w.clock(w.now)) {
		return 1
	}
	return w.o.Parallel
}

// decide asks the planner about targets, and does what it says. An order has to
// wait its turn, unless it had that already.
func (w *world) decide(ids []int32, turn bool) {
	if len(ids) == 0 {
		return
	}
	for i, a := range w.plan(ids) {
		id := ids[i]
		t := &w.targets[id]
		switch {
		case a.Kind != plan.Order:
			if a.Limit != "" && a.Limit != plan.Breaker && t.by == "" {
				t.since, t.by = w.now, a.Limit
				w.tally.waiting(w.now, 1)
			}
			t.due = w.shown(a.At)
			w.schedule(id, max(w.now+int64(time.Second), t.due-w.skew))
		case (turn || len(w.ready) == 0) && w.busy < w.room():
			w.begin(id, a)
		default:
			t.queued = true
			w.ready = append(w.ready, id)
		}
	}
}

// begin sends newOrder for a target.
func (w *world) begin(id int32, a plan.Action) {
	t := &w.targets[id]
	if t.by != "" {
		w.tally.waited(t.by, time.Duration(w.now-t.since))
		w.tally.waiting(w.now, -1)
		t.since, t.by = 0, ""
	}
	t.running, t.cause, t.ask = true, a.Cause, a.Asks[0]
	replaces := w.o.ARI && t.issued > 0 && t.start <= w.now && w.now < t.end
	var retry int64
	t.got, retry = w.ca.order(w.now, w.names(id), t.issued > 0, replaces)
	w.tally.order(w.now, a.Cause, t.got)
	now := w.clock(w.now)
	if t.got != unreachable {
		w.book.Take(t.ask, now)
	}
	if t.got == refused {
		w.book.Refused(t.ask, w.clock(retry), now)
		t.next = retry + w.skew
	}
	w.busy++
	w.events.push(event{at: w.now + int64(w.o.OrderTime), kind: evFinish, id: id})
}

// complete takes in what an order came to.
func (w *world) complete(id int32) {
	t := &w.targets[id]
	t.running = false
	defer func() { t.ask = limit.Ask{} }()
	w.busy--
	now := w.clock(w.now)
	t.tried, t.last = true, w.shown(now)
	if t.got == granted {
		w.book.Good(w.o.CA.Directory, now)
		w.tally.got(id, t.issued == 0, w.now, t.notAfter)
		if t.recall > 0 {
			w.tally.replaced(int(t.recall-1), w.now)
			t.recall = 0
		}
		t.notBefore, t.notAfter = w.ca.issue(w.now)
		t.issued++
		t.created, t.reason = t.last, t.cause
		t.failures, t.class, t.next = 0, "", 0
		w.suggest(id)
		return
	}
	retryAt := time.Time{}
	switch t.got {
	case unreachable:
		t.class = acme.ClassTransient
		w.book.Fault(w.o.CA.Directory, now, time.Time{})
	case refused:
		t.class, retryAt = acme.ClassWait, w.epoch.Add(time.Duration(t.next))
	case failed:
		t.class = acme.ClassName
		w.book.Returned(t.ask, now)
		w.book.Failed(t.ask, t.ask.Names[0], now)
	}
	t.failures++
	var lifetime time.Duration
	if t.issued > 0 {
		lifetime = w.o.Lifetime
	}
	t.next = w.shown(plan.NextAttempt(t.class, int(t.failures), now, retryAt, lifetime, uint64(id)*2654435761>>3))
}

// suggest gives the certificate that a target just got its window. certd asks
// for it at once.
func (w *world) suggest(id int32) {
	t := &w.targets[id]
	t.polled, t.hasWindow, t.doubted = false, false, false
	if w.o.ARI {
		t.start, t.end = w.ca.window(t.notBefore, t.notAfter)
		w.poll(id)
	}
}

// recall moves the windows of a share of all certificates. certd learns of it
// when it asks the next time.
func (w *world) recall(r Recall) {
	w.tally.recalls = append(w.tally.recalls, recallTally{at: w.now, last: w.now})
	drill := &w.tally.recalls[len(w.tally.recalls)-1]
	for i := range w.targets {
		t := &w.targets[i]
		if !w.o.ARI || t.issued == 0 || t.recall > 0 || w.r.Float64() >= r.Share {
			continue
		}
		t.start, t.end = recalled(w.now)
		t.recall = int32(len(w.tally.recalls))
		drill.total++
		drill.left++
		w.events.push(event{at: w.now + w.r.Int64N(int64(pollEvery)), kind: evLearn, id: int32(i), stamp: t.issued})
	}
}

// learn is the poll at which a target is told of a window that was moved, and
// reports whether it is to be looked at now.
func (w *world) learn(e event) bool {
	t := &w.targets[e.id]
	if t.issued != e.stamp {
		return false // replaced already
	}
	if ok, _ := w.ca.works(w.now); !ok {
		e.at = w.now + int64(pollEvery)
		w.events.push(e)
		return false
	}
	w.poll(e.id)
	t.stamp++
	return !t.running && !t.queued
}

// setClock sets this machine's clock. The daemon sees within a second what is due
// by the new time, and looks at everything when it was set back.
func (w *world) setClock(j Jump) {
	w.skew += int64(j.By)
	soon := w.now + int64(time.Second)
	for i := range w.targets {
		t := &w.targets[i]
		switch {
		case t.running || t.queued:
		case j.By < 0:
			w.schedule(int32(i), soon)
		default:
			w.schedule(int32(i), max(soon, t.due-w.skew))
		}
	}
}
