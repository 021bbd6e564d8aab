package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/config"
	"certd/daemon"
	"certd/hooks"
	"certd/state"
)

// A recorder is a HookRunner with two hooks whose answers a test decides.
type recorder struct {
	mu     sync.Mutex // guards what follows
	calls  []string   // "hook event names"
	answer func(hook, event string) hooks.Outcome
}

func (r *recorder) Run(_ context.Context, ev hooks.Event, skip func(path string) bool) ([]hooks.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []hooks.Result
	for _, hook := range []string{"/h/a", "/h/b"} {
		if skip != nil && skip(hook) {
			continue
		}
		r.calls = append(r.calls, fmt.Sprintf("%s %s %s", hook, ev.Name, strings.Join(strings.Fields(string(ev.Stdin)), ",")))
		result := hooks.Result{Hook: hook, Outcome: r.answer(hook, ev.Name)}
		if result.Outcome == hooks.Failed {
			result.Err = errors.New("exit status 1")
		}
		out = append(out, result)
	}
	return out, nil
}

// take returns the calls so far, and forgets them.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

// TestHooksAreDeliveredAtLeastOnce: one call for all that changed; a hook that
// failed is called again by the next pass, one that has done its part is not.
func TestHooksAreDeliveredAtLeastOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configureFault(t, dir, acmetest.StartFaulty(t))
	write(t, dir+"/desired/b.example.test", "")
	broken := true
	r := &recorder{answer: func(hook, event string) hooks.Outcome {
		switch {
		case event != "live-updated":
			return hooks.Skipped
		case hook == "/h/b" && broken:
			return hooks.Failed
		}
		return hooks.OK
	}}
	run := func() *daemon.Report { return pass(t, dir, daemon.Options{Hooks: r}) }

	report := run()
	want := []string{"/h/a account-created ", "/h/a live-updated b.example.test,www.example.test",
		"/h/b account-created ", "/h/b live-updated b.example.test,www.example.test"}
	if got := sorted(r.take()); !slices.Equal(got, want) {
		t.Errorf("first pass called %q, want %q", got, want)
	}
	if report.Pending == 0 || !report.Failed() {
		t.Errorf("a failed hook: %d events pending, failed is %t; want some, and true", report.Pending, report.Failed())
	}
	if report = run(); report.Pending == 0 {
		t.Error("the event is forgotten although its hook still fails")
	}
	if got, want := r.take(), []string{"/h/b live-updated b.example.test,www.example.test"}; !slices.Equal(got, want) {
		t.Errorf("second pass called %q, want only the hook that failed: %q", got, want)
	}
	broken = false
	if report = run(); report.Pending != 0 || report.Failed() {
		t.Errorf("after the hook was mended: %d pending, failed is %t", report.Pending, report.Failed())
	}
	r.take()
	if run(); len(r.take()) != 0 {
		t.Error("a delivered event was delivered again")
	}
}

// TestFailureIsTold: the hooks hear of a failed attempt, and status knows it.
func TestFailureIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fault, ok := acmetest.FaultNamed("problem/rejectedIdentifier/order")
	if !ok {
		fault = acmetest.Respond("order", 400, nil, `{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"no such name here"}`)
	}
	configureFault(t, dir, acmetest.StartFaulty(t, fault))
	r := &recorder{answer: func(string, string) hooks.Outcome { return hooks.OK }}
	report := pass(t, dir, daemon.Options{Hooks: r})
	if got := report.Results[0]; got.Outcome != daemon.Failed || acme.ClassOf(got.Err) != acme.ClassName {
		t.Fatalf("outcome %s, %v; want failed with class name", got.Outcome, got.Err)
	}
	if got := r.take(); !slices.Contains(got, "/h/a failed "+faultName) {
		t.Errorf("hooks heard %q, want that %s failed", got, faultName)
	}
	status := look(t, dir).Status()
	if len(status) != 1 || status[0].State != daemon.Failing || status[0].LastError == "" || status[0].Attempt.Failures != 1 {
		t.Errorf("status %+v, want one failing name with its error", status)
	}
	again := pass(t, dir, daemon.Options{Hooks: r}).Results[0]
	if again.Outcome != daemon.Waiting || again.Err == nil {
		t.Errorf("the next pass: %s, %v; want waiting, with the last error", again.Outcome, again.Err)
	}
}

// TestPanicOfOneTargetIsContained: a hook that panics fails its target only.
func TestPanicOfOneTargetIsContained(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configureFault(t, dir, acmetest.StartFaulty(t))
	write(t, dir+"/desired/panic.example.test", "request: {challenge: {method: hook}}\n")
	r := &recorder{answer: func(_, event string) hooks.Outcome {
		if event == "challenge-http-start" {
			panic("boom")
		}
		return hooks.OK
	}}
	report := pass(t, dir, daemon.Options{Hooks: r})
	outcomes := make(map[string]daemon.Outcome)
	for _, res := range report.Results {
		outcomes[res.Action.Target] = res.Outcome
	}
	if outcomes[faultName] != daemon.Issued || outcomes["panic.example.test"] != daemon.Failed {
		t.Errorf("outcomes %v, want the one issued and the other failed", outcomes)
	}
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

func look(t testing.TB, dir string) *daemon.View {
	t.Helper()
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	view, err := daemon.Look(store)
	if err != nil {
		t.Fatal(err)
	}
	return view
}

// mustSelect selects every target.
func mustSelect(t testing.TB, view *daemon.View) func(*config.Target) bool {
	t.Helper()
	selected, err := view.Select(nil)
	if err != nil {
		t.Fatal(err)
	}
	return selected
}
