package issue

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"certd/acme"
	"certd/acme/acmetest"
)

// A mortal solver does not get to CleanUp once its process is killed.
type mortal struct {
	*solver
	moment string // at which it is killed: "clean up", a Step or a write of the disk
	kill   context.CancelFunc

	mu   sync.Mutex
	dead bool
}

// at reports whether the process is dead at this operation.
func (m *mortal) at(operation string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if operation == m.moment {
		m.dead = true
		m.kill()
	}
	return m.dead
}

func (m *mortal) CleanUp(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	if m.at("clean up") {
		return nil
	}
	return m.solver.CleanUp(ctx, id, ch)
}

// killed issues req in a process that is killed at this moment: it writes nothing
// and cleans nothing up after that.
func (b *bench) killed(req Request, moment string) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	defer cancel()
	m := &mortal{solver: b.solver, moment: moment, kill: cancel}
	b.disk.before = func(operation string) error {
		if m.at(operation) {
			return errors.New("killed")
		}
		return nil
	}
	issuer := b.issuer()
	issuer.Solvers = map[string]Solver{"http-01": m}
	issuer.Progress = func(s Step) { m.at(s.Step) }
	if _, err := issuer.Issue(ctx, req); err == nil {
		b.t.Fatalf("nothing killed the run")
	}
	b.disk.before = nil
}

// served lists the tokens that are presented.
func (s *solver) served() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var tokens []string
	for token := range s.tokens {
		tokens = append(tokens, token)
	}
	slices.Sort(tokens)
	return tokens
}

// A run that was killed leaves its answers behind; the next one removes them,
// also where the CA is content with them already.
func TestKilledRunLeavesNoAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		moment string
		then   func(b *bench, req Request)
	}{
		{"before the CA was told, and goes on", "validate", func(b *bench, req Request) { b.must(b.disk.resume(req)) }},
		{"after the CA was content, and goes on", "clean up", func(b *bench, req Request) { b.must(b.disk.resume(req)) }},
		{"before the CA was told, and is given up", "validate", (*bench).giveUpOpen},
		{"after the CA was content, and is given up", "clean up", (*bench).giveUpOpen},
		{"after the CA refused one, and orders anew", "clean up", func(b *bench, req Request) {
			delete(b.solver.wrong, "b.example.com")
			b.must(b.disk.resume(req))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, acmetest.Options{})
			req := b.request("a.example.com", "b.example.com")
			b.solver.wrong = map[string]bool{"b.example.com": strings.Contains(tt.name, "refused")}
			b.killed(req, tt.moment)
			if n := len(b.solver.served()); n != 2 {
				t.Fatalf("the killed run left %d answers, want 2: the test does not test", n)
			}
			tt.then(b, req)
			if left := b.solver.served(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			b.solver.mu.Lock()
			defer b.solver.mu.Unlock()
			if n := len(b.solver.shown); n != 2 {
				t.Errorf("the solver was called for %d identifiers, want 2", n)
			}
		})
	}
}

func (b *bench) giveUpOpen(Request) {
	b.t.Helper()
	open, ok := b.disk.open()
	if !ok {
		b.t.Fatalf("no order is journaled")
	}
	if err := b.issuer().GiveUp(b.t.Context(), open); err != nil {
		b.t.Errorf("give up: %v", err)
	}
	if _, ok := b.disk.open(); ok {
		b.t.Errorf("the order is still journaled")
	}
}

// What can't be removed when an order is given up is told, and the order is
// forgotten all the same.
func TestGiveUpTellsWhatIsLeft(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	b.killed(b.request("a.example.com"), "validate")
	stuck := errors.New("read-only file system")
	b.solver.cleanUp = stuck
	open, _ := b.disk.open()
	if err := b.issuer().GiveUp(t.Context(), open); !errors.Is(err, stuck) {
		t.Errorf("give up returned %v, want why an answer is left", err)
	}
	if _, ok := b.disk.open(); ok {
		t.Errorf("the order is still journaled")
	}
}

// An order that got as far as a key has been cleaned up for: its authorizations
// are not read again.
func TestNothingIsSweptAfterTheKey(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	req := b.request("a.example.com")
	b.killed(req, "finalize")
	b.ca.ResetRequests()
	b.must(b.disk.resume(req))
	if n := b.count("authz"); n != 0 {
		t.Errorf("%d requests for authorizations, want none", n)
	}
}
