package challenge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"certd/acme"
)

// TypeTLSALPN01 is the challenge type that is answered in a TLS handshake (RFC 8737).
const TypeTLSALPN01 = "tls-alpn-01"

// alpnProtocol is the application protocol of its handshakes (RFC 8737 §4).
const alpnProtocol = "acme-tls/1"

// An ALPNResponder answers tls-alpn-01 handshakes (RFC 8737 §3) for names that
// were Put: those that offer acme-tls/1 and nothing else. Every other handshake
// is refused with an alert, and no request is ever read. It has the bounds and
// the way to share ports of Responder, and is shared by all challenges of a process.
type ALPNResponder struct {
	// Count is called with the result of each handshake, from many goroutines:
	// served, unknown (no such name) or bad_request (not for us). Nil means that
	// nobody counts. It is set before the first Listen.
	Count func(result string)

	responder *Responder // owns the ports

	mu    sync.Mutex
	certs map[string]*alpnAnswer // by server name
}

// An alpnAnswer is what a server name is answered with.
type alpnAnswer struct {
	token  string
	config *tls.Config
	over   bool // it lingers
}

// NewALPNResponder returns an ALPNResponder without listeners.
func NewALPNResponder() *ALPNResponder {
	a := &ALPNResponder{responder: NewResponder(), certs: map[string]*alpnAnswer{}}
	a.responder.tls = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: a.config}
	return a
}

// Linger has answers stay as Responder.Linger says; a new challenge for a name takes
// the place of such an answer. It is called before the first Listen.
func (a *ALPNResponder) Linger(d time.Duration) { a.responder.Linger = d }

// Hush ends all answers that linger.
func (a *ALPNResponder) Hush() { a.responder.Hush() }

// Put answers handshakes for id from now on. A CA tells us the name but not
// the token (RFC 8737 §3), so one challenge of a name is answered at a time: the
// error is that another one has it.
func (a *ALPNResponder) Put(id acme.Identifier, ch acme.Challenge) error {
	cert, err := alpnCertificate(id, ch.KeyAuthorization)
	if err != nil {
		return err
	}
	name := alpnServerName(id)
	a.mu.Lock()
	defer a.mu.Unlock()
	if held := a.certs[name]; held != nil && held.token != ch.Token && !held.over {
		return fmt.Errorf("another %s challenge for %s is under way; they come one after the other", TypeTLSALPN01, id.Value)
	}
	a.certs[name] = &alpnAnswer{token: ch.Token, config: &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert},
		NextProtos: []string{alpnProtocol}, SessionTicketsDisabled: true,
	}}
	return nil
}

// Remove undoes Put. A challenge that was not Put is fine.
func (a *ALPNResponder) Remove(id acme.Identifier, token string) {
	name := alpnServerName(id)
	a.mu.Lock()
	defer a.mu.Unlock()
	if held := a.certs[name]; held != nil && held.token == token {
		delete(a.certs, name)
	}
}

// retire says that the challenge with this token is over, and returns what forgets
// its answer, if there is no other one by then.
func (a *ALPNResponder) retire(id acme.Identifier, token string) (forget func()) {
	name := alpnServerName(id)
	a.mu.Lock()
	defer a.mu.Unlock()
	held := a.certs[name]
	if held == nil || held.token != token {
		return func() {}
	}
	held.over = true
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.certs[name] == held {
			delete(a.certs, name)
		}
	}
}

// Addrs are the addresses that are open now, as those of Responder.
func (a *ALPNResponder) Addrs() []string { return a.responder.Addrs() }

// Close closes every listener; nothing is answered from now on.
func (a *ALPNResponder) Close() error { return a.responder.Close() }

