package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"certd/config"
	"certd/hooks"
	"certd/limit"
	"certd/state"
)

// TestStuckTargetHoldsUpNoOther: while one target is stuck in the first pass for a
// quarter of an hour, another one with a certificate of 20 seconds is renewed at the
// very moment each of its certificates is due, the first time at the word of that pass.
func TestStuckTargetHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.want("other.example.test")
		w.want("stuck.example.test")
		w.view.busy = map[string]bool{"stuck.example.test": true}
		w.during = func(ctx context.Context, o Options) (*Report, error) {
			for link, id := range w.view.Snapshot.Live {
				if c := w.view.Snapshot.Certificates[id]; time.Now().After(c.NotAfter) {
					t.Errorf("%s expired at %v", link, c.NotAfter)
				}
			}
			report := w.issue(20 * time.Second)
			if o.Trigger == "startup" {
				o.run.working(time.Now().Add(10 * time.Second))
				sleeps(ctx, 15*time.Minute)
			}
			return report, nil
		}
		w.run("@every 6h", 0, 15*time.Minute-time.Second, nil)
		for i := 1; i < len(w.begun); i++ {
			if gap := w.begun[i] - w.begun[i-1]; gap != 10*time.Second || w.why[i] != "timer" {
				t.Errorf("pass %d came %v after the one before, by %s; want 10s, by timer", i, gap, w.why[i])
			}
		}
		if len(w.begun) != 90 {
			t.Errorf("%d passes in a quarter of an hour, want 90", len(w.begun))
		}
	})
}

// TestPassesOverlap: what a pass at its targets tells, or a person asks for, is done
// after the time that most passes are over by, and then at the very moment; an older
// pass that ends is followed by one that sees to what it has left.
func TestPassesOverlap(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		during func(o Options, hup chan<- os.Signal) // of the first pass, which lasts 10 minutes in all
		begun  []time.Duration                       // of the others
		why    string                                // of the first of them
	}{
		{"nothing else is due", func(o Options, _ chan<- os.Signal) { o.run.working(time.Time{}) }, nil, ""},
		{"it has not come to its targets", func(_ Options, hup chan<- os.Signal) { hup <- syscall.SIGHUP }, []time.Duration{10 * time.Minute}, "signal"},
		{"due soon", func(o Options, _ chan<- os.Signal) { o.run.working(time.Now().Add(time.Second)) }, []time.Duration{overlapAfter, 10*time.Minute + breath}, "timer"},
		{"due later", func(o Options, _ chan<- os.Signal) { o.run.working(time.Now().Add(time.Minute)) }, []time.Duration{time.Minute, 10*time.Minute + breath}, "timer"},
		{"somebody asks for a pass", func(o Options, hup chan<- os.Signal) { o.run.working(time.Time{}); hup <- syscall.SIGHUP },
			[]time.Duration{overlapAfter, 10*time.Minute + breath}, "signal"},
		{"a target is done, and due again after another pass has looked", func(o Options, _ chan<- os.Signal) {
			o.run.working(time.Now().Add(20 * time.Second))
			time.Sleep(30 * time.Second)
			o.run.wake(time.Now().Add(time.Minute))
		}, []time.Duration{20 * time.Second, 90 * time.Second, 10*time.Minute + breath}, "timer"},
		{"a target was done before another pass has looked", func(o Options, _ chan<- os.Signal) {
			o.run.wake(time.Now().Add(time.Minute))
			o.run.working(time.Now().Add(20 * time.Second))
		}, []time.Duration{20 * time.Second, 10*time.Minute + breath}, "timer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				hup := make(chan os.Signal)
				w.during = func(_ context.Context, o Options) (*Report, error) {
					if o.Trigger == "startup" {
						tt.during(o, hup)
						time.Sleep(10*time.Minute - time.Since(w.start))
					}
					return &Report{}, nil
				}
				w.run("@every 6h", 0, time.Hour, func(l *loop) { l.Reload = hup })
				if got := w.begun[1:]; !slices.Equal(got, tt.begun) || tt.why != "" && w.why[1] != tt.why {
					t.Errorf("passes after %v, by %v; want them after %v, the first by %s", got, w.why[1:], tt.begun, tt.why)
				}
			})
		})
	}
}

