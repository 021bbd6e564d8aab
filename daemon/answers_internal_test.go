package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"certd/acme"
	"certd/config"
	"certd/hooks"
	"certd/plan"
	"certd/state"
)

// TestAnswersAreReadAnew: each pass has the answers of its time, and a mistake
// leaves those read before.
func TestAnswersAreReadAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var used []string
		w.during = func(_ context.Context, o Options) (*Report, error) {
			used = append(used, o.Answers.Contact)
			return &Report{}, nil
		}
		read := 0
		w.run("@every 1h", 0, 4*time.Hour+time.Minute, func(l *loop) {
			l.Answers = Answers{Contact: "start@example.com"}
			l.Reread = func() (Answers, error) {
				if read++; read%2 == 1 {
					return Answers{}, errors.New("conf/responses: a mistake")
				}
				return Answers{Contact: "new@example.com"}, nil
			}
		})
		want := []string{"start@example.com", "new@example.com", "new@example.com", "new@example.com", "new@example.com"}
		if !slices.Equal(used, want) {
			t.Errorf("the passes had %v, want %v", used, want)
		}
	})
}

// TestTroubleIsToldOnce: a reload and a pass that find the same mistake.
func TestTroubleIsToldOnce(t *testing.T) {
	t.Parallel()
	mistake := errors.New("conf/certd.yaml:9: unknown key")
	l := &loop{reloadErr: mistake}
	l.facts.trouble = "the configuration read before stays in force: " + mistake.Error()
	if got := l.troubles(); len(got) != 1 || !strings.HasPrefix(got[0], "not reloaded: ") {
		t.Errorf("one mistake is told as %q", got)
	}
	l.facts.trouble = "the disk is full"
	if got := l.troubles(); len(got) != 2 {
		t.Errorf("two troubles are told as %q", got)
	}
}

// TestRedirectsWhatIsRequested: names of a certificate that live/ has no links
// for are redirected as well.
func TestRedirectsWhatIsRequested(t *testing.T) {
	t.Parallel()
	target, err := config.ParseTarget("a.example.test", []byte("request: {names: [b.example.test]}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &loop{}
	l.know(&View{Targets: &config.Targets{Targets: []*config.Target{target}}, Snapshot: &state.Snapshot{}})
	for name, want := range map[string]bool{"a.example.test": true, "b.example.test": true, "c.example.test": false} {
		if l.allowed(name) != want {
			t.Errorf("%s is redirected: %v, want %v", name, !want, want)
		}
	}
}

// TestWaitingIsLoggedWithItsClass: the one that the failure had, which is read
// from the disk and no CA's problem any more.
func TestWaitingIsLoggedWithItsClass(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := &pass{Options: Options{Log: slog.New(slog.NewTextHandler(&out, nil))}, view: &View{Snapshot: &state.Snapshot{
		Attempts: map[string]state.Attempt{"a": {Class: string(acme.ClassOperator), LastError: "no provider"}},
	}}}
	p.report = Report{Results: []Result{{Action: plan.Action{Target: "a"}, Outcome: Waiting, Err: errors.New("no provider")}}}
	p.logReport(t.Context())
	if !strings.Contains(out.String(), "class=operator") {
		t.Errorf("the log says %s, want class=operator", &out)
	}
}

// TestPendingByHook: events that wait are those of a hook with a name, whoever
// runs the hooks.
func TestPendingByHook(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mail"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	v := &View{Snapshot: &state.Snapshot{Pending: []state.Event{{ID: "1"}}}}
	for name, runner := range map[string]HookRunner{
		"here":                    &hooks.Runner{Dirs: []string{dir}},
		"in a pass of the daemon": livelyHooks{HookRunner: &hooks.Runner{Dirs: []string{dir}}},
		"by another process":      livelyHooks{HookRunner: &hooks.Remote{Dirs: []string{dir}}},
	} {
		if got := v.pendingByHook(runner); len(got) != 1 || got["mail"] != 1 {
			t.Errorf("hooks run %s: %v, want 1 for mail", name, got)
		}
	}
}
