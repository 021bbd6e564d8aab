package issue

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"certd/acme"
)

// A slowSolver takes its time to clean up.
type slowSolver struct {
	took time.Duration
	done atomic.Int32
}

func (s *slowSolver) Present(context.Context, acme.Identifier, acme.Challenge) error { return nil }

func (s *slowSolver) CleanUp(ctx context.Context, _ acme.Identifier, _ acme.Challenge) error {
	err := pause(ctx, s.took)
	if err == nil {
		s.done.Add(1)
	}
	return err
}

// Each name has its own time to be cleaned up; a cancellation limits all of them.
func TestCleanUpOfManyNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		hook   time.Duration
		cancel time.Duration // after which the run is cancelled; zero: not at all
		limit  time.Duration // after which its time is up; zero: not at all
		took   time.Duration
		done   int32 // of 80
	}{
		{"slow", 4 * time.Second, 0, 0, 40 * time.Second, 80},
		{"hanging", time.Hour, 0, 0, 10 * cleanUpTimeout, 0},
		{"cancelled before", 4 * time.Second, -1, 0, cleanUpCut, parallel},
		{"cancelled meanwhile", 4 * time.Second, 10 * time.Second, 0, 10*time.Second + cleanUpCut, 3 * parallel},
		{"time is up", 4 * time.Second, 0, 10 * time.Second, 40 * time.Second, 80},
		{"time is up, and hanging", time.Hour, 0, 10 * time.Second, 10*time.Second + cleanUpLate, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			switch {
			case tt.cancel < 0:
				cancel()
			case tt.cancel > 0:
				time.AfterFunc(tt.cancel, cancel)
			case tt.limit > 0:
				ctx, cancel = context.WithTimeout(ctx, tt.limit)
				defer cancel()
			}
			s := &slowSolver{took: tt.hook}
			var proofs []*proof
			for i := range 80 {
				id := acme.NewIdentifier(fmt.Sprintf("%d.example.com", i))
				proofs = append(proofs, &proof{name: id, authz: &acme.Authorization{Identifier: id}, solver: s})
			}
			r, begun := &run{Issuer: &Issuer{}}, time.Now()
			r.cleanUp(ctx, proofs)
			if took := time.Since(begun); took != tt.took || s.done.Load() != tt.done {
				t.Errorf("%s: %d of 80 cleaned up in %v, want %d in %v", tt.name, s.done.Load(), took, tt.done, tt.took)
			}
			if all := len(r.leftovers) == 0; all != (tt.done == 80) {
				t.Errorf("%s: left over: %v", tt.name, r.leftovers)
			}
		})
	}
}
