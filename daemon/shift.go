package daemon

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"certd/config"
	"certd/state"
)

// A crew is the passes of a daemon. They follow one another, or overlap: while one
// is at its targets for long, others do what comes due.
type crew struct {
	door sync.Mutex // held by a pass that comes or goes, also while it waits for the lock

	mu      sync.Mutex // guards the fields below
	shift   *shift     // nil while no pass is at work
	lock    *state.Lock
	members int // of the shift
}

// enter has a pass join the shift, or begin one, which takes the lock. It must
// leave at its end. A pass of no crew (nil) has a shift of its own.
func (c *crew) enter(ctx context.Context, o Options) (s *shift, leave func(), err error) {
	if c == nil {
		c = &crew{}
	}
	c.door.Lock()
	defer c.door.Unlock()
	if s = c.current(); s == nil {
		lock, err := Lock(ctx, o.Store, o.LockWait, o.Log)
		if err != nil {
			return nil, nil, err
		}
		s = newShift()
		c.mu.Lock()
		c.shift, c.lock = s, lock
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members++
	return s, c.leave, nil
}

// leave ends a pass, and with the last one the shift.
func (c *crew) leave() {
	c.door.Lock()
	defer c.door.Unlock()
	c.mu.Lock()
	c.members--
	over, s, lock := c.members == 0, c.shift, c.lock
	if over {
		c.shift, c.lock = nil, nil
	}
	c.mu.Unlock()
	if over {
		s.close()
		_ = lock.Unlock() // it ends with the process, too
	}
}

// current is the shift, nil while no pass is at work.
func (c *crew) current() *shift {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shift
}

// A shift is a time in which passes are at work without a gap, and what they share.
type shift struct {
	swap      sync.RWMutex // held for writing while servers reload: no link moves then
	measuring sync.Mutex   // held while what was counted is read or written
	tidying   sync.Mutex   // held by the pass that tidies up

	ledger *ledger // of the first pass, which is alone when it sets it
	means  *means  // likewise

	mu      sync.Mutex // guards the fields below
	passes  int
	newest  *pass
	busy    map[string]string      // targets that passes are at or have before them, and their names
	awaited map[string]bool        // names that another target is left out for
	claims  map[string]string      // order URL to target
	slots   map[string]*gate       // of orders open at a CA, by directory
	doors   map[string]*sync.Mutex // each held while a pass finds or registers the account at a CA, by directory
	pending []undelivered          // events that no pass is delivering right now
	courier bool                   // a pass is delivering
	wanted  delivery               // what it has to deliver next
}

func newShift() *shift {
	return &shift{busy: make(map[string]string), awaited: make(map[string]bool), claims: make(map[string]string),
		slots: make(map[string]*gate), doors: make(map[string]*sync.Mutex)}
}

// close ends what answered challenges.
func (s *shift) close() {
	if s.means != nil {
		s.means.close()
	}
}

// join makes p the newest pass. The first one brings the book of limits and the
// undelivered events, which the others go on with.
func (s *shift) join(p *pass) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest, s.passes = p, s.passes+1
	if s.ledger == nil {
		s.ledger = newLedger(p.Options, p.view)
		for _, e := range p.view.Snapshot.Pending {
			s.pending = append(s.pending, undelivered{event: e})
		}
		return
	}
	p.view.Limits, p.view.LimitsLost = s.ledger.copy(), nil
}

// lonely reports whether no other pass was in the shift so far.
func (s *shift) lonely() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.passes == 1
}

// isNewest reports whether no pass has come after p.
func (s *shift) isNewest(p *pass) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest == p
}

// begin makes a target busy until done.
func (s *shift) begin(t *config.Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy[t.File] = sameNames(t)
}

// done is told that nobody is at a target any more. It reports whether another one
// was left out for it.
func (s *shift) done(file string) (awaited bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.busy[file]
	delete(s.busy, file)
	awaited = s.awaited[names]
	delete(s.awaited, names)
	return awaited
}