// TestPassesAreBounded: however many passes are slow, no more than maxRuns are at
// work; SIGTERM ends them all in time.
func TestPassesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var mu sync.Mutex
		atWork, most := 0, 0
		w.during = func(ctx context.Context, o Options) (*Report, error) {
			mu.Lock()
			atWork++
			most = max(most, atWork)
			mu.Unlock()
			o.run.working(time.Now())
			time.Sleep(time.Hour)
			mu.Lock()
			atWork--
			mu.Unlock()
			return &Report{}, nil
		}
		w.run("@every 6h", 0, 90*time.Minute, nil)
		if most != maxRuns {
			t.Errorf("%d passes at once, want %d", most, maxRuns)
		}
		if took := time.Since(w.start); took != 90*time.Minute+stopWithin {
			t.Errorf("the daemon ended %v after it was told to, want %v", took-90*time.Minute, stopWithin)
		}
		time.Sleep(2 * time.Hour) // for the passes
	})
}

// TestSilentPassAmongOthers: one pass that gives no sign of life is found out
// although others do.
func TestSilentPassAmongOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, silent, lively := &pulse{turned: time.Now()}, &run{}, &run{}
		var mute, o Options
		p.begin(silent, &mute)
		p.begin(lively, &o)
		for range 30 {
			time.Sleep(time.Minute)
			o.Progress(Progress{})
		}
		if p.stalled() == nil {
			t.Error("a pass was silent for half an hour, and nobody says so")
		}
		if p.end(silent); p.stalled() != nil {
			t.Errorf("of the other one alone: %v", p.stalled())
		}
	})
}

// TestGate: it lets in so many at once; who stays for long does not count, and
// leaves but once.
func TestGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2)
		begun := time.Now()
		slow, _ := g.enter(t.Context())
		quick, _ := g.enter(t.Context())
		time.AfterFunc(time.Second, quick)
		third, _ := g.enter(t.Context())
		if waited := time.Since(begun); waited != time.Second {
			t.Errorf("the third came in after %v, want 1s", waited)
		}
		fourth, err := g.enter(t.Context())
		if waited := time.Since(begun); err != nil || waited != slotTime {
			t.Errorf("the fourth came in after %v, %v; want %v", waited, err, slotTime)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		slow() // its place is another's by now
		quick()
		if leave, err := g.enter(ctx); err == nil {
			t.Error("a fifth came in although two are inside")
		} else {
			leave()
		}
		third()
		fourth()
		if len(g.places) != 0 {
			t.Errorf("%d places are taken after all have left", len(g.places))
		}
	})
}

// shiftOf returns a shift with a lock on a state directory, and passes of it.
func shiftOf(t *testing.T, runner HookRunner, passes int) (*shift, []*pass) {
	t.Helper()
	store, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &crew{}
	var all []*pass
	for range passes {
		s, leave, err := c.enter(t.Context(), Options{Store: store})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(leave)
		view := &View{Settings: &config.Settings{}, Targets: &config.Targets{}, Snapshot: &state.Snapshot{}, Limits: &limit.Book{}}
		all = append(all, newPass(Options{Store: store, Hooks: runner, Log: discard()}, view, s))
	}
	return c.current(), all
}

// TestCrewHoldsTheLock from the first pass that comes to the last one that leaves.
func TestCrewHoldsTheLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() *state.Store {
		store, err := state.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	free := func() bool {
		lock, err := open().Lock(t.Context(), 0)
		if err != nil {
			return false
		}
		return lock.Unlock() == nil
	}
	c, o := &crew{}, Options{Store: open(), Log: discard()}
	first, leave1, err1 := c.enter(t.Context(), o)
	second, leave2, err2 := c.enter(t.Context(), o)
	if err := errors.Join(err1, err2); err != nil || first != second {
		t.Fatalf("%v; the passes share a shift: %t", err, first == second)
	}
	if leave1(); free() {
		t.Error("the lock is free although a pass is at work")
	}
	if leave2(); !free() || c.current() != nil {
		t.Error("the lock is kept although no pass is at work")
	}
	third, leave3, err := c.enter(t.Context(), o)
	if err != nil || third == first {
		t.Errorf("%v; want another shift", err)
	}
	leave3()
}

// A slowHook hangs in its first run, and notes all of them.
type slowHook struct {
	hangs chan struct{} // closed: it does not hang any more

	mu     sync.Mutex
	seen   []string // names, of each run
	atWork int
	most   int
}

