package challenge

import (
	"context"
	"errors"
	"fmt"

	"certd/acme"
)

// The events of a Hook, acmetool's.
const (
	EventHTTPStart = "challenge-http-start"
	EventHTTPStop  = "challenge-http-stop"
)

// ErrUnhandled reports that no hook took up the event challenge-http-start.
var ErrUnhandled = errors.New("no hook handled " + EventHTTPStart)

// A Hook lets executables make answers visible, by acmetool's protocol: the
// arguments are host name, target file name and token, and the key authorization
// is on stdin, without a newline, for both events. Run must be set.
type Hook struct {
	Run    HookFunc
	Target string            // file name in desired/; may be empty
	Env    map[string]string // added to the hooks' environment
}

// Name is "hook".
func (*Hook) Name() string { return "hook" }

func (*Hook) advice() string {
	return "the " + EventHTTPStart + " hook must make the key authorization visible under " + PathPrefix + "<token>"
}

// Present runs challenge-http-start. It takes as long as the hooks do, and fails
// if none of them handled the event (ErrUnhandled) and none said why.
func (h *Hook) Present(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	if err := check(id, ch); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("hook %s for %s: %w", EventHTTPStart, id.Value, err)
	}
	handled, err := h.run(ctx, EventHTTPStart, id, ch)
	switch {
	case handled:
		return nil
	case err != nil:
		return fmt.Errorf("hook %s for %s: %w", EventHTTPStart, id.Value, err)
	}
	return fmt.Errorf("hook: %w; install one, or choose another method", ErrUnhandled)
}

// CleanUp runs challenge-http-stop. That no hook handled it is not an error.
func (h *Hook) CleanUp(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	if err := check(id, ch); err != nil {
		return err
	}
	if _, err := h.run(ctx, EventHTTPStop, id, ch); err != nil {
		return fmt.Errorf("hook %s for %s: %w", EventHTTPStop, id.Value, err)
	}
	return nil
}

func (h *Hook) run(ctx context.Context, event string, id acme.Identifier, ch acme.Challenge) (bool, error) {
	args := []string{id.Value, h.Target, ch.Token}
	return h.Run(ctx, event, args, []byte(ch.KeyAuthorization), h.Env, nil)
}
