package challenge

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"certd/acme"
)

// HTTP01 answers http-01 challenges in every way it has (RFC 8555 §8.3). It
// matches issue.Solver and issue.Waiter, and is safe for concurrent use.
type HTTP01 struct {
	Ways     []Way     // at least one must work
	Spare    []Way     // used as well, but not enough alone
	SelfTest *SelfTest // nil means that Wait has nothing to wait for

	mu        sync.Mutex
	presented map[string]presented // by token, from Present to CleanUp
}

// presented is what an explanation of Wait can use.
type presented struct {
	advice []string // of the ways that worked
	failed reasons  // of the ways that did not
}

// Present makes the answer visible in every way. It fails only if none of Ways
// worked, with the reason of each.
func (h *HTTP01) Present(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	if err := check(id, ch); err != nil {
		return err
	}
	var p presented
	worked := 0
	for i, way := range append(h.Ways[:len(h.Ways):len(h.Ways)], h.Spare...) {
		failed, err := presentIn(ctx, way, id, ch)
		p.failed = append(p.failed, failed...)
		if err != nil {
			p.failed = append(p.failed, err)
			continue
		}
		if i < len(h.Ways) {
			worked++
		}
		if a, ok := way.(adviser); ok {
			p.advice = append(p.advice, a.advice())
		}
	}
	if worked == 0 {
		if len(h.Ways) == 0 {
			p.failed = append(p.failed, errors.New("no method is configured; set request.challenge.method"))
		}
		return fmt.Errorf("present http-01 challenge for %s: %w", id.Value, p.failed)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.presented == nil {
		h.presented = map[string]presented{}
	}
	h.presented[ch.Token] = p
	return nil
}

func presentIn(ctx context.Context, way Way, id acme.Identifier, ch acme.Challenge) (failed reasons, err error) {
	if p, ok := way.(presenter); ok {
		return p.present(ctx, id, ch)
	}
	return nil, way.Present(ctx, id, ch)
}

// CleanUp removes the answer from every way, whether or not Present worked, and
// returns what could not be removed.
func (h *HTTP01) CleanUp(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	if err := check(id, ch); err != nil {
		return err
	}
	h.mu.Lock()
	delete(h.presented, ch.Token)
	h.mu.Unlock()
	var failed reasons
	for _, ways := range [][]Way{h.Ways, h.Spare} {
		for _, way := range ways {
			if err := way.CleanUp(ctx, id, ch); err != nil {
				failed = append(failed, err)
			}
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("clean up http-01 challenge for %s: %w", id.Value, failed)
}

// Wait returns nil once the answer is seen from here as the CA would see it, or
// at once without a SelfTest. Its error says what was seen instead, what must
// be set up, and which ways did not work.
func (h *HTTP01) Wait(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	if h.SelfTest == nil {
		return nil
	}
	err := h.SelfTest.Check(ctx, id, ch)
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrNoAddress) {
		return err
	}
	return h.explain(err, ch)
}
