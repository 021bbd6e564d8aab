package issue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"certd/acme"
)

const (
	maxAdopt      = 100            // orders of the account that are looked at, newest of the list first
	adoptPatience = time.Hour      // how long an unreadable orders list holds up a new order
	stuckAfter    = 24 * time.Hour // a finalized order that gave no certificate for so long never will
)

// resume reads the journaled order. Without one, or if nothing can come of it
// any more, it returns nil; the latter is closed.
func (r *run) resume(ctx context.Context) (*acme.Order, error) {
	r.at = "order"
	if r.open.URL == "" {
		return nil, nil
	}
	if kid := r.Client.KID(); kid != "" && r.open.Account != "" && kid != r.open.Account {
		return nil, r.forget() // another account's: the CA would not show it to us
	}
	r.unswept = r.open.KeyID == ""
	r.step(r.firstName(), "order")
	order, err := r.Client.Order(ctx, r.open.URL)
	if gone(err) {
		return nil, r.forget()
	}
	if err != nil {
		return nil, err
	}
	usable, err := r.usable(order)
	if err != nil {
		return nil, r.giveUp(ctx, order, nil, err) // its certificate would be of no use; the next run orders anew
	}
	if usable {
		return order, nil
	}
	r.letGo(ctx, order, nil)
	return nil, r.forget()
}

// gone reports whether err says that an order is no more.
func gone(err error) bool {
	p, ok := errors.AsType[*acme.Problem](err)
	return ok && (p.Status == 404 || p.Status == 410)
}

// usable reports whether order leads to the certificate wanted.
func (r *run) usable(order *acme.Order) (bool, error) {
	if !sameNames(order.Identifiers, r.open.Names) {
		return false, nil
	}
	switch order.Status {
	case acme.StatusPending, acme.StatusReady:
		return !expired(order), nil
	case acme.StatusProcessing, acme.StatusValid: // a certificate for a key we don't have is of no use
		return r.journaledKey()
	}
	return false, nil
}

func expired(order *acme.Order) bool {
	return !order.Expires.IsZero() && !order.Expires.After(time.Now())
}

// forget closes the journaled order and makes room for another.
func (r *run) forget() error {
	if err := r.closeOrder(); err != nil {
		return err
	}
	r.open.URL, r.open.KeyID, r.key = "", "", nil
	r.open.Created, r.open.Expires = time.Time{}, time.Time{}
	r.unswept = false
	return nil
}

func (r *run) closeOrder() error {
	if err := r.Journal.CloseOrder(r.open); err != nil {
		return fmt.Errorf("close order %s in the journal: %w", r.open.URL, err)
	}
	return nil
}

// adopt looks among the account's orders (RFC 8555 §7.1.2.1) for the one whose
// newOrder went unanswered. It returns nil if there is none, or no such list.
func (r *run) adopt(ctx context.Context) (*acme.Order, error) {
	r.at = "order"
	r.step(r.firstName(), "order")
	account, err := r.Client.FindAccount(ctx)
	if err != nil || account.OrdersURL == "" {
		return nil, err
	}
	urls, err := r.Client.OpenOrders(ctx, account.OrdersURL)
	if err != nil {
		return nil, r.unlisted(ctx, err)
	}
	slices.Reverse(urls) // CAs append
	for _, url := range urls[:min(len(urls), maxAdopt)] {
		order, err := r.Client.Order(ctx, url)
		if err == nil && r.adoptable(order) {
			return order, r.save(order)
		}
		if err != nil && (unanswered(err) || acme.ClassOf(err) == acme.ClassWait) {
			return nil, r.unlisted(ctx, err)
		}
	}
	return nil, nil
}

// unlisted decides about the error of a list of orders that can't be read: it is
// returned if it may pass soon, and otherwise there is no list.
func (r *run) unlisted(ctx context.Context, err error) error {
	if ctx.Err() == nil && (refusedByCA(err) && acme.ClassOf(err) != acme.ClassWait || r.age() > adoptPatience) {
		return nil
	}
	return err
}

