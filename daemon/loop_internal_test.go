package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"certd/config"
	"certd/state"
)

// A world is what the loop of a test works on: certificates instead of files,
// and a pass that is a function.
type world struct {
	t      *testing.T
	view   View
	begun  []time.Duration // since the start, of each pass
	why    []string        // its trigger
	start  time.Time
	during func(ctx context.Context, o Options) (*Report, error)

	mu   sync.Mutex // guards told
	told []string   // to the service manager
}

// fed is how often the watchdog was fed.
func (w *world) fed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, s := range w.told {
		if s == "WATCHDOG=1" {
			n++
		}
	}
	return n
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, start: time.Now()}
	w.view = View{Settings: &config.Settings{}, Targets: &config.Targets{}, Snapshot: &state.Snapshot{
		Certificates: map[string]*state.Certificate{}, Live: map[string]string{}, Attempts: map[string]state.Attempt{},
	}}
	w.during = func(context.Context, Options) (*Report, error) { return &Report{}, nil }
	return w
}

// want adds a target.
func (w *world) want(name string) {
	target, err := config.ParseTarget(name, nil, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.view.Targets.Targets = append(w.view.Targets.Targets, target)
}

// issue gives every target whose certificate is due a new one.
func (w *world) issue(lifetime time.Duration) *Report {
	w.view.Now = time.Now()
	report := &Report{}
	for _, a := range w.view.Plan(func(*config.Target) bool { return true }, false) {
		report.Results = append(report.Results, Result{Action: a, Outcome: Unchanged})
		if a.Kind != "order" {
			continue
		}
		report.Results[len(report.Results)-1].Outcome = Issued
		now := time.Now().UTC()
		id := fmt.Sprintf("%s-%d", a.Target, now.UnixNano())
		snapshot := w.view.Snapshot
		snapshot.Certificates = maps.Clone(snapshot.Certificates)
		snapshot.Live = maps.Clone(snapshot.Live)
		snapshot.Certificates[id] = &state.Certificate{ID: id, URL: "https://ca.test/" + id, Directory: a.CA, KeyType: "ecdsa-p256", HasKey: true,
			Names: a.Names, NotBefore: now, NotAfter: now.Add(lifetime), Target: a.Target}
		for _, link := range a.Links {
			snapshot.Live[link] = id
		}
	}
	return report
}

// run turns a loop with this schedule for a time, and waits for its end.
func (w *world) run(schedule string, jitter, howLong time.Duration, change func(*loop)) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), howLong)
	defer cancel()
	l := newLoop(RunOptions{Options: Options{Log: slog.New(slog.DiscardHandler)}}, func(ctx context.Context, o Options) (*Report, error) {
		w.begun, w.why = append(w.begun, time.Since(w.start)), append(w.why, o.Trigger)
		return w.during(ctx, o)
	})
	l.look = func(*Fallback) (*View, error) { v := w.view; v.Now = time.Now(); return &v, nil }
	l.notifier.tell = func(state string) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told = append(w.told, state)
		return nil
	}
	next, err := l.build(ctx, &config.Settings{Schedule: schedule, Jitter: jitter}, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	l.swap(next)
	if change != nil {
		change(l)
	}
	if err := l.run(ctx); err != nil {
		w.t.Error(err)
	}
}

// TestHealthBeforeTheFirstTurn: sockets of the service manager are answered from
// the start, and a daemon that has just started is not ill.
func TestHealthBeforeTheFirstTurn(t *testing.T) {
	t.Parallel()
	l := newLoop(RunOptions{Options: Options{Log: slog.New(slog.DiscardHandler)}}, nil)
	if text, err := l.pulse.health(); err != nil || text != "starting" {
		t.Errorf("got %q, %v", text, err)
	}
}

// TestLogNamesTheNextPass: it is that of the schedule if nothing comes due before.
func TestLogNamesTheNextPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var log bytes.Buffer
		w.run("@every 6h", 0, time.Hour, func(l *loop) { l.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		if want := "next=" + w.start.Add(6*time.Hour).UTC().Format(time.RFC3339); !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %s:\n%s", want, log.String())
		}
	})
}

// TestScheduleWithJitter: the first pass is at the start, the others come by
// schedule, late by no more than the jitter, and not always by the same time.
func TestScheduleWithJitter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run("@every 6h", 30*time.Minute, 3*day, nil)
		if len(w.begun) < 11 || w.begun[0] != 0 || w.why[0] != "startup" {
			t.Fatalf("%d passes in three days, the first after %v by %s; want 11 or 12, the first at once", len(w.begun), w.begun[0], w.why[0])
		}
		gaps := make(map[time.Duration]bool)
		for i := 1; i < len(w.begun); i++ {
			gap := w.begun[i] - w.begun[i-1]
			gaps[gap] = true
			if w.why[i] != "cron" || gap < 6*time.Hour-time.Second || gap > 6*time.Hour+30*time.Minute {
				t.Errorf("pass %d came %v after the one before, by %s; want 6h to 6h30m, by cron", i, gap, w.why[i])
			}
		}
		if len(gaps) < 5 {
			t.Errorf("the gaps are %v: no jitter", slices.Collect(maps.Keys(gaps)))
		}
	})
}

