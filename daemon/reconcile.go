package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"certd/config"
	"certd/plan"
	"certd/state"
)

// Reconcile makes what is wanted true: it resumes and orders what is due,
// publishes it, and delivers hook events. Failures of targets are in the Report;
// the error is for what kept the pass from running at all: a *ConfigError, a
// *state.LockedError, an *UnknownTargetError or an unusable directory.
func Reconcile(ctx context.Context, o Options) (report *Report, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	shift, leave, err := o.crew.enter(ctx, o)
	if err != nil {
		return nil, err
	}
	defer leave()
	shift.measuring.Lock()
	counts := newCount(o)
	shift.measuring.Unlock()
	defer func() {
		shift.measuring.Lock()
		defer shift.measuring.Unlock()
		counts.finish(report, err)
	}()
	busy := shift.atWork()
	view, err := look(o.Store, o.Fallback)
	if err != nil {
		return nil, err
	}
	shift.leaveOut(view, busy)
	selected, err := view.Select(o.Targets)
	if err != nil {
		return nil, err
	}
	if o.NextKey {
		if selected, err = view.reusing(selected); err != nil {
			return nil, err
		}
		o.Force = true
	}
	p := newPass(o, view, shift)
	p.count = counts
	defer p.clients.close()
	p.narrow()
	if o.OneShot {
		view.NextRun = view.Now.Add(view.Interval())
	}
	p.poller = newPoller(p)
	defer p.poller.close()
	p.work(ctx, selected)
	return &p.report, nil
}

// work does what is due for the selected targets, and what comes with it.
func (p *pass) work(ctx context.Context, selected func(*config.Target) bool) {
	var left []question
	if !p.Force { // else all is renewed, whatever the CA says
		left = p.poller.before(ctx, p.view.input(selected, false), p.view.Plan(selected, false))
	}
	stale := plan.Stale(p.view.input(selected, p.Force))
	p.claimJournaled(stale)
	stop := p.startCourier(ctx)
	swept := p.sweepRecords(ctx)
	p.runAll(ctx, p.view.Plan(selected, p.Force))
	swept()
	stop()
	p.warnExpiring(ctx)
	tidies := p.tidies()
	if tidies {
		defer p.tidying.Unlock()
		p.stage(selected)
	}
	p.deliver(ctx)
	if tidies {
		p.revokePending(ctx)
		p.giveUpStale(ctx, stale)
	}
	if err := p.ledger.flush(); err != nil {
		p.other(err)
	}
	if tidies {
		p.poller.after(ctx, left)
	}
	p.logReport(ctx)
}

// tidies reports whether the pass does what is left when its targets are done: one
// pass at a time, and none that has seen the state before another one came. It
// holds tidying then.
func (p *pass) tidies() bool {
	p.shift.mu.Lock()
	defer p.shift.mu.Unlock()
	return p.newest == p && p.tidying.TryLock()
}

// Lock takes the lock of store, waiting at most wait, and logs for whom it waits.
func Lock(ctx context.Context, store *state.Store, wait time.Duration, log *slog.Logger) (*state.Lock, error) {
	lock, err := store.Lock(ctx, 0)
	locked, ok := errors.AsType[*state.LockedError](err)
	if !ok || wait <= 0 {
		return lock, err
	}
	log.Info("waiting for another certd", "process", locked.PID, "lock", locked.Path, "at_most", wait)
	return store.Lock(ctx, wait)
}

// A pass is one run of Reconcile.
type pass struct {
	Options
	*shift
	view    *View
	targets map[string]*config.Target // by file
	clients *clients
	solvers *solvers
	report  Report
	count   *count
	poller  *poller

	mu        sync.Mutex // guards the fields below, and all of report but Results
	finished  int
	total     int
	published chan struct{}   // wakes the courier; never blocks
	slow      map[string]bool // hooks that ran out of time in this pass
}

