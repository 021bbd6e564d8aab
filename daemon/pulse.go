package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"certd/acme"
	"certd/hooks"
)

const (
	// hungAfter is how long ago the loop may have turned; it does so every second.
	hungAfter = time.Minute

	// stalledAfter is how long a pass may go on without a sign of life: a
	// request, a step of an order, a hook that starts. The longest silence of a
	// pass that is well is a hook's time limit; an order gives up after 15 minutes.
	stalledAfter = 20 * time.Minute
)

// A pulse tells every goroutine whether the loop turns and the passes live.
type pulse struct {
	mu     sync.Mutex
	turned time.Time          // when the loop last turned
	alive  map[*run]time.Time // last sign of life of each pass that runs
	text   string             // how things are, in lines
}

func (p *pulse) turn(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turned, p.text = time.Now(), text
}

func (p *pulse) sign(r *run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, runs := p.alive[r]; runs {
		p.alive[r] = time.Now()
	}
}

// begin is told that a pass begins, and has it give signs of life.
func (p *pulse) begin(r *run, o *Options) {
	p.mu.Lock()
	if p.alive == nil {
		p.alive = make(map[*run]time.Time)
	}
	p.alive[r] = time.Now()
	p.mu.Unlock()
	progress, observe := o.Progress, o.Observe
	o.Progress = func(step Progress) {
		p.sign(r)
		if progress != nil {
			progress(step)
		}
	}
	o.Observe = func(e acme.Exchange) {
		p.sign(r)
		if observe != nil {
			observe(e)
		}
	}
	if o.Hooks != nil {
		o.Hooks = livelyHooks{o.Hooks, func() { p.sign(r) }}
	}
}

func (p *pulse) end(r *run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.alive, r)
}

// stalled says that a pass has gone silent; nil if none has.
func (p *pulse) stalled() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, alive := range p.alive {
		if silent := time.Since(alive); silent > stalledAfter {
			return fmt.Errorf("the pass has shown no sign of life for %s", span(silent))
		}
	}
	return nil
}

// health is how things are; an error if the loop does not turn or the pass stalls.
func (p *pulse) health() (text string, err error) {
	if err := p.stalled(); err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if still := time.Since(p.turned); still > hungAfter {
		return "", fmt.Errorf("the loop has not turned for %s", span(still))
	}
	return p.text, nil
}

// livelyHooks gives a sign of life whenever a hook is about to run.
type livelyHooks struct {
	HookRunner
	sign func()
}

// Run is HookRunner's.
func (h livelyHooks) Run(ctx context.Context, ev hooks.Event, skip func(string) bool) ([]hooks.Result, error) {
	defer h.sign()
	return h.HookRunner.Run(ctx, ev, func(path string) bool {
		h.sign()
		return skip != nil && skip(path)
	})
}
