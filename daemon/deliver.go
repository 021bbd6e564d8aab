package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"certd/acme"
	"certd/hooks"
	"certd/plan"
	"certd/state"
)

const (
	quiet        = 2 * time.Second  // without a publication before servers are told
	patience     = 10 * time.Second // for more publications, so that servers reload once for many
	lastDelivery = 2 * time.Second  // for hooks, after an interruption
	allHooks     = 15 * time.Minute // for all deliveries of a pass
	stillTime    = 30 * time.Second // for which live links stay as they are while servers reload
)

// startCourier delivers publications while other targets are still worked on, so
// that a slow one holds up nobody's reload. The returned function ends it.
func (p *pass) startCourier(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	idle := make(chan struct{})
	var courier sync.WaitGroup
	courier.Go(func() {
		for p.settled(ctx, idle) {
			p.deliverInTurn(ctx, updates)
		}
	})
	return func() { close(idle); courier.Wait(); cancel() }
}

// settled waits for publications, and then until they pause. It returns false
// when idle is closed or ctx is done: then the end of the pass delivers.
func (p *pass) settled(ctx context.Context, idle <-chan struct{}) bool {
	select {
	case <-p.published:
	case <-idle:
		return false
	case <-ctx.Done():
		return false
	}
	latest := time.After(patience)
	for {
		pause := time.NewTimer(quiet)
		select {
		case <-p.published:
			pause.Stop()
			continue
		case <-pause.C:
		case <-latest:
		case <-idle:
		case <-ctx.Done():
		}
		pause.Stop()
		select {
		case <-idle:
			return false
		default:
			return ctx.Err() == nil
		}
	}
}

// A delivery says which events are to be delivered.
type delivery int

const (
	nothing delivery = iota
	updates          // of what was published
	everything
)

// deliver runs the hooks for every journaled event, also for those that earlier
// passes could not deliver: a pass that somebody asked for does not wait for
// their NextAttempt, which is when the daemon starts one by itself. An
// interrupted pass still tells the servers what it has published.
func (p *pass) deliver(ctx context.Context) {
	if ctx.Err() == nil {
		p.deliverInTurn(ctx, everything)
		return
	}
	p.deliverInTurn(ctx, updates)
	left := p.take(func(e state.Event) bool { return e.Event != "live-updated" }) // those are with who delivers
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Pending += len(left)
}

// deliverInTurn delivers unless another pass is at that: then it leaves that to it,
// so that a hook sees one event after the other, and a slow one keeps no pass.
func (p *pass) deliverInTurn(ctx context.Context, what delivery) {
	p.shift.mu.Lock()
	defer p.shift.mu.Unlock()
	p.wanted = max(p.wanted, what)
	if p.courier {
		return
	}
	p.courier = true
	defer func() { p.courier = false }()
	for p.wanted > nothing {
		what, p.wanted = p.wanted, nothing
		p.unlocked(func() { p.deliverNow(ctx, what) })
	}
}

// unlocked calls do without the lock that the caller holds, also if do panics.
func (s *shift) unlocked(do func()) {
	s.mu.Unlock()
	defer s.mu.Lock()
	do()
}

func (p *pass) deliverNow(ctx context.Context, what delivery) {
	ctx, cancel := unhurried(ctx)
	defer cancel()
	p.deliverUpdates(ctx)
	if what == updates {
		return
	}
	for _, e := range p.take(func(state.Event) bool { return true }) {
		p.deliverGroup(ctx, []state.Event{e})
	}
}

// unhurried returns a context for hooks: it lasts allHooks, and lastDelivery more
// if ctx is canceled, so that a reload under way comes to its end.
func unhurried(ctx context.Context) (context.Context, context.CancelFunc) {
	lasting, cancel := context.WithTimeout(context.WithoutCancel(ctx), allHooks)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(lastDelivery, cancel) })
	return lasting, func() { stop(); cancel() }
}

// deliverUpdates tells the servers of all publications at once. No link moves
// meanwhile: a server must not find a certificate changing under its reload. But a
// hook that hangs keeps nobody from publishing.
func (p *pass) deliverUpdates(ctx context.Context) {
	events := p.take(func(e state.Event) bool { return e.Event == "live-updated" })
	if len(events) == 0 {
		return
	}
	p.swap.Lock()
	moveOn := sync.OnceFunc(p.swap.Unlock)
	defer moveOn()
	defer time.AfterFunc(stillTime, moveOn).Stop()
	for _, group := range groupByDone(events) {
		p.deliverGroup(ctx, group)
	}
}

// take removes the events that match from those of the shift, but for those that
// this pass has tried: each is delivered at most once in a pass. In pending/ it
// stays until every hook has it.
func (p *pass) take(match func(state.Event) bool) []state.Event {
	p.shift.mu.Lock()
	defer p.shift.mu.Unlock()
	var taken []state.Event
	p.pending = slices.DeleteFunc(p.pending, func(e undelivered) bool {
		if e.tried != p && match(e.event) {
			taken = append(taken, e.event)
			return true
		}
		return false
	})
	return taken
}