func (h *slowHook) Run(_ context.Context, ev hooks.Event, _ func(string) bool) ([]hooks.Result, error) {
	h.mu.Lock()
	h.seen = append(h.seen, string(ev.Stdin))
	h.atWork++
	h.most = max(h.most, h.atWork)
	h.mu.Unlock()
	<-h.hangs
	h.mu.Lock()
	h.atWork--
	h.mu.Unlock()
	return []hooks.Result{{Hook: "/h", Outcome: hooks.OK}}, nil
}

// TestEventsOfTwoPasses: while a hook hangs in one pass, another one journals its
// events and ends; each event is delivered once, one after the other, in order.
func TestEventsOfTwoPasses(t *testing.T) {
	t.Parallel()
	hook := &slowHook{hangs: make(chan struct{})}
	s, p := shiftOf(t, hook, 2)
	p[0].raise(state.Event{Event: "failed", Names: []string{"a.example.test"}})
	var first sync.WaitGroup
	first.Go(func() { p[0].deliver(t.Context()) })
	for hanging := false; !hanging; time.Sleep(time.Millisecond) {
		hook.mu.Lock()
		hanging = hook.atWork > 0
		hook.mu.Unlock()
	}
	p[1].raise(state.Event{Event: "failed", Names: []string{"b.example.test"}})
	p[1].deliver(t.Context())
	p[1].raise(state.Event{Event: "failed", Names: []string{"c.example.test"}})
	p[1].deliver(t.Context())
	close(hook.hangs)
	first.Wait()
	if want := []string{"a.example.test\n", "b.example.test\n", "c.example.test\n"}; !slices.Equal(hook.seen, want) || hook.most != 1 {
		t.Errorf("the hook saw %q, %d at once; want %q, one after the other", hook.seen, hook.most, want)
	}
	if len(s.pending) != 0 {
		t.Errorf("%d events are left", len(s.pending))
	}
	snapshot, err := p[0].Store.Snapshot()
	if err != nil || len(snapshot.Pending) != 0 {
		t.Errorf("%d events are left in pending/, %v", len(snapshot.Pending), err)
	}
	for i := range p {
		if p[i].report.Failed() {
			t.Errorf("pass %d reports a failure: %+v", i, p[i].report)
		}
	}
}

// TestPublishingBesideAHangingHook: live links stay as they are while servers
// reload, and for no longer than that may take.
func TestPublishingBesideAHangingHook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hook := &slowHook{hangs: make(chan struct{})}
		_, p := shiftOf(t, hook, 2)
		p[0].raise(state.Event{Event: "live-updated", Names: []string{"a.example.test"}})
		var first sync.WaitGroup
		first.Go(func() { p[0].deliver(t.Context()) })
		synctest.Wait()
		begun := time.Now()
		for !p[1].swap.TryRLock() {
			time.Sleep(time.Second)
		}
		if waited := time.Since(begun); waited < stillTime || waited > stillTime+time.Second {
			t.Errorf("publishing waited for %v, want %v", waited, stillTime)
		}
		p[1].swap.RUnlock()
		close(hook.hangs)
		first.Wait()
	})
}

// TestBusyTargetsAreLeftOut, and those with the same names, until somebody is done
// with them.
func TestBusyTargetsAreLeftOut(t *testing.T) {
	t.Parallel()
	target := func(file, data string) *config.Target {
		parsed, err := config.ParseTarget(file, []byte(data), nil)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	busy, same, other := target("a.example.test", ""), target("twin", "satisfy: {names: [a.example.test]}\nlabel: rsa\n"), target("b.example.test", "")
	view := func() *View {
		return &View{Settings: &config.Settings{}, Targets: &config.Targets{Targets: []*config.Target{busy, same, other}}, Snapshot: &state.Snapshot{}}
	}
	s, v := newShift(), view()
	s.begin(busy)
	s.leaveOut(v, s.atWork())
	if len(v.busy) != 2 || v.busy[other.File] || v.again {
		t.Errorf("left out are %v, again %t; want the two with the same names", v.busy, v.again)
	}
	for _, a := range v.Plan(func(*config.Target) bool { return true }, false) {
		if a.Target != other.File {
			t.Errorf("%s is planned: %s", a.Target, a.Kind)
		}
	}
	if !s.done(busy.File) || s.done(busy.File) {
		t.Error("that one was left out is to be told once")
	}
	s.begin(busy)
	before := s.atWork()
	s.done(busy.File)
	v = view()
	if s.leaveOut(v, before); !v.busy[busy.File] || !v.busy[same.File] || !v.again {
		t.Errorf("done between two looks: left out are %v, again %t; want both, to be looked at again", v.busy, v.again)
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
