package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"certd/hooks"
	"certd/state"
)

func TestParseSchedule(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 20, 12, 0, 0, 0, time.Local)
	for _, tt := range []struct {
		spec          string
		jitter        time.Duration
		least, before time.Duration // after noon
		refused       string
	}{
		{"@every 6h", 0, 6 * time.Hour, 6*time.Hour + 1, ""},
		{"@every 6h", 30 * time.Minute, 6 * time.Hour, 6*time.Hour + 30*time.Minute, ""},
		{"@every 1m", 30 * time.Minute, time.Minute, 90 * time.Second, ""}, // never more than half of the interval
		{"@hourly", 0, time.Hour, time.Hour + 1, ""},
		{"*/10 * * * *", time.Hour, 10 * time.Minute, 15 * time.Minute, ""},
		{"0 3,15 * * *", time.Hour, 3 * time.Hour, 4 * time.Hour, ""},
		{"0 0 31 2 *", 0, 0, 0, "never comes"},
		{"61 * * * *", 0, 0, 0, "certd.yaml: schedule"},
		{"* * *", 0, 0, 0, "certd.yaml: schedule"},
	} {
		s, err := parseSchedule(tt.spec, tt.jitter)
		if tt.refused != "" {
			if err == nil || !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("%q: error %v, want one that says %q", tt.spec, err, tt.refused)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.spec, err)
			continue
		}
		for range 100 {
			if wait := s.Next(noon).Sub(noon); wait < tt.least || wait >= tt.before {
				t.Errorf("%q with jitter %v comes %v after noon, want from %v to before %v", tt.spec, tt.jitter, wait, tt.least, tt.before)
			}
		}
	}
}

// TestWakeUpForEvents: an event that a hook did not take is delivered at its own
// time, and not at once again if it has none.
func TestWakeUpForEvents(t *testing.T) {
	t.Parallel()
	end := time.Now()
	for _, tt := range []struct {
		at   time.Time
		want time.Duration
	}{
		{end.Add(90 * time.Second), 90 * time.Second},
		{end.Add(-time.Hour), retryPause},
		{time.Time{}, retryPause},
	} {
		w := newWorld(t)
		w.view.Snapshot.Pending = []state.Event{{Event: "live-updated", NextAttempt: tt.at}}
		w.view.Now = end
		if got := wakeUp(outcome{report: &Report{}, view: &w.view}, end).Sub(end); got != tt.want {
			t.Errorf("an event to be tried at %v: wake-up after %v, want %v", tt.at, got, tt.want)
		}
	}
	w := newWorld(t)
	if next := wakeUp(outcome{report: &Report{}, view: &w.view}, end); !next.IsZero() {
		t.Errorf("wake-up at %v although nothing is wanted", next)
	}
}

// TestWatcher: what counts is a file that is new, gone or changed, and has come
// to rest; hidden files do not.
func TestWatcher(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	put := func(name, data string, at int) {
		t.Helper()
		when := time.Unix(int64(1_000_000+at), 0)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path(name)), 0o755), os.WriteFile(path(name), []byte(data), 0o644),
			os.Chtimes(path(name), when, when)); err != nil {
			t.Fatal(err)
		}
	}
	w := newWatcher(dir)
	now := time.Now()
	look := func(want bool, what string) {
		t.Helper()
		now = now.Add(time.Minute)
		if got := w.changed(now); got != want {
			t.Errorf("%s: changed is %t, want %t", what, got, want)
		}
	}
	look(false, "no desired/ yet")
	put("desired/a", "", 1)
	look(false, "a new file, seen once")
	look(true, "a new file at rest")
	look(true, "still nobody has looked at it")
	w.seen()
	look(false, "a pass has seen it")
	put("desired/a", "label: x\n", 2)
	look(false, "written to")
	put("desired/a", "label: xy\n", 3)
	look(false, "written to again")
	look(true, "at rest")
	w.seen()
	put("desired/.a.swp", "x", 4)
	look(false, "hidden")
	look(false, "hidden")
	put("conf/target", "", 5)
	look(false, "conf/target")
	look(true, "conf/target at rest")
	w.seen()
	if err := os.Remove(path("desired/a")); err != nil {
		t.Fatal(err)
	}
	look(false, "removed")
	look(true, "removed for good")
	if w.changed(now) {
		t.Error("it looked again at once")
	}
}

