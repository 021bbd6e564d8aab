package issue

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"certd/acme"
)

// prove proves everything, all at once but for what a Sequencer wants one after
// the other.
func (r *run) prove(ctx context.Context, proofs []*proof) error {
	rounds, between := r.rounds(ctx, proofs)
	for i, round := range rounds {
		if i > 0 {
			if err := pause(ctx, between); err != nil {
				return err
			}
		}
		if err := r.proveTogether(ctx, round); err != nil {
			return err
		}
	}
	return nil
}

// rounds splits proofs so that no two of one queue are in the same round, and
// says how long to wait between rounds.
func (r *run) rounds(ctx context.Context, proofs []*proof) (rounds [][]*proof, between time.Duration) {
	rounds = [][]*proof{nil}
	filled := make(map[string]int) // rounds that have one of the queue
	for _, p := range proofs {
		at := 0
		if queue, wait := p.queue(ctx); queue != "" && len(proofs) > 1 {
			at, between = filled[queue], max(between, wait)
			filled[queue]++
		}
		if at == len(rounds) {
			rounds = append(rounds, nil)
		}
		rounds[at] = append(rounds[at], p)
	}
	return rounds, between
}

// queue is that of the first way to prove p which has one.
func (p *proof) queue(ctx context.Context) (queue string, between time.Duration) {
	for _, w := range append([]way{{p.ch, p.solver}}, p.ways...) {
		if s, ok := w.solver.(Sequencer); ok && queue == "" {
			queue, between = s.Sequence(ctx)
		}
	}
	return queue, between
}

// proveTogether presents all proofs, sees for itself if asked to, answers all, and
// waits for the CA's verdict on each. What was presented is removed in any case.
func (r *run) proveTogether(ctx context.Context, proofs []*proof) error {
	defer r.cleanUp(ctx, proofs)
	if err := each(proofs, func(p *proof) error { return r.present(ctx, p) }); err != nil {
		return err
	}
	if err := each(proofs, func(p *proof) error { return r.see(ctx, p) }); err != nil {
		return err
	}
	_ = each(proofs, func(p *proof) error {
		r.step(p.name.Value, "validate")
		if p.pending {
			p.answer(ctx, r.Client)
		}
		return nil // others were told: their verdict is waited for
	})
	// What the CA has been told to look at is not taken away under its eyes,
	// which would spoil the order.
	lasting, stop := linger(ctx, lingerTime, lingerTime)
	defer stop()
	return each(proofs, func(p *proof) error { return r.verdict(lasting, p) })
}

// present makes the answer to p visible, in the first way that can be presented.
func (r *run) present(ctx context.Context, p *proof) error {
	r.step(p.name.Value, "authorize")
	if p.solver == nil {
		return nil
	}
	var failed []error
	for {
		err := r.unproven(ctx, p, "present", p.solver.Present(ctx, p.authz.Identifier, p.ch))
		if err == nil {
			return nil
		}
		failed = append(failed, err)
		if !r.another(ctx, p) {
			return r.noOther(ctx, p, failed)
		}
	}
}

// see waits until the answer to p can be seen from here, if that is wanted. What
// can't be seen is presented in another way.
func (r *run) see(ctx context.Context, p *proof) error {
	var failed []error
	for {
		err := r.selfTest(ctx, p)
		if err == nil {
			return nil
		}
		failed = append(failed, err)
		if !r.another(ctx, p) {
			return r.noOther(ctx, p, failed)
		}
		if err := r.present(ctx, p); err != nil {
			return join(append(failed, err))
		}
	}
}

// noOther is the error of the ways that failed, with the reasons why other types
// were not tried.
func (r *run) noOther(ctx context.Context, p *proof, failed []error) error {
	last, ok := failed[len(failed)-1].(*acme.Problem)
	if why := r.unused(p); ok && why != "" && ctx.Err() == nil {
		last.Detail += why
	}
	return join(failed)
}

// another gives up the way p is at and takes up the next one, if there is one.
func (r *run) another(ctx context.Context, p *proof) bool {
	if ctx.Err() != nil || len(p.ways) == 0 {
		return false
	}
	r.cleanUp(ctx, []*proof{p})
	return p.next(ctx)
}

func (r *run) selfTest(ctx context.Context, p *proof) error {
	waiter, ok := p.solver.(Waiter)
	if !ok || !p.pending || !r.req.SelfTest && !strings.HasPrefix(p.ch.Type, "dns-") {
		return nil
	}
	r.step(p.name.Value, "self-test")
	if patient, ok := p.solver.(Patient); ok {
		defer r.standStill(patient.Patience(p.ch))()
		defer r.stepAgain(p.name.Value, "self-test")()
	}
	return r.unproven(ctx, p, "self-test", waiter.Wait(ctx, p.authz.Identifier, p.ch))
}

// stepAgain goes on to report a step that may take long, until stop.
func (r *run) stepAgain(name, step string) (stop func()) {
	over := make(chan struct{})
	var reporter sync.WaitGroup
	reporter.Go(func() {
		ticker := time.NewTicker(waitSteps)
		defer ticker.Stop()
		for {
			select {
			case <-over:
				return
			case <-ticker.C:
				r.step(name, step)
			}
		}
	})
	return func() { close(over); reporter.Wait() }
}

// unproven is the problem of a solver that failed, nil if it did not.
func (r *run) unproven(ctx context.Context, p *proof, what string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s %s: %w", what, p.ch.Type, err)
	class := acme.ClassName
	if ctx.Err() != nil { // not the name's fault
		class, err = acme.ClassTransient, fmt.Errorf("%w (%w)", err, ctx.Err())
	}
	problem := r.problem(class, p.name, err)
	problem.Challenge = p.ch.Type
	return problem
}
