package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"certd/acme"
	"certd/challenge"
	"certd/config"
	"certd/hooks"
	"certd/issue"
	"certd/limit"
	"certd/metrics"
	"certd/plan"
	"certd/state"
)

// A count is what a pass tells Options.Metrics. On a nil count every method does
// nothing.
type count struct {
	Options
	start time.Time

	mu     sync.Mutex
	phases map[string]phase // by target
}

// A phase is where an issuance is.
type phase struct {
	name  string
	begun time.Time
}

// newResponder is a responder whose requests are counted.
func newResponder(m *metrics.Metrics) *challenge.Responder {
	r := challenge.NewResponder()
	if m != nil {
		r.Count = func(result string) { m.Challenge("http-01", result) }
	}
	return r
}

// newALPN is newResponder for tls-alpn-01.
func newALPN(m *metrics.Metrics) *challenge.ALPNResponder {
	r := challenge.NewALPNResponder()
	if m != nil {
		r.Count = func(result string) { m.Challenge(challenge.TypeTLSALPN01, result) }
	}
	return r
}

// newCount begins a pass, under the lock: it takes up what others have counted
// since we looked last.
func newCount(o Options) *count {
	if o.Metrics == nil {
		return nil
	}
	c := &count{Options: o, start: time.Now(), phases: make(map[string]phase)}
	data, err := o.Store.LoadCounters()
	if err == nil && data != nil {
		err = o.Metrics.Restore(data)
	}
	if err != nil {
		o.Log.Warn("counters lost, they start at 0", "file", o.Store.Path("counters.json"), "err", err.Error())
	}
	return c
}

// finish ends a pass, still under the lock: it counts it, reads how things stand
// now, and writes what is to be kept and shown. Without a place where metrics
// are wanted nothing is written.
func (c *count) finish(report *Report, err error) {
	if _, usage := errors.AsType[*UnknownTargetError](err); c == nil || usage {
		return
	}
	end := time.Now()
	r := metrics.Reconcile{Trigger: c.Trigger, Outcome: "ok", At: end, Took: end.Sub(c.start)}
	switch {
	case err == nil && report != nil:
		r.Errors = report.errors()
	default: // it did not run, or a panic is on its way
		r.Errors = 1
	}
	if r.Errors > 0 {
		r.Outcome = "error"
	}
	c.Metrics.Reconcile(r)
	if !c.KeepCounters && !c.wanted() {
		return
	}
	c.refresh(end)
	if err := c.write(); err != nil {
		c.Log.Error("metrics not written", "err", err.Error())
		if report != nil {
			report.Other, report.unwritten = append(report.Other, err), err
		}
	}
}

// wanted reports whether the configuration wants metrics somewhere. If it cannot
// be read, they go where they went before.
func (c *count) wanted() bool {
	settings, err := config.LoadSettings(c.Store.Dir())
	if err != nil {
		return c.Metrics.Textfile() != ""
	}
	m := settings.Metrics
	return m.Textfile != "" || m.StatsD != "" || m.Graphite != ""
}

// refresh looks at what the pass has left behind.
func (c *count) refresh(now time.Time) {
	view, err := look(c.Store, c.Fallback)
	if err != nil {
		c.Metrics.SetView(unconfigured(c.Store, now))
		return
	}
	c.Metrics.SetView(view.metrics(c.Store, c.Hooks))
	c.Metrics.SetTextfile(view.Settings.Metrics.Textfile)
}

// write keeps the counters and writes the textfile.
func (c *count) write() error {
	data, err := c.Metrics.Dump()
	if err == nil {
		err = c.Store.SaveCounters(data)
	}
	textfile := c.Metrics.Textfile()
	if textfile == "" {
		return err
	}
	var text bytes.Buffer
	failed := c.Metrics.WriteText(&text)
	if failed == nil {
		failed = state.ReplaceFile(textfile, text.Bytes(), 0o644)
	}
	if failed != nil {
		failed = fmt.Errorf("metrics.textfile: %w", failed)
	}
	return errors.Join(err, failed)
}

// errors counts what a pass could not set right.
func (r *Report) errors() int {
	n := r.Pending + len(r.Broken) + len(r.Mistakes) + len(r.Other)
	for _, res := range r.Results {
		if res.failed() {
			n++
		}
	}
	return n
}

// exchange counts a request to a CA.
func (c *count) exchange(e acme.Exchange) {
	if c == nil {
		return
	}
	seen := metrics.Exchange{CA: e.CA, Operation: e.Operation, Code: strconv.Itoa(e.Status), Problem: e.Problem,
		Sent: e.Sent, Received: e.Sent.Add(e.Took), RetryAt: e.RetryAt}
	if e.Err != nil || e.Status == 0 {
		seen.Code = "error"
	}
	if !e.Cached {
		seen.Date = e.Date
	}
	c.Metrics.Exchange(seen)
}

// observe tells every request to a CA to those who want to know.
func (p *pass) observe(e acme.Exchange) {
	p.count.exchange(e)
	if p.Observe != nil {
		p.Observe(e)
	}
}

