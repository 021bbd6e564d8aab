// Package challengetest is the contract of a challenge.Solver as a test suite:
// whatever proves control of names passes Run.
package challengetest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"certd/acme"
	"certd/challenge"
)

// deadline bounds every call; it is far more than any needs.
const deadline = 2 * time.Minute

// A Harness says how to make the solver under test and how to look at it.
// Start must be set.
type Harness struct {
	// Start returns a fresh solver for one case; what it needs is cleaned up by t.
	Start func(t *testing.T) Subject
	// Permanent is true of a way that is visible without Present and after
	// CleanUp, such as a stateless web server.
	Permanent bool
	// NamesOnly is true of a way that cannot prove IP addresses.
	NamesOnly bool
}

// A Subject is a solver at work.
type Subject struct {
	Solver challenge.Solver
	// Fetch looks at the answer of a token as the CA would, and reports whether
	// there is one.
	Fetch func(token string) (keyAuth string, found bool, err error)
	// Left names files, ports, or hooks that are there although no challenge is
	// presented; nil means there is nothing to leave. It is called after CleanUp.
	Left func() []string
	// Touched names whatever changed outside the place for answers; nil means
	// there is nothing to watch.
	Touched func() []string
}

// Run runs the contract.
func Run(t *testing.T, h Harness) {
	t.Helper()
	cases := []struct {
		name string
		run  func(*testing.T, Harness, Subject)
	}{
		{"present, visible, clean up, gone", lifeCycle},
		{"clean up without present", cleanUpOnly},
		{"clean up twice", cleanUpTwice},
		{"clean up after cancellation", cancelled},
		{"present after cancellation", presentCancelled},
		{"present twice", presentTwice},
		{"two tokens at once", twoTokens},
		{"fifty at once", fifty},
		{"one token after another", again},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { isolated(t, h, c.run) })
	}
	for _, hostile := range Hostile() {
		t.Run("hostile: "+hostile.Name, func(t *testing.T) {
			isolated(t, h, func(t *testing.T, h Harness, s Subject) { refused(t, s, hostile) })
		})
	}
}

// isolated runs one case and checks that nothing is left of it.
func isolated(t *testing.T, h Harness, run func(*testing.T, Harness, Subject)) {
	s := h.Start(t)
	left := withoutLeak(t, func() { run(t, h, s) })
	if s.Left != nil {
		if things := s.Left(); len(things) > 0 {
			t.Errorf("after the last CleanUp there is still: %s", strings.Join(things, ", "))
		}
	}
	if s.Touched != nil {
		if things := s.Touched(); len(things) > 0 {
			t.Errorf("what is outside the place for answers was changed: %s", strings.Join(things, ", "))
		}
	}
	if left != "" {
		t.Errorf("after the last CleanUp goroutines still run:\n%s", left)
	}
}

// New returns an identifier and a well-formed challenge for it, with a new token.
func New(name string) (acme.Identifier, acme.Challenge) {
	token := rand.Text()
	return acme.NewIdentifier(name), Challenge(token)
}

// Challenge returns an http-01 challenge with this token and the key
// authorization that belongs to it and to Thumbprint.
func Challenge(token string) acme.Challenge {
	return acme.Challenge{
		Type:             challenge.TypeHTTP01,
		URL:              "https://ca.test/challenge/1",
		Status:           acme.StatusPending,
		Token:            token,
		KeyAuthorization: token + "." + Thumbprint(),
	}
}