// atWork returns the busy targets and their names. Ask before the state is looked
// at: what a target has left there by then is not all of it. A nil shift has none.
func (s *shift) atWork() map[string]string {
	busy := make(map[string]string)
	if s == nil {
		return busy
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for file, names := range s.busy {
		busy[file] = names
	}
	return busy
}

// leaveOut keeps v from the targets that were busy before it was looked at, and
// from those with the same names: a CA may answer their order with the one that
// is open.
func (s *shift) leaveOut(v *View, busy map[string]string) {
	if s == nil || len(busy) == 0 {
		return
	}
	v.busy = make(map[string]bool)
	taken := make(map[string]bool)
	for file, names := range busy {
		v.busy[file], taken[names] = true, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range v.Targets.Targets {
		if names := sameNames(t); taken[names] && !v.busy[t.File] {
			v.busy[t.File], s.awaited[names] = true, true
			v.again = v.again || !slices.Contains(slices.Collect(maps.Values(s.busy)), names)
		}
	}
}

// sameNames is the same for targets whose orders have the same names.
func sameNames(t *config.Target) string { return strings.Join(t.RequestNames, " ") }

// claim takes an order for a target, and reports whether it could.
func (s *shift) claim(url, target string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if owner, ok := s.claims[url]; ok {
		return owner == target
	}
	s.claims[url] = target
	return true
}

// unclaimed reports whether nobody has taken an order so far, and that nobody may.
func (s *shift) unclaimed(url string) bool {
	const nobody = "." // no file of desired/
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.claims[url]; taken {
		return false
	}
	s.claims[url] = nobody
	return true
}

// gate is that of the orders open at a CA; at most so many count at once.
func (s *shift) gate(directory string, most int) *gate {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.slots[directory]
	if g == nil || cap(g.places) != cap(newGate(most).places) {
		g = newGate(most)
		s.slots[directory] = g
	}
	return g
}

// account has one pass at a time look for the account at a CA, so that no two
// register one each. done must be called.
func (s *shift) account(directory string) (done func()) {
	s.mu.Lock()
	door := s.doors[directory]
	if door == nil {
		door = &sync.Mutex{}
		s.doors[directory] = door
	}
	s.mu.Unlock()
	door.Lock()
	return door.Unlock
}

// keepPending leaves those undelivered events in v that wait for another try: the
// rest is with passes at work. A nil shift has none at work.
func (s *shift) keepPending(v *View) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v.Snapshot.Pending = nil
	for _, e := range s.pending {
		if e.tried != nil {
			v.Snapshot.Pending = append(v.Snapshot.Pending, e.event)
		}
	}
}

// slotTime is for how long an order counts among those open at a CA at once: a
// slow one waits for something else than the CA, and must hold up no other.
const slotTime = time.Minute

// A gate lets in so many at once, not counting who is inside for long.
type gate struct{ places chan struct{} }

func newGate(most int) *gate { return &gate{make(chan struct{}, max(1, most))} }

// enter waits for a place. leave must be called, also after an error.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	select {
	case g.places <- struct{}{}:
	case <-ctx.Done():
		return func() {}, ctx.Err()
	}
	free := sync.OnceFunc(func() { <-g.places })
	late := time.AfterFunc(slotTime, free)
	return func() { late.Stop(); free() }, nil
}

// An undelivered event is one that hooks still have to see.
type undelivered struct {
	event state.Event
	tried *pass // that could not deliver it; nil if none has tried
}

// addPending notes an event that was journaled. The caller holds mu.
func (s *shift) addPending(e state.Event) { s.pending = append(s.pending, undelivered{event: e}) }

// isPending reports whether an event with this ID is there, and is not being
// delivered.
func (s *shift) isPending(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.pending, func(e undelivered) bool { return e.event.ID == id })
}