// TestExactWakeUps: certificates far shorter than the schedule's interval are
// renewed at the very moment they are due, none expires, and nothing runs beside.
func TestExactWakeUps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.want("a.example.test")
		w.want("b.example.test")
		w.during = func(context.Context, Options) (*Report, error) {
			for link, id := range w.view.Snapshot.Live {
				if c := w.view.Snapshot.Certificates[id]; time.Now().After(c.NotAfter) {
					t.Errorf("%s expired at %v", link, c.NotAfter)
				}
			}
			return w.issue(20 * time.Second), nil
		}
		w.run("@every 6h", 30*time.Minute, 10*time.Minute-time.Second, nil)
		for i := 1; i < len(w.begun); i++ {
			if gap := w.begun[i] - w.begun[i-1]; gap != 10*time.Second || w.why[i] != "timer" {
				t.Errorf("pass %d came %v after the one before, by %s; want 10s, by timer", i, gap, w.why[i])
			}
		}
		if len(w.begun) != 60 {
			t.Errorf("%d passes in ten minutes, want 60", len(w.begun))
		}
	})
}

// TestDueDuringAPass: a target that comes due while a pass works on others does
// not wait for the schedule, nor for the pause after a failure.
func TestDueDuringAPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.want("a.example.test")
		w.during = func(context.Context, Options) (*Report, error) {
			report := w.issue(20 * time.Second)
			time.Sleep(15 * time.Second) // it is due after 10
			return report, nil
		}
		w.run("@every 6h", 0, 5*time.Minute, nil)
		for i := 1; i < len(w.begun); i++ {
			if gap := w.begun[i] - w.begun[i-1]; gap != 16*time.Second {
				t.Errorf("pass %d came %v after the one before, want the 15s it took and a second", i, gap)
			}
		}
	})
}

// TestOnePassAtATime: a pass that takes longer than the schedule's interval is
// neither joined by another nor followed by a queue of them, and the loop goes on
// turning all the while.
func TestOnePassAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var atWork atomic.Int32
		var l *loop
		w.during = func(ctx context.Context, o Options) (*Report, error) {
			if atWork.Add(1) != 1 {
				t.Error("two passes at once")
			}
			defer atWork.Add(-1)
			for range 150 {
				if !sleeps(ctx, time.Minute) { // the day is over
					break
				}
				o.Progress(Progress{})
				if _, err := l.pulse.health(); err != nil {
					t.Errorf("in the pass: %v", err)
				}
			}
			return &Report{}, nil
		}
		w.run("@every 1h", 0, 24*time.Hour, func(of *loop) { l = of })
		if len(w.begun) < 8 || len(w.begun) > 10 {
			t.Errorf("%d passes of 2.5 hours in a day with an hourly schedule, want 8 to 10", len(w.begun))
		}
	})
}

// sleeps sleeps for d, and reports whether ctx let it.
func sleeps(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// TestPassesThatFail: what keeps a pass from running, a panic among it, is tried
// again after a pause, and the daemon lives on.
func TestPassesThatFail(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fail  func() (*Report, error)
		pause time.Duration
	}{
		{"panic", func() (*Report, error) { panic("a bug") }, retryPause},
		{"mistake in conf", func() (*Report, error) { return nil, &ConfigError{errors.New("certd.yaml:3")} }, retryPause},
		{"lock", func() (*Report, error) { return nil, &state.LockedError{Path: "lock", PID: 7} }, lockPause},
		{"disk full: the failure of the target is not kept", func() (*Report, error) {
			return &Report{Results: []Result{{Outcome: Failed}}}, nil
		}, retryPause},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.want("a.example.test")
				w.during = func(context.Context, Options) (*Report, error) {
					report, err := tt.fail()
					if report != nil {
						report.Results[0].Action.Target = "a.example.test"
					}
					return report, err
				}
				w.run("@every 6h", 0, time.Hour-time.Second, nil)
				if want := int(time.Hour / tt.pause); len(w.begun) != want {
					t.Errorf("%d passes in an hour, want %d, one each %v", len(w.begun), want, tt.pause)
				}
			})
		})
	}
}

// TestStopCutsOff: a pass that does not heed its context does not keep the
// process.
func TestStopCutsOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.during = func(context.Context, Options) (*Report, error) { time.Sleep(time.Hour); return &Report{}, nil }
		w.run("@every 6h", 0, time.Minute, nil)
		if took := time.Since(w.start); took != time.Minute+stopWithin {
			t.Errorf("the daemon ended %v after it was told to, want %v", took-time.Minute, stopWithin)
		}
		if last := w.told[len(w.told)-1]; last != "STOPPING=1" {
			t.Errorf("the last word was %q", last)
		}
		time.Sleep(2 * time.Hour) // for the pass
	})
}

// TestWatchdog: the loop feeds it while it waits and while a pass shows signs of
// life; a pass that has gone silent starves it, and health says so.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var l *loop
		w.during = func(_ context.Context, o Options) (*Report, error) {
			before := w.fed()
			time.Sleep(stalledAfter)
			synctest.Wait()
			if got := w.fed() - before; got < 35 {
				t.Errorf("fed %d times in 20 minutes of a pass that is well, with a limit of 2 minutes", got)
			}
			time.Sleep(time.Minute)
			before = w.fed()
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if got := w.fed() - before; got != 0 {
				t.Errorf("fed %d times in a pass that hangs", got)
			}
			if _, err := l.pulse.health(); err == nil || !strings.Contains(err.Error(), "no sign of life") {
				t.Errorf("health of a pass that hangs: %v", err)
			}
			o.Progress(Progress{})
			if _, err := l.pulse.health(); err != nil {
				t.Errorf("health after a sign of life: %v", err)
			}
			return &Report{}, nil
		}
		w.run("@every 6h", 0, time.Hour, func(of *loop) { l = of; l.notifier.watchdog = 2 * time.Minute })
		time.Sleep(2 * hungAfter)
		if _, err := l.pulse.health(); err == nil || !strings.Contains(err.Error(), "not turned") {
			t.Errorf("health of a loop that is gone: %v", err)
		}
	})
}
