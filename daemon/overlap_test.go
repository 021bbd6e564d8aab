package daemon_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/daemon"
	"certd/hooks"
	"certd/state"
)

// A stuckHook hangs for challenges of one name, until ctx ends, and notes which
// names of live/ it was told of.
type stuckHook struct {
	name  string
	stuck chan struct{} // closed once it hangs

	once sync.Once
	mu   sync.Mutex
	told []string
}

func (h *stuckHook) Run(ctx context.Context, ev hooks.Event, _ func(string) bool) ([]hooks.Result, error) {
	switch {
	case ev.Name == "challenge-http-start" && ev.Args[0] == h.name:
		h.once.Do(func() { close(h.stuck) })
		<-ctx.Done()
		return []hooks.Result{{Hook: "/h", Outcome: hooks.Timeout, Err: ctx.Err()}}, nil
	case ev.Name == "live-updated":
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told = append(h.told, strings.Fields(string(ev.Stdin))...)
	}
	return []hooks.Result{{Hook: "/h", Outcome: hooks.OK}}, nil
}

func (h *stuckHook) heard(name string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(h.told), func(n string) bool { return n != name }))
}

// until waits for done, as long as it may take on a busy machine.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for begun := time.Now(); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > 3*time.Minute {
			t.Fatalf("%s: not within 3 minutes", what)
		}
	}
}

// TestDaemonWithAStuckTarget: while the hook of one target hangs, a certificate of
// seconds is renewed and renewed again, a target that is new is taken up, and their
// servers are told. SIGTERM ends it all; the order of the stuck target stays.
func TestDaemonWithAStuckTarget(t *testing.T) {
	t.Parallel()
	const stuck, short, late = "stuck.example.test", "short.example.test", "late.example.test"
	ca := acmetest.StartT(t, acmetest.Options{AlwaysValid: true, Profiles: map[string]time.Duration{"short": 16 * time.Second, "long": 90 * 24 * time.Hour}})
	dir, hook := t.TempDir(), &stuckHook{name: stuck, stuck: make(chan struct{})}
	configureCAs(t, dir, []caEntry{{"pebble", ca, ""}}, stuck)
	settings, err := os.ReadFile(dir + "/conf/certd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/conf/certd.yaml", string(settings)+"listen: \"\"\n")
	write(t, dir+"/desired/"+stuck, "request: {profile: long, challenge: {method: hook}}\n")
	write(t, dir+"/desired/"+short, "request: {profile: short}\n")
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.RunOptions{Options: daemon.Options{Store: store, Hooks: hook}})
	}()
	<-hook.stuck
	serial := func(name string) string {
		to, _ := os.Readlink(dir + "/live/" + name)
		return to
	}
	until(t, "the first certificate", func() bool { return serial(short) != "" })
	for _, which := range []string{"one renewal", "another renewal"} {
		last := serial(short)
		until(t, which, func() bool { return serial(short) != last })
	}
	write(t, dir+"/desired/"+late, "request: {profile: long}\n")
	until(t, "the new target", func() bool { return serial(late) != "" })
	until(t, "the hooks", func() bool { return hook.heard(short) > 1 && hook.heard(late) > 0 })
	if to := serial(stuck); to != "" {
		t.Errorf("the stuck target has %s", to)
	}
	if n := hook.heard(late); n != 1 {
		t.Errorf("the hooks were told %d times of %s, want once", n, late)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	lock, err := store.Lock(t.Context(), 0)
	if err != nil {
		t.Fatalf("after the end: %v", err)
	}
	defer lock.Unlock()
	snapshot := look(t, dir).Snapshot
	kept := slices.ContainsFunc(snapshot.Orders, func(o acme.OpenOrder) bool { return o.Target == stuck })
	if failed := snapshot.Attempts[stuck].LastError; !kept || failed != "" {
		t.Errorf("the order of the stuck target is kept: %t, failure %q; want it kept, and no failure", kept, failed)
	}
}
