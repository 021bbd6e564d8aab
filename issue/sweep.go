package issue

import (
	"context"
	"fmt"
	"slices"

	"certd/acme"
)

// A run that is killed between Present and CleanUp leaves the answers to its
// challenges behind. Their tokens are in the authorizations of its order: a run
// that goes on with the order, or lets go of it, cleans up for those that it will
// not present itself. Once a key is journaled there is nothing to look for, since
// takeKey comes after the CleanUps.

// sweepOrder cleans up after a killed run for an order that has left its
// authorizations behind. What can't be read is kept in r.leftovers.
func (r *run) sweepOrder(ctx context.Context, order *acme.Order) {
	if !r.unswept || len(r.Solvers) == 0 {
		return
	}
	authzs := make([]*acme.Authorization, len(order.Authorizations))
	indexes := make([]int, len(authzs))
	for i := range indexes {
		indexes[i] = i
	}
	err := each(indexes, func(i int) (err error) {
		authzs[i], err = r.Client.Authorization(ctx, order.Authorizations[i])
		return err
	})
	if err != nil {
		r.leave(fmt.Errorf("look for what an earlier run presented for order %s: %w", order.URL, err))
	}
	r.sweep(ctx, authzs)
}

// sweep cleans up after a killed run for every challenge of authzs, whose nil
// entries it skips, that one of our solvers can have presented. A valid
// authorization has but the one it was proven with (RFC 8555 §7.1.4).
func (r *run) sweep(ctx context.Context, authzs []*acme.Authorization) {
	if !r.unswept {
		return
	}
	r.unswept = false
	var left []*proof
	for _, authz := range authzs {
		if authz == nil {
			continue
		}
		for _, ch := range authz.Challenges {
			if solver := r.solver(ch); solver != nil {
				left = append(left, &proof{name: nameOf(authz), authz: authz, ch: ch, solver: solver})
			}
		}
	}
	r.cleanUp(ctx, left)
}

// others returns the authorizations of all but todo.
func others(all, todo []*proof) []*acme.Authorization {
	var rest []*acme.Authorization
	for _, p := range all {
		if !slices.Contains(todo, p) {
			rest = append(rest, p.authz)
		}
	}
	return rest
}

// cleanUp removes what was presented, also after a cancellation. Each has its own
// deadline, as there may be many and slow ones; all have cleanUpCut after a
// cancellation, since a process that is told to end must, and cleanUpLate after
// ctx ran out. What is left is kept in
// r.leftovers.
func (r *run) cleanUp(ctx context.Context, proofs []*proof) {
	lasting, stop := linger(ctx, cleanUpCut, cleanUpLate)
	defer stop()
	err := each(proofs, func(p *proof) error {
		if p.solver == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(lasting, cleanUpTimeout)
		defer cancel()
		if err := p.solver.CleanUp(ctx, p.authz.Identifier, p.ch); err != nil {
			return fmt.Errorf("clean up %s for %s: %w", p.ch.Type, p.name.Value, err)
		}
		return nil
	})
	if err != nil {
		r.leave(err)
	}
}

// leave keeps what could not be removed.
func (r *run) leave(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leftovers = append(r.leftovers, err)
}
