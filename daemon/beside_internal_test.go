package daemon

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"certd/acme/acmetest"
	"certd/config"
	"certd/plan"
	"certd/state"
)

// TestPassEndsWhileAnotherLooks: the newest pass looks at what comes next while an
// older one is still at a target, which ends and is heard of first. When that target
// is due again is not forgotten.
func TestPassEndsWhileAnotherLooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.want("a.example.test")
		w.during = func(_ context.Context, o Options) (*Report, error) {
			switch len(w.begun) {
			case 1:
				o.run.working(time.Now().Add(10*time.Minute - 2*time.Second))
				time.Sleep(10 * time.Minute)
			case 2:
				o.run.working(time.Time{})
			}
			return &Report{}, nil
		}
		var looks atomic.Int32
		w.run("@every 6h", 0, 20*time.Minute, func(l *loop) {
			look := l.look
			l.look = func(f *Fallback) (*View, error) {
				v, err := look(f)
				if looks.Add(1) == 1 { // after the second pass: the target is busy
					v.busy = map[string]bool{"a.example.test": true}
					time.Sleep(4 * time.Second)
				}
				return v, err
			}
		})
		if len(w.begun) < 3 || w.begun[2] != 10*time.Minute+3*time.Second {
			t.Errorf("passes began after %v; want another one when both have ended", w.begun)
		}
	})
}

// TestFactsOfBusyTargets: certificates count although another pass is at their
// targets.
func TestFactsOfBusyTargets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.want("a.example.test")
		w.want("b.example.test")
		w.issue(time.Hour)
		v := w.view
		v.Now, v.busy = time.Now(), map[string]bool{"a.example.test": true}
		if f := gather(outcome{view: &v}); f.certificates != 2 {
			t.Errorf("%d certificates while a pass is at one of two targets, want 2", f.certificates)
		}
	})
}

// TestOlderPassDoesNotWarn: what a pass knows of certificates is old once another one
// has come, which may have replaced them.
func TestOlderPassDoesNotWarn(t *testing.T) {
	t.Parallel()
	s, p := shiftOf(t, nil, 2)
	now := time.Now()
	old := &state.Certificate{ID: "7zntuhnwbkqkdy6ydo6g3bcjdvzq3hz3ep4wgqbpcxswgzlctzua", NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Minute)}
	p[0].view.Now = now
	p[0].view.Snapshot = &state.Snapshot{Certificates: map[string]*state.Certificate{old.ID: old}, Live: map[string]string{"a.example.test": old.ID}}
	p[0].report.Results = []Result{{Action: plan.Action{Kind: plan.Wait, Target: "a.example.test", Links: []string{"a.example.test"}}, Outcome: Waiting}}
	p[0].warnExpiring(t.Context())
	if len(s.pending) != 0 {
		t.Errorf("the older pass warns: %+v", s.pending[0].event)
	}
	s.newest = p[0]
	if p[0].warnExpiring(t.Context()); len(s.pending) != 1 {
		t.Error("the newest pass does not warn")
	}
}

// TestInterruptedBesideAHangingHook: a pass that is interrupted leaves what it has
// published to the pass that is delivering.
func TestInterruptedBesideAHangingHook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hook := &slowHook{hangs: make(chan struct{})}
		_, p := shiftOf(t, hook, 2)
		ctx, cancel := context.WithCancel(t.Context())
		p[0].raise(state.Event{Event: "live-updated", Names: []string{"a.example.test"}})
		var first sync.WaitGroup
		first.Go(func() { p[0].deliver(ctx) })
		synctest.Wait()
		p[1].raise(state.Event{Event: "live-updated", Names: []string{"b.example.test"}})
		cancel()
		p[1].deliver(ctx)
		close(hook.hangs)
		first.Wait()
		if want := []string{"a.example.test\n", "b.example.test\n"}; !slices.Equal(hook.seen, want) {
			t.Errorf("the hook saw %q, want %q", hook.seen, want)
		}
	})
}

// TestPassesRegisterOneAccount: two passes that come to a new CA at once.
func TestPassesRegisterOneAccount(t *testing.T) {
	t.Parallel()
	ca, bundle := acmetest.StartFaulty(t), filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, ca.RootsPEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	_, p := shiftOf(t, nil, 2)
	kids := make([]string, len(p))
	var both sync.WaitGroup
	for i := range p {
		p[i].view.Settings.CAs = []config.CA{{Name: "faulty", Directory: ca.URL(), Bundle: bundle}}
		both.Go(func() {
			defer p[i].clients.close()
			client, err := p[i].clients.get(t.Context(), "faulty")
			if err != nil {
				t.Error(err)
				return
			}
			kids[i] = client.kid
		})
	}
	both.Wait()
	if n := ca.Accounts(); n != 1 || kids[0] != kids[1] {
		t.Errorf("the passes have registered %d accounts, and use %q; want one", n, kids)
	}
}