// Thumbprint is that of the account all these challenges belong to (RFC 8555 §8.1).
func Thumbprint() string {
	sum := sha256.Sum256([]byte("challengetest"))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func lifeCycle(t *testing.T, h Harness, s Subject) {
	id, ch := New("www.example.com")
	if !h.Permanent {
		wantGone(t, s, ch.Token, "before Present")
	}
	present(t, s, id, ch)
	wantVisible(t, s, ch, "after Present")
	cleanUp(t, s, id, ch)
	if !h.Permanent {
		wantGone(t, s, ch.Token, "after CleanUp")
	}
}

func cleanUpOnly(t *testing.T, _ Harness, s Subject) {
	id, ch := New("www.example.com")
	cleanUp(t, s, id, ch)
}

func cleanUpTwice(t *testing.T, h Harness, s Subject) {
	id, ch := New("www.example.com")
	present(t, s, id, ch)
	cleanUp(t, s, id, ch)
	cleanUp(t, s, id, ch)
	if !h.Permanent {
		wantGone(t, s, ch.Token, "after the second CleanUp")
	}
}

// cancelled presents under a context that ends, and cleans up under its own.
func cancelled(t *testing.T, h Harness, s Subject) {
	id, ch := New("www.example.com")
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Solver.Present(ctx, id, ch)
	cancel()
	if err != nil {
		t.Errorf("Present: %v", err)
	}
	fresh, stop := context.WithTimeout(context.WithoutCancel(ctx), deadline)
	defer stop()
	if err := s.Solver.CleanUp(fresh, id, ch); err != nil {
		t.Errorf("CleanUp with its own deadline after cancellation: %v", err)
	}
	if !h.Permanent {
		wantGone(t, s, ch.Token, "after CleanUp")
	}
}

func presentCancelled(t *testing.T, h Harness, s Subject) {
	id, ch := New("www.example.com")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Solver.Present(ctx, id, ch); !errors.Is(err, context.Canceled) {
		t.Errorf("Present under a cancelled context: got error %v, want context.Canceled", err)
	}
	if !h.Permanent {
		wantGone(t, s, ch.Token, "after a cancelled Present")
	}
	cleanUp(t, s, id, ch)
}

func presentTwice(t *testing.T, h Harness, s Subject) {
	id, ch := New("www.example.com")
	present(t, s, id, ch)
	present(t, s, id, ch)
	wantVisible(t, s, ch, "after the second Present")
	cleanUp(t, s, id, ch)
	if !h.Permanent {
		wantGone(t, s, ch.Token, "after one CleanUp of two Presents")
	}
}

func twoTokens(t *testing.T, h Harness, s Subject) {
	id, first := New("www.example.com")
	other, second := New("192.0.2.1")
	if h.NamesOnly {
		other, second = New("ftp.example.com")
	}
	present(t, s, id, first)
	present(t, s, other, second)
	wantVisible(t, s, first, "beside another")
	wantVisible(t, s, second, "beside another")
	cleanUp(t, s, id, first)
	wantVisible(t, s, second, "after CleanUp of another")
	cleanUp(t, s, other, second)
	if !h.Permanent {
		wantGone(t, s, second.Token, "after CleanUp")
	}
}

func fifty(t *testing.T, h Harness, s Subject) {
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			id, ch := New(fmt.Sprintf("www%d.example.com", i))
			present(t, s, id, ch)
			wantVisible(t, s, ch, "among fifty")
			cleanUp(t, s, id, ch)
		})
	}
	wg.Wait()
}

func again(t *testing.T, h Harness, s Subject) {
	for range 3 {
		lifeCycle(t, h, s)
	}
}

func present(t *testing.T, s Subject, id acme.Identifier, ch acme.Challenge) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if err := s.Solver.Present(ctx, id, ch); err != nil {
		t.Errorf("Present for %s: %v", id.Value, err)
	}
}

func cleanUp(t *testing.T, s Subject, id acme.Identifier, ch acme.Challenge) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if err := s.Solver.CleanUp(ctx, id, ch); err != nil {
		t.Errorf("CleanUp for %s: %v", id.Value, err)
	}
}

func wantVisible(t *testing.T, s Subject, ch acme.Challenge, when string) {
	t.Helper()
	got, found, err := s.Fetch(ch.Token)
	switch {
	case err != nil:
		t.Errorf("%s: fetch: %v", when, err)
	case !found:
		t.Errorf("%s: the answer is not visible", when)
	case got != ch.KeyAuthorization:
		t.Errorf("%s: got the answer %q, want %q", when, got, ch.KeyAuthorization)
	}
}

func wantGone(t *testing.T, s Subject, token, when string) {
	t.Helper()
	if got, found, err := s.Fetch(token); err == nil && found {
		t.Errorf("%s: the answer %q is visible", when, got)
	}
}
