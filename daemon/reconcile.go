package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"certd/acme"
	"certd/config"
	"certd/plan"
	"certd/state"
)

// Reconcile makes what is wanted true: it resumes and orders what is due,
// publishes it, and delivers hook events. Failures of targets are in the Report;
// the error is for what kept the pass from running at all: a *ConfigError, a
// *state.LockedError, an *UnknownTargetError or an unusable directory.
func Reconcile(ctx context.Context, o Options) (*Report, error) {
	lock, err := o.Store.Lock(ctx, o.LockWait)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	view, err := Look(o.Store)
	if err != nil {
		return nil, err
	}
	selected, err := view.Select(o.Targets)
	if err != nil {
		return nil, err
	}
	p := newPass(o, view)
	defer p.clients.close()
	p.narrow()
	p.runAll(ctx, view.Plan(selected, o.Force))
	p.deliver(ctx)
	p.giveUpStale(ctx, plan.Stale(view.input(selected, o.Force)))
	p.logReport()
	return &p.report, nil
}

// A pass is one run of Reconcile.
type pass struct {
	Options
	view    *View
	targets map[string]*config.Target // by file
	clients *clients
	solvers *solvers
	report  Report

	mu     sync.Mutex // guards the fields below, and report.Broken, Updated and Other
	done   int
	total  int
	claims map[string]string // order URL to target
}

func newPass(o Options, view *View) *pass {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &pass{Options: o, view: view, targets: make(map[string]*config.Target), claims: make(map[string]string)}
	for _, t := range view.Targets.Targets {
		p.targets[t.File] = t
	}
	for _, open := range view.Snapshot.Orders {
		p.claims[open.URL] = open.Target
	}
	p.report.Broken = slices.Clone(view.Snapshot.Broken)
	p.report.Mistakes = view.Targets.Errors
	p.clients = newClients(p)
	p.solvers = newSolvers(p)
	return p
}

// narrow closes private keys that everybody may read.
func (p *pass) narrow() {
	if len(p.view.Snapshot.TooWide) == 0 {
		return
	}
	if err := p.Store.Narrow(p.view.Snapshot.TooWide); err != nil {
		p.other(err)
		return
	}
	p.Log.Warn("private keys that everybody could read are closed; consider replacing them", "paths", p.view.Snapshot.TooWide)
}

// runAll works on every action, several at once at each CA, so that a slow CA
// holds up nobody else's targets. Targets are independent: none is cancelled
// because another failed.
func (p *pass) runAll(ctx context.Context, actions []plan.Action) {
	defer p.solvers.close()
	p.report.Results = make([]Result, len(actions))
	byCA := make(map[string][]int)
	for i, a := range actions {
		if a.Kind == plan.Order || a.Kind == plan.Resume {
			p.total++
			byCA[a.CA] = append(byCA[a.CA], i)
			continue
		}
		p.report.Results[i] = p.contain(ctx, a)
	}
	var cas sync.WaitGroup
	for _, indexes := range byCA {
		cas.Go(func() {
			var g errgroup.Group // no WithContext: certificates are independent
			g.SetLimit(max(1, p.view.Settings.Parallel))
			for _, i := range indexes {
				g.Go(func() error { p.report.Results[i] = p.contain(ctx, actions[i]); return nil })
			}
			_ = g.Wait() // always nil: every failure is in its Result
		})
	}
	cas.Wait()
	slices.Sort(p.report.Updated)
	p.report.Updated = slices.Compact(p.report.Updated)
}

// contain runs one action; a panic in it is that target's failure only.
func (p *pass) contain(ctx context.Context, a plan.Action) (res Result) {
	start := time.Now()
	defer func() {
		if v := recover(); v != nil {
			p.Log.Error("panic contained", "target", a.Target, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			res = Result{Action: a, Outcome: Failed, Err: fmt.Errorf("internal error: %v", v)}
			p.saveFailure(ctx, a, res.Err)
		}
		if a.Kind == plan.Order || a.Kind == plan.Resume {
			res.Took = time.Since(start)
			p.mu.Lock()
			p.done++
			p.mu.Unlock()
		}
	}()
	return p.act(ctx, a)
}

func (p *pass) act(ctx context.Context, a plan.Action) Result {
	res := Result{Action: a, Outcome: Unchanged}
	if len(a.Stale) > 0 && a.CertID != "" {
		if err := p.publish(a.Stale, a.CertID); err != nil {
			return Result{Action: a, Outcome: Failed, Err: err}
		}
		res.Outcome = Relinked
	}
	switch a.Kind {
	case plan.Order, plan.Resume:
		if err := p.obtain(ctx, a); err != nil {
			return Result{Action: a, Outcome: Failed, Err: err}
		}
		res.Outcome = Issued
	case plan.Wait:
		res.Outcome = Waiting
		if at := p.view.Snapshot.Attempts[a.Target]; at.LastError != "" {
			res.Err = errors.New(at.LastError)
		}
	}
	return res
}

// publish switches live names to a certificate. The hook event is durable before
// the first link moves, so that a crash in between still reloads the servers.
func (p *pass) publish(names []string, certID string) error {
	event, err := p.Store.SaveEvent(state.Event{Event: "live-updated", Names: names, Created: time.Now().UTC()})
	if err != nil {
		return fmt.Errorf("journal the reload for %s: %w", names[0], err)
	}
	p.mu.Lock()
	p.view.Snapshot.Pending = append(p.view.Snapshot.Pending, event)
	p.mu.Unlock()
	for _, name := range names {
		if err := p.Store.Link(name, certID); err != nil {
			return fmt.Errorf("publish live/%s: %w", name, err)
		}
		p.mu.Lock()
		p.report.Updated = append(p.report.Updated, name)
		p.report.Broken = slices.DeleteFunc(p.report.Broken, func(b state.Broken) bool { return b.Live == name })
		p.mu.Unlock()
	}
	return nil
}

// giveUpStale ends journaled orders that nothing wants any more, and forgets
// those that were finished but for the journal. It comes last and has a deadline
// of its own, since nobody waits for it.
func (p *pass) giveUpStale(ctx context.Context, orders []acme.OpenOrder) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, open := range orders {
		_, finished := p.view.Snapshot.Certificates[state.CertID(open.URL)]
		expired := !open.Expires.IsZero() && open.Expires.Before(p.view.Now)
		if !finished && !expired && ctx.Err() == nil {
			p.Log.Info("giving up an order that is no longer wanted", "target", open.Target, "order", open.URL)
			if err := p.clients.giveUp(ctx, open); err != nil {
				p.Log.Warn("could not tell the CA", "order", open.URL, "err", err.Error())
			}
		}
		if err := p.Store.CloseOrder(open); err != nil {
			p.other(fmt.Errorf("forget order of %s: %w", open.Target, err))
		}
	}
}

func (p *pass) other(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Other = append(p.report.Other, err)
}