func TestSentence(t *testing.T) {
	t.Parallel()
	now := time.Now()
	l := &loop{}
	for _, tt := range []struct {
		change func()
		want   string
	}{
		{func() {}, "starting"},
		{func() { l.runs = []*run{{trigger: "startup"}} }, "at work (startup)"},
		{func() { l.runs, l.facts = nil, facts{known: true} }, "0 certificates"},
		{func() { l.facts.certificates, l.facts.renewal = 3, now.Add(12*day+time.Hour) }, "3 certificates, next renewal in 12 days"},
		{func() { l.facts.failing, l.runs = 1, []*run{{trigger: "cron"}, {trigger: "watch"}} }, "3 certificates, 1 failing, next renewal in 12 days, at work (cron, watch)"},
		{func() { l.facts = facts{known: true, certificates: 1, renewal: now}; l.runs = nil }, "1 certificate, next renewal in less than 2 minutes"},
		{func() { l.facts.unwritten = "disk full" }, "1 certificate, next renewal in less than 2 minutes, metrics not written: disk full"},
		{func() { l.facts.unwritten, l.reloadErr = "", errors.New("a\nb") }, `1 certificate, next renewal in less than 2 minutes, not reloaded: a b`},
	} {
		tt.change()
		if got := l.sentence(now); got != tt.want {
			t.Errorf("sentence %q, want %q", got, tt.want)
		}
	}
}

// TestHooksAreSignsOfLife: each hook that is about to run is one, and the skip of
// the pass is still asked.
func TestHooksAreSignsOfLife(t *testing.T) {
	t.Parallel()
	p, r := &pulse{}, &run{}
	asked := 0
	o := Options{Hooks: hookFunc(func(skip func(string) bool) {
		p.mu.Lock()
		p.alive[r] = time.Now().Add(-2 * stalledAfter)
		p.mu.Unlock()
		if !skip("/hook") || p.stalled() != nil {
			t.Errorf("asked whether to skip a hook: %v", p.stalled())
		}
	})}
	p.begin(r, &o)
	_, _ = o.Hooks.Run(t.Context(), hooks.Event{}, func(string) bool { asked++; return true })
	if asked != 1 {
		t.Errorf("the pass was asked %d times, want once", asked)
	}
	if p.end(r); p.stalled() != nil {
		t.Error("stalled without a pass")
	}
}

type hookFunc func(skip func(string) bool)

func (f hookFunc) Run(_ context.Context, _ hooks.Event, skip func(string) bool) ([]hooks.Result, error) {
	f(skip)
	return nil, nil
}

// TestSetBack: the exact wake-up is by the wall clock, which says nothing after
// it was set back.
func TestSetBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what            string
		wall, monotonic time.Duration
		want            bool
	}{
		{"both go on", time.Hour, time.Hour, false},
		{"a second of difference is nothing", time.Hour - time.Second, time.Hour, false},
		{"set back by an hour", time.Minute, 61 * time.Minute, true},
		{"set back to before the last pass", -40 * 24 * time.Hour, time.Minute, true},
		{"set forward, or the machine slept", 8 * time.Hour, time.Hour, false},
	} {
		if got := setBack(tt.wall, tt.monotonic); got != tt.want {
			t.Errorf("%s: got %v", tt.what, got)
		}
	}
	l := &loop{looked: time.Now(), next: time.Now().Add(time.Hour)}
	if l.due(time.Now()) {
		t.Error("a pass is due at once")
	}
}