// adoptable reports whether order can be the one that was wanted. A finalized
// one was so with a key we may not have.
func (r *run) adoptable(order *acme.Order) bool {
	return (order.Status == acme.StatusPending || order.Status == acme.StatusReady) &&
		!expired(order) && sameNames(order.Identifiers, r.open.Names) &&
		(order.Profile == "" || r.open.Profile == "" || order.Profile == r.open.Profile) &&
		r.claim(order.URL)
}

func (r *run) claim(url string) bool { return r.req.Claim == nil || r.req.Claim(url) }

// age is how long ago the order, or the intent, was journaled.
func (r *run) age() time.Duration {
	if r.open.Created.IsZero() {
		return 0
	}
	return time.Since(r.open.Created)
}

// newOrder sends newOrder (RFC 8555 §7.4) between two journal entries: the
// intent, and the URL.
func (r *run) newOrder(ctx context.Context) (*acme.Order, error) {
	r.at = "order"
	r.step(r.firstName(), "order")
	if r.req.Admit != nil {
		if err := r.req.Admit(); err != nil {
			return nil, err
		}
	}
	r.open.Account, r.open.Created = r.Client.KID(), time.Now().UTC()
	if err := r.Journal.OpenOrder(r.open); err != nil {
		return nil, fmt.Errorf("journal that an order is sent: %w", err)
	}
	order, err := r.sendOrder(ctx)
	if err != nil {
		if refused(err) || !sent(err) {
			return nil, errors.Join(err, r.closeOrder())
		}
		return nil, err // the CA may have it: the next run looks
	}
	if !r.claim(order.URL) {
		err := fmt.Errorf("the CA answered with the order %s, which is in use for another target with the same names", order.URL)
		return nil, errors.Join(r.problem(acme.ClassTransient, acme.Identifier{}, err), r.closeOrder())
	}
	if err := r.save(order); err != nil {
		return nil, err
	}
	if err := r.checkNew(order); err != nil {
		return nil, r.giveUp(ctx, order, nil, err)
	}
	return order, nil
}

// refused reports whether the answer was no, be it the CA's or that of a load
// balancer before it.
func refused(err error) bool {
	p, ok := errors.AsType[*acme.Problem](err)
	return ok && p.Status >= 400 && p.Status < 500
}

// refusedByCA reports whether the CA said no, with a problem document.
func refusedByCA(err error) bool {
	p, ok := errors.AsType[*acme.Problem](err)
	return refused(err) && ok && p.Type != ""
}

// sent reports whether a newOrder that failed with err may have left: it has not
// where the requests before it failed, or where we held it back.
func sent(err error) bool {
	p, ok := errors.AsType[*acme.Problem](err)
	if !ok || p.Operation == "directory" || p.Operation == "nonce" {
		return !ok
	}
	return p.Status != 0 || p.Class == acme.ClassTransient
}

// save journals order under its URL.
func (r *run) save(order *acme.Order) error {
	r.open.URL, r.open.Expires = order.URL, order.Expires
	if r.open.Created.IsZero() {
		r.open.Created = time.Now().UTC()
	}
	if r.open.Account == "" {
		r.open.Account = r.Client.KID()
	}
	if err := r.Journal.SaveOrder(r.open); err != nil {
		return fmt.Errorf("journal order %s: %w", order.URL, err)
	}
	return nil
}

// checkNew wants a new order to be for what was asked, and at its beginning.
func (r *run) checkNew(order *acme.Order) error {
	if !sameNames(order.Identifiers, r.open.Names) {
		return r.nonsense("the CA answered newOrder with an order for other names")
	}
	switch {
	case order.Status == acme.StatusInvalid && order.Problem != nil:
		return order.Problem
	case order.Status != acme.StatusPending && order.Status != acme.StatusReady:
		return r.nonsense("the CA answered newOrder with an order that is " + string(order.Status))
	}
	return nil
}

// nonsense is the problem of a CA that breaks the protocol.
func (r *run) nonsense(what string) error {
	return broken{r.problem(acme.ClassTransient, acme.Identifier{}, errors.New(what))}
}
