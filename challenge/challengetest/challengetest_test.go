package challengetest

import (
	"strings"
	"testing"

	"certd/acme"
	"certd/challenge"
)

func TestNewIsWellFormed(t *testing.T) {
	t.Parallel()
	id, ch := New("www.example.com")
	if err := (&challenge.Stateless{Thumbprint: Thumbprint()}).Present(t.Context(), id, ch); err != nil {
		t.Errorf("a challenge that every solver must take: %v", err)
	}
	if _, other := New("www.example.com"); other.Token == ch.Token {
		t.Error("two challenges have the same token")
	}
}

// Each hostile challenge is wrong in a way of its own, and told apart by name.
func TestHostileIsHostile(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, h := range Hostile() {
		if seen[h.Name] {
			t.Errorf("two hostile challenges are called %q", h.Name)
		}
		seen[h.Name] = true
		thumbprint, ok := strings.CutPrefix(h.Challenge.KeyAuthorization, h.Challenge.Token+".")
		if acme.ValidToken(h.Challenge.Token) && ok && thumbprint == Thumbprint() && h.Identifier.Value == "www.example.com" {
			t.Errorf("the hostile challenge %q has nothing wrong with it", h.Name)
		}
	}
	if len(seen) < 30 {
		t.Errorf("only %d hostile challenges", len(seen))
	}
}

func TestLeaksAreFound(t *testing.T) {
	t.Parallel()
	mark, stop, ended := "", make(chan struct{}), make(chan struct{})
	marked(func(m string) {
		mark = m
		go func() {
			defer close(ended)
			<-stop
		}()
	})
	if stacks, err := labelled(mark); err != nil || !strings.Contains(stacks, "TestLeaksAreFound") {
		t.Errorf("a goroutine that is still there: got the stacks %q and the error %v", stacks, err)
	}
	close(stop)
	<-ended
	if left := withoutLeak(t, func() {}); left != "" {
		t.Errorf("a function that starts nothing leaves %s", left)
	}
}