// step follows an issuance from phase to phase.
func (c *count) step(ca, target, step string) {
	if c == nil {
		return
	}
	now := time.Now()
	name := phaseOf(step)
	c.mu.Lock()
	last := c.phases[target]
	if last.name != name {
		c.phases[target] = phase{name, now}
	}
	c.mu.Unlock()
	if last.name != "" && last.name != name {
		c.Metrics.Phase(ca, last.name, now.Sub(last.begun))
	}
}

// phaseOf is a Step in the words of the metrics.
func phaseOf(step string) string {
	switch step {
	case "authorize":
		return "present"
	case "self-test":
		return "propagate"
	}
	return step
}

// issued counts an issuance that has ended.
func (c *count) issued(ctx context.Context, ca string, a plan.Action, res Result) {
	if c == nil {
		return
	}
	c.mu.Lock()
	at := c.phases[a.Target]
	delete(c.phases, a.Target)
	c.mu.Unlock()
	i := metrics.Issuance{CA: ca, Reason: string(a.Cause), Outcome: "ok", Phase: at.name, Took: res.Took}
	switch {
	case res.Err == nil && at.name != "":
		c.Metrics.Phase(ca, at.name, time.Since(at.begun))
	case res.Err == nil:
	case ctx.Err() != nil:
		i.Outcome = "canceled"
	default:
		i.Outcome, i.Cause = "error", causeOf(res.Err, at.name)
		if i.Cause == "rate_limited" {
			i.Outcome = i.Cause
		}
	}
	c.Metrics.Issuance(i)
}

// limited counts a target that waits in this pass for a limit that we keep.
func (c *count) limited(ca string, a plan.Action) {
	if c == nil || a.Limit == "" || a.Limit == plan.Breaker || a.Limit == limit.RateLimited {
		return
	}
	c.Metrics.RateLimitWait(ca, "local", time.Until(a.At))
}

// refused counts an answer rateLimited, and for how long the target waits for it.
func (c *count) refused(ca string, err error) {
	problem := problemOf(err)
	if c == nil || issue.BlameOf(err) != issue.BlameLimit {
		return
	}
	c.Metrics.RateLimitWait(ca, "retry_after", time.Until(problem.RetryAt))
}

// unreplaced counts an order that was not allowed to replace a certificate.
func (c *count) unreplaced(ca string) {
	if c != nil {
		c.Metrics.Unreplaced(ca)
	}
}

// hooks counts what hooks made of an event.
func (c *count) hooks(event string, results []hooks.Result) {
	if c == nil {
		return
	}
	for _, r := range results {
		c.Metrics.Hook(metrics.Hook{Hook: filepath.Base(r.Hook), Event: event, Outcome: string(r.Outcome), Took: r.Took, At: time.Now()})
	}
}

// authorized counts the authorizations of a CA.
func (c *count) authorized(ca string) func(challenge, outcome string) {
	if c == nil {
		return nil
	}
	return func(challenge, outcome string) { c.Metrics.Authorization(ca, challenge, outcome) }
}

// solvers puts a counter around each solver.
func (c *count) solvers(by map[string]issue.Solver) map[string]issue.Solver {
	if c == nil {
		return by
	}
	counted := make(map[string]issue.Solver, len(by))
	for kind, solver := range by {
		counted[kind] = &countedSolver{Solver: solver, metrics: c.Metrics, presented: make(map[string]bool)}
	}
	return counted
}

// A countedSolver counts what is presented now, and the self-tests.
type countedSolver struct {
	issue.Solver
	metrics *metrics.Metrics

	mu        sync.Mutex
	presented map[string]bool // by challenge URL
}

// Present implements issue.Solver.
func (s *countedSolver) Present(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	err := s.Solver.Present(ctx, id, ch)
	if err == nil {
		s.shown(ch, true)
	}
	return err
}

// CleanUp implements issue.Solver.
func (s *countedSolver) CleanUp(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	s.shown(ch, false)
	return s.Solver.CleanUp(ctx, id, ch)
}

func (s *countedSolver) shown(ch acme.Challenge, shown bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case shown && !s.presented[ch.URL]:
		s.presented[ch.URL] = true
		s.metrics.Presented(ch.Type, 1)
	case !shown && s.presented[ch.URL]:
		delete(s.presented, ch.URL)
		s.metrics.Presented(ch.Type, -1)
	}
}

// Sequence implements issue.Sequencer.
func (s *countedSolver) Sequence(ctx context.Context) (queue string, pause time.Duration) {
	if q, ok := s.Solver.(issue.Sequencer); ok {
		return q.Sequence(ctx)
	}
	return "", 0
}

// Prepared implements issue.Preparer.
func (s *countedSolver) Prepared(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	if q, ok := s.Solver.(issue.Preparer); ok {
		return q.Prepared(ctx, id, ch)
	}
	return nil
}

// Patience implements issue.Patient.
func (s *countedSolver) Patience(ch acme.Challenge) time.Duration {
	if q, ok := s.Solver.(issue.Patient); ok {
		return q.Patience(ch)
	}
	return 0
}

// Wait implements issue.Waiter.
func (s *countedSolver) Wait(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	waiter, ok := s.Solver.(issue.Waiter)
	if !ok {
		return nil
	}
	err := waiter.Wait(ctx, id, ch)
	switch {
	case err == nil:
		s.metrics.SelfTest(ch.Type, "ok")
	case ctx.Err() == nil:
		s.metrics.SelfTest(ch.Type, "error")
	}
	return err
}