// newPass begins a pass of a shift that it has entered.
func newPass(o Options, view *View, s *shift) *pass {
	p := &pass{Options: o, shift: s, view: view, targets: make(map[string]*config.Target),
		published: make(chan struct{}, 1), slow: make(map[string]bool)}
	s.join(p)
	for _, t := range view.Targets.Targets {
		p.targets[t.File] = t
	}
	p.report.Broken = slices.Clone(view.Snapshot.Broken)
	p.report.Mistakes = view.Targets.Errors
	if view.LimitsLost != nil {
		o.Log.Warn("what CAs were asked before is not known", "err", view.LimitsLost.Error())
	}
	for _, err := range view.Mistakes {
		p.report.Other = append(p.report.Other, fmt.Errorf("the configuration read before stays in force: %w", err))
	}
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
	p.report.Results = make([]Result, len(actions))
	byCA := make(map[string][]int) // directory to indexes
	for i, a := range actions {
		if a.Kind == plan.Order || a.Kind == plan.Resume {
			p.total++
			byCA[a.CA] = append(byCA[a.CA], i)
			p.shift.begin(p.targets[a.Target])
			continue
		}
		p.report.Results[i] = p.contain(ctx, a)
	}
	p.run.working(p.upcoming(actions))
	var cas sync.WaitGroup
	for _, indexes := range byCA {
		cas.Go(func() { p.runCA(ctx, actions, indexes) })
	}
	cas.Wait()
	slices.Sort(p.report.Updated)
	p.report.Updated = slices.Compact(p.report.Updated)
}

// runCA works on the actions of one CA, those whose certificate ends first before
// the others. Targets with the same names (such as an RSA and an ECDSA certificate)
// come one after the other: a CA may answer the second order with the one that is
// still open for the first.
func (p *pass) runCA(ctx context.Context, actions []plan.Action, indexes []int) {
	slices.SortStableFunc(indexes, func(i, j int) int { return actions[i].End.Compare(actions[j].End) })
	byNames := make(map[string][]int)
	var groups []string
	for _, i := range indexes {
		names := strings.Join(actions[i].Names, " ")
		if byNames[names] == nil {
			groups = append(groups, names)
		}
		byNames[names] = append(byNames[names], i)
	}
	var workers sync.WaitGroup
	g := newGate(p.view.Settings.Parallel)
	for _, names := range groups {
		leave, _ := g.enter(ctx) // an interrupted pass asks each target to end at once
		workers.Go(func() {
			defer leave()
			for _, i := range byNames[names] {
				p.report.Results[i] = p.contain(ctx, actions[i])
			}
		})
	}
	workers.Wait()
}

// contain runs one action; a panic in it is that target's failure only.
func (p *pass) contain(ctx context.Context, a plan.Action) (res Result) {
	start := time.Now()
	defer func() {
		if v := recover(); v != nil {
			p.Log.Error("panic contained", "target", a.Target, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			res = Result{Action: a, Outcome: Failed, Err: fmt.Errorf("internal error: %v", v)}
			res.next = p.saveFailure(ctx, a, res.Err)
		}
		if a.Kind == plan.Order || a.Kind == plan.Resume {
			res.Took = time.Since(start)
			if res.Outcome != Waiting { // else no CA was asked
				p.count.issued(ctx, cmp.Or(res.CA, p.view.nickname(a.CA)), a, res)
			}
			p.mu.Lock()
			p.finished++
			p.mu.Unlock()
			p.release(a, res)
		}
	}()
	return p.act(ctx, a)
}

func (p *pass) act(ctx context.Context, a plan.Action) Result {
	res := Result{Action: a, Outcome: Unchanged}
	if len(a.Stale) > 0 && a.CertID != "" {
		if res.Err = p.publish(a.Stale, a.CertID, ""); res.Err == nil {
			res.Outcome = Relinked
		}
	}
	switch a.Kind {
	case plan.Order, plan.Resume:
		var err error
		res.CA, res.next, err = p.obtain(ctx, a)
		if err != nil && heldBack(err) && ctx.Err() == nil {
			return p.wait(res, err)
		}
		if err != nil {
			res.Err = errors.Join(err, res.Err)
		} else {
			res.Outcome = Issued
		}
	case plan.Wait:
		res.Outcome = Waiting
		p.count.limited(p.view.nickname(a.CA), a)
		if at := p.view.Snapshot.Attempts[a.Target]; at.LastError != "" && res.Err == nil {
			res.Err = errors.New(at.LastError)
		}
		return res
	}
	if res.Err != nil {
		res.Outcome = Failed
	}
	return res
}

// wait is the result of a target that no CA may be asked for at the moment.
func (p *pass) wait(res Result, held error) Result {
	res.Outcome = Waiting
	res.Action.Kind = plan.Wait
	res.Action.At, res.Action.Limit = firstHeld(held)
	res.Action.Reason += "; " + tell(held)
	p.count.limited(res.CA, res.Action)
	return res
}

// release ends that the target of a is busy, and tells when it is due again. In
// this order: who looks at the state before must hear of it afterwards.
func (p *pass) release(a plan.Action, res Result) {
	if p.shift.done(a.Target) {
		p.run.wake(time.Now())
	}
	if res.Outcome == Waiting {
		res.next = res.Action.At
	}
	p.run.wake(res.next)
}

func (p *pass) other(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Other = append(p.report.Other, err)
}