// config picks the certificate for a handshake, or refuses it.
func (a *ALPNResponder) config(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if !slices.Equal(hello.SupportedProtos, []string{alpnProtocol}) {
		a.count("bad_request")
		return nil, errors.New("not an " + alpnProtocol + " handshake")
	}
	a.mu.Lock()
	held := a.certs[strings.ToLower(hello.ServerName)]
	a.mu.Unlock()
	if held == nil {
		a.count("unknown")
		return nil, errors.New("no challenge for this name")
	}
	a.count("served")
	return held.config, nil
}

func (a *ALPNResponder) count(result string) {
	if a.Count != nil {
		a.Count(result)
	}
}

// TLSALPN01 answers tls-alpn-01 challenges from an ALPNResponder that listens
// on Addrs while a challenge runs. Responder must be set; the zero value of the
// rest works. It matches issue.Solver and issue.Waiter.
type TLSALPN01 struct {
	Responder *ALPNResponder
	Addrs     []string  // "host:port" each; empty means port 443 of every address
	SelfTest  *SelfTest // nil means that Wait has nothing to wait for

	mu   sync.Mutex
	held map[string][]*listener // by token
}

// Name is "tls-alpn-01" and the addresses.
func (t *TLSALPN01) Name() string { return "tls-alpn-01 on " + strings.Join(t.addrs(), " ") }

func (t *TLSALPN01) addrs() []string {
	if len(t.Addrs) == 0 {
		return []string{":443"}
	}
	return t.Addrs
}

// Present makes the certificate and opens the addresses. It fails only if no
// address could be opened, with every reason, or if another challenge for this
// name is under way.
func (t *TLSALPN01) Present(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	if err := check(id, ch); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("listen for %s: %w", id.Value, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, again := t.held[ch.Token]; again {
		return nil
	}
	if err := t.Responder.Put(id, ch); err != nil {
		return err
	}
	opened, failed := t.Responder.responder.listen(t.addrs())
	if len(opened) == 0 {
		t.Responder.Remove(id, ch.Token)
		return fmt.Errorf("present %s challenge for %s: %w", TypeTLSALPN01, id.Value, failed)
	}
	if t.held == nil {
		t.held = map[string][]*listener{}
	}
	t.held[ch.Token] = opened
	return nil
}

// CleanUp forgets the certificate, and closes the addresses with the last
// challenge that needs them, now or as Linger says. It takes less than
// a second, so ctx is not asked.
func (t *TLSALPN01) CleanUp(_ context.Context, id acme.Identifier, ch acme.Challenge) error {
	if err := check(id, ch); err != nil {
		return err
	}
	t.mu.Lock()
	opened, presented := t.held[ch.Token]
	delete(t.held, ch.Token)
	t.mu.Unlock()
	if !presented {
		return nil
	}
	return t.Responder.responder.retire(opened, t.Responder.retire(id, ch.Token))
}

// Wait returns nil once a handshake from here sees what the CA wants to see, or
// at once without a SelfTest.
func (t *TLSALPN01) Wait(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	if t.SelfTest == nil {
		return nil
	}
	err := t.SelfTest.checkALPN(ctx, id, ch)
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrNoAddress) {
		return err
	}
	return fmt.Errorf("%w; handshakes for the name with ALPN %s must reach certd on %s", err, alpnProtocol, strings.Join(t.addrs(), " or "))
}

// NewTLSALPN01 returns the solver of a configuration: nil without an error if its
// method leaves port 443 alone. The responder is shared by the targets of a process.
func NewTLSALPN01(cfg Config, responder *ALPNResponder) (*TLSALPN01, error) {
	if cfg.Method != MethodAny && cfg.Method != MethodListen {
		return nil, nil
	}
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	t := &TLSALPN01{Responder: responder, Addrs: cfg.TLSPorts}
	if len(t.Addrs) == 0 {
		t.Addrs = []string{":" + strconv.Itoa(orPort(cfg.TLSPort, 443))}
	}
	if cfg.SelfTest {
		t.SelfTest = &SelfTest{Port: cfg.HTTPPort, TLSPort: cfg.TLSPort, Resolver: cfg.Resolver}
	}
	return t, nil
}