// groupByDone puts events together that the same hooks still have to see.
func groupByDone(events []state.Event) [][]state.Event {
	groups := make(map[string][]state.Event)
	var order []string
	for _, e := range events {
		key := strings.Join(e.Done, "\x00")
		if _, ok := groups[key]; !ok {
			order = append(order, key)
		}
		groups[key] = append(groups[key], e)
	}
	out := make([][]state.Event, 0, len(order))
	for _, key := range order {
		out = append(out, groups[key])
	}
	return out
}

// deliverGroup runs the hooks once for a group of events of one kind. What every
// hook has handled is forgotten; the rest stays in pending/. Events that the
// hooks cannot be run with are tried alone, so that one spoils no other.
func (p *pass) deliverGroup(ctx context.Context, group []state.Event) {
	var names []string
	for _, e := range group {
		names = append(names, e.Names...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	event := group[0]
	event.Detail = details(group)
	results, err := p.runHooks(ctx, event, names)
	if err != nil && len(group) > 1 && len(results) == 0 {
		for _, e := range group {
			p.deliverGroup(ctx, []state.Event{e})
		}
		return
	}
	p.count.hooks(group[0].Event, results)
	done, failed := p.judge(group[0].Event, results, err)
	p.mu.Lock()
	p.report.Hooks = append(p.report.Hooks, results...)
	if failed != nil {
		p.report.Pending += len(group)
	}
	p.mu.Unlock()
	for _, e := range group {
		if failed != nil {
			p.postpone(e, done, failed)
		} else if err := p.Store.RemoveEvent(e.ID); err != nil {
			p.other(fmt.Errorf("forget delivered event %s: %w", e.ID, err))
		}
	}
}

// runHooks runs the hooks that have not handled the event yet. One that ran out
// of time in this pass is not waited for again.
func (p *pass) runHooks(ctx context.Context, e state.Event, names []string) ([]hooks.Result, error) {
	if p.Hooks == nil {
		return nil, nil
	}
	ev := hooks.Event{Name: e.Event, Stdin: []byte(lines(names)), Env: map[string]string{"CERTD_DETAIL": e.Detail}}
	var skipped []error
	results, err := p.Hooks.Run(ctx, ev, func(path string) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.slow[path] && !slices.Contains(e.Done, path) {
			skipped = append(skipped, fmt.Errorf("hook %s: not run again, it ran out of time in this pass", path))
			return true
		}
		return slices.Contains(e.Done, path)
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range results {
		if r.Outcome == hooks.Timeout {
			p.slow[r.Hook] = true
		}
	}
	return results, errors.Join(append(skipped, err)...)
}

// judge logs what the hooks answered and returns those that need not see the
// event again, and why it is not delivered yet, if so.
func (p *pass) judge(event string, results []hooks.Result, err error) (done []string, failed error) {
	errs := []error{err}
	for _, r := range results {
		switch r.Outcome {
		case hooks.OK:
			p.Log.Info("hook ran", "hook", r.Hook, "event", event, "took", r.Took.Round(time.Millisecond), "output", acme.Sanitize(r.Output))
			done = append(done, r.Hook)
		case hooks.Skipped:
			done = append(done, r.Hook)
		default:
			p.Log.Error("hook failed", "hook", r.Hook, "event", event, "outcome", r.Outcome, "err", fmt.Sprint(r.Err), "output", acme.Sanitize(r.Output))
			errs = append(errs, r.Err) // it names the hook
		}
	}
	if err != nil {
		p.Log.Error("hooks not run", "event", event, "err", err.Error())
	}
	return done, errors.Join(errs...)
}

func (p *pass) postpone(e state.Event, done []string, failed error) {
	e.Done = append(slices.Clone(e.Done), done...)
	slices.Sort(e.Done)
	e.Failures++
	e.LastError = acme.Sanitize(failed.Error())
	e.NextAttempt = plan.NextAttempt(acme.ClassTransient, e.Failures, time.Now(), time.Time{}, 0, spread(e.ID)).UTC()
	if _, err := p.Store.SaveEvent(e); err != nil {
		p.other(fmt.Errorf("keep undelivered event %s: %w", e.ID, err))
	}
	p.shift.mu.Lock()
	p.pending = append(p.pending, undelivered{e, p})
	p.shift.mu.Unlock()
	p.run.wake(e.NextAttempt)
}

func lines(names []string) string {
	var b strings.Builder
	for _, n := range names {
		b.WriteString(n)
		b.WriteByte('\n')
	}
	return b.String()
}

// details are those of a group, each once, in one line.
func details(group []state.Event) string {
	var all []string
	for _, e := range group {
		if e.Detail != "" && !slices.Contains(all, e.Detail) {
			all = append(all, e.Detail)
		}
	}
	return acme.Sanitize(strings.Join(all, " "))
}
