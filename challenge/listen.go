package challenge

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"certd/acme"
)

// A Listen answers from a Responder that listens on Addrs while a challenge
// runs: ":80" for the CA itself, or a loopback port that a web server passes
// challenge requests on to. Responder must be set; the zero value of the rest works.
type Listen struct {
	Responder *Responder
	Addrs     []string // empty means only where others have opened the Responder
	Proxied   bool     // Addrs are behind a web server; only the advice differs

	mu   sync.Mutex
	held map[string][]*listener // by token
}

// Name is "listen" and the addresses.
func (l *Listen) Name() string { return "listen " + strings.Join(l.Addrs, " ") }

func (l *Listen) advice() string {
	switch addrs := strings.Join(l.Addrs, " or "); {
	case l.Proxied:
		return "the web server must pass " + PathPrefix + " on to http://" + addrs
	case addrs != "":
		return "requests to the name must reach certd on " + addrs
	}
	return "requests to the name must reach certd's responder"
}

// Present opens the addresses and puts the answer. It fails only if no address
// could be opened, with every reason.
func (l *Listen) Present(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	_, err := l.present(ctx, id, ch)
	return err
}

func (l *Listen) present(ctx context.Context, id acme.Identifier, ch acme.Challenge) (failed reasons, err error) {
	if err := check(id, ch); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("listen for %s: %w", id.Value, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, again := l.held[ch.Token]; again {
		return nil, nil
	}
	opened, failed := l.Responder.listen(l.Addrs)
	if len(l.Addrs) > 0 && len(failed) == len(l.Addrs) {
		return nil, failed
	}
	l.Responder.Put(ch.Token, ch.KeyAuthorization)
	if l.held == nil {
		l.held = map[string][]*listener{}
	}
	l.held[ch.Token] = opened
	return failed, nil
}

// CleanUp removes the answer, and closes the addresses with the last challenge
// that needs them, now or as Responder.Linger says. It takes less than a second, so
// ctx is not asked.
func (l *Listen) CleanUp(_ context.Context, id acme.Identifier, ch acme.Challenge) error {
	if err := check(id, ch); err != nil {
		return err
	}
	l.mu.Lock()
	opened, presented := l.held[ch.Token]
	delete(l.held, ch.Token)
	l.mu.Unlock()
	if !presented {
		return nil
	}
	return l.Responder.retire(opened, func() { l.Responder.Remove(ch.Token) })
}
