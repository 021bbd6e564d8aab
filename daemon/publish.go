package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"certd/acme"
	"certd/limit"
	"certd/state"
)

// publish switches live names to a certificate; a name in the way of which
// something stands holds up none of the others. The hook event is durable before
// the first link moves, so that a crash in between still reloads the servers.
// detail is told to the hooks.
func (p *pass) publish(names []string, certID, detail string) error {
	p.swap.RLock()
	defer p.swap.RUnlock()
	event, err := p.Store.SaveEvent(state.Event{Event: "live-updated", Names: names, Detail: detail, Created: time.Now().UTC()})
	if err != nil {
		return fmt.Errorf("journal the reload for %s: %w", names[0], err)
	}
	var moved []string
	var errs []error
	for _, name := range names {
		if err := p.Store.Link(name, certID); err != nil {
			errs = append(errs, fmt.Errorf("publish live/%s: %w", name, err))
			continue
		}
		moved = append(moved, name)
	}
	switch {
	case len(moved) == 0:
		errs = append(errs, p.Store.RemoveEvent(event.ID))
	case len(moved) < len(names):
		event.Names = moved
		event, err = p.Store.SaveEvent(event)
		errs = append(errs, err)
	}
	if len(moved) > 0 {
		p.tellPublished(event)
	}
	return errors.Join(errs...)
}

// tellPublished puts what was published into the report and wakes the courier.
func (p *pass) tellPublished(event state.Event) {
	p.shift.mu.Lock()
	p.addPending(event)
	p.shift.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Updated = append(p.report.Updated, event.Names...)
	p.report.Broken = slices.DeleteFunc(p.report.Broken, func(b state.Broken) bool { return slices.Contains(event.Names, b.Live) })
	select {
	case p.published <- struct{}{}:
	default:
	}
}

// claimJournaled gives journaled orders to their targets, but for the stale ones:
// a CA may answer a new order with one of those.
func (p *pass) claimJournaled(stale []acme.OpenOrder) {
	p.shift.mu.Lock()
	defer p.shift.mu.Unlock()
	for _, open := range p.view.Snapshot.Orders {
		if !slices.ContainsFunc(stale, func(s acme.OpenOrder) bool { return s.URL == open.URL }) {
			p.claims[open.URL] = open.Target
		}
	}
}

// giveUpStale ends journaled orders that nothing wants any more, and forgets
// those that were finished but for the journal. It comes last and has a deadline
// of its own, since nobody waits for it: what it does not get to stays journaled. So
// does everything while another pass is at a target, which may need what the CA
// still has of such an order.
func (p *pass) giveUpStale(ctx context.Context, orders []acme.OpenOrder) {
	if len(p.atWork()) > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, open := range orders {
		_, over := p.view.Snapshot.Certificates[state.CertID(open.URL)]
		over = over || (!open.Expires.IsZero() && open.Expires.Before(p.view.Now))
		if !over && ctx.Err() != nil {
			return
		}
		if !p.unclaimed(open.URL) {
			continue // the CA gave it to a target, or another pass was here before
		}
		if !over && p.clients.known(open.Directory) {
			p.Log.Info("giving up an order that is no longer wanted", "target", open.Target, "order", open.URL)
			if err := p.clients.giveUp(ctx, open); err != nil {
				p.Log.Warn("could not tell the CA", "order", open.URL, "err", err.Error())
			}
		}
		if err := p.Store.CloseOrder(open); err != nil {
			p.other(fmt.Errorf("forget order of %s: %w", open.Target, err))
			continue
		}
		p.giveBack(open)
	}
}

// giveBack gives the tokens of an order back that ended without a certificate: it was
// not finalized. What was taken more than a day ago has come back by itself, or
// makes little difference.
func (p *pass) giveBack(open acme.OpenOrder) {
	ca, err := p.view.Settings.CA(open.Directory)
	if age := time.Since(open.Created); err != nil || open.KeyID != "" || open.Trial || age < 0 || age > day {
		return
	}
	ask := limit.Ask{CA: ca, Names: open.Names, Renewal: open.Replaces != ""}
	for _, c := range p.view.Snapshot.Certificates {
		ask.Renewal = ask.Renewal || sameCA(c.Directory, open.Directory) && slices.Equal(c.Names, open.Names)
	}
	p.ledger.returned(ask, 1)
}
