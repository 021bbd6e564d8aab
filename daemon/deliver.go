package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"certd/acme"
	"certd/hooks"
	"certd/plan"
	"certd/state"
)

// deliver runs the hooks for every journaled event, also for those that earlier
// passes could not deliver: a pass that somebody asked for does not wait for
// their NextAttempt, which is when the daemon starts one by itself. Publications
// are delivered together, so that a server is reloaded once however many
// certificates changed.
func (p *pass) deliver(ctx context.Context) {
	if err := ctx.Err(); err != nil {
		p.report.Pending = len(p.view.Snapshot.Pending)
		return
	}
	var batch, single []state.Event
	for _, e := range p.view.Snapshot.Pending {
		if e.Event == "live-updated" {
			batch = append(batch, e)
		} else {
			single = append(single, e)
		}
	}
	for _, group := range groupByDone(batch) {
		p.deliverGroup(ctx, group)
	}
	for _, e := range single {
		p.deliverGroup(ctx, []state.Event{e})
	}
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
// hook has handled is forgotten; the rest stays in pending/.
func (p *pass) deliverGroup(ctx context.Context, group []state.Event) {
	var names []string
	for _, e := range group {
		names = append(names, e.Names...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	first := group[0]
	ev := hooks.Event{Name: first.Event, Stdin: []byte(lines(names)), Env: map[string]string{"CERTD_DETAIL": first.Detail}}
	var results []hooks.Result
	var err error
	if p.Hooks != nil {
		results, err = p.Hooks.Run(ctx, ev, func(path string) bool { return slices.Contains(first.Done, path) })
	}
	p.report.Hooks = append(p.report.Hooks, results...)
	p.count.hooks(first.Event, results)
	done, failed := p.judge(first.Event, results, err)
	for _, e := range group {
		if failed == nil {
			if err := p.Store.RemoveEvent(e.ID); err != nil {
				p.other(fmt.Errorf("forget delivered event %s: %w", e.ID, err))
			}
			continue
		}
		p.report.Pending++
		p.postpone(e, done, failed)
	}
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
	e.NextAttempt = plan.NextAttempt(acme.ClassTransient, e.Failures, time.Now(), time.Time{}, spread(e.ID)).UTC()
	if _, err := p.Store.SaveEvent(e); err != nil {
		p.other(fmt.Errorf("keep undelivered event %s: %w", e.ID, err))
	}
}

func lines(names []string) string {
	var b strings.Builder
	for _, n := range names {
		b.WriteString(n)
		b.WriteByte('\n')
	}
	return b.String()
}
