package issue

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"certd/acme"
)

// hopeless marks an error after which the order can't go on.
type hopeless struct{ error }

func (h hopeless) Unwrap() error { return h.error }

// settle decides what becomes of order after err: closed if nothing can come of
// it, which the CA is asked unless err tells; kept after a cancellation or when
// the CA can't be reached. It returns err.
func (r *run) settle(ctx context.Context, order *acme.Order, settled map[string]bool, err error) error {
	if _, ok := errors.AsType[hopeless](err); ok {
		return r.giveUp(ctx, order, settled, err)
	}
	if ctx.Err() != nil || unanswered(err) {
		return err
	}
	if now, readErr := r.Client.Order(ctx, order.URL); gone(readErr) || readErr == nil && now.Status == acme.StatusInvalid {
		return r.giveUp(ctx, order, settled, err)
	}
	return err
}

// unanswered reports whether err is that the CA did not answer.
func unanswered(err error) bool {
	p, ok := errors.AsType[*acme.Problem](err)
	return ok && p.Class == acme.ClassTransient && p.Status == 0
}

// giveUp closes order and deactivates its pending authorizations, as far as
// they are not known to be settled. It returns err.
func (r *run) giveUp(ctx context.Context, order *acme.Order, settled map[string]bool, err error) error {
	if closeErr := r.closeOrder(); closeErr != nil {
		err = errors.Join(err, closeErr)
	}
	r.letGo(ctx, order, settled)
	return err
}

// GiveUp lets go of an order that is not wanted any more: as far as the CA can be
// reached, Solvers clean up for what a run that was killed presented, and its
// pending authorizations are deactivated (RFC 8555 §7.5.2); the journal forgets
// it. The error is the journal's, and what could not be cleaned up.
func (i *Issuer) GiveUp(ctx context.Context, open acme.OpenOrder) error {
	r := &run{Issuer: i, open: open, unswept: open.KeyID == ""}
	if open.URL != "" {
		if order, err := i.Client.Order(ctx, open.URL); err == nil {
			r.letGo(ctx, order, nil)
		}
	}
	return errors.Join(append([]error{r.closeOrder()}, r.leftovers...)...)
}

// letGo leaves nothing of order behind, here and at the CA. The latter is a
// courtesy, not a duty: pending authorizations expire. It has its own deadline,
// so that it works after a cancellation and yet ends.
func (r *run) letGo(ctx context.Context, order *acme.Order, settled map[string]bool) {
	lasting, stop := linger(ctx, cleanUpCut, giveUpTimeout)
	defer stop()
	ctx, cancel := context.WithTimeout(lasting, giveUpTimeout)
	defer cancel()
	r.sweepOrder(ctx, order)
	if order.Status != acme.StatusPending {
		return
	}
	_ = each(order.Authorizations, func(url string) error {
		if settled[url] {
			return nil
		}
		authz, err := r.Client.Authorization(ctx, url)
		if err != nil || authz.Status != acme.StatusPending {
			return err
		}
		return r.Client.DeactivateAuthorization(ctx, url)
	})
}

// each calls do for every item, some at a time, waits for all, and returns the
// errors joined. A panic of do becomes the caller's.
func each[T any](items []T, do func(T) error) error {
	errs := make([]error, len(items))
	panics := make([]any, len(items))
	free := make(chan struct{}, parallel)
	var all sync.WaitGroup
	for i, item := range items {
		free <- struct{}{}
		all.Go(func() {
			defer func() { panics[i] = recover(); <-free }()
			errs[i] = do(item)
		})
	}
	all.Wait()
	for _, p := range panics {
		if p != nil {
			panic(p)
		}
	}
	return join(errs)
}

// join joins errs so that the first Problem is the one to act on; one error
// stays what it is.
func join(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 1 {
		return errs[0]
	}
	slices.SortStableFunc(errs, func(a, b error) int { return cmp.Compare(rank(a), rank(b)) })
	return errors.Join(errs...)
}

// rank orders errors by how much they say about when to try again.
func rank(err error) int {
	return slices.Index([]acme.Class{acme.ClassWait, acme.ClassOperator, acme.ClassName, acme.ClassTransient}, acme.ClassOf(err))
}

func compareIdentifiers(a, b acme.Identifier) int {
	return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Value, b.Value))
}
