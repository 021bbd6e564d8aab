package daemon

import (
	"testing"
	"time"
)

// The daemon's own responders linger; those of a run of its own do not.
func TestOnlyTheDaemonLingers(t *testing.T) {
	t.Parallel()
	if l := newLoop(RunOptions{}, nil); l.responder.Linger != time.Minute {
		t.Errorf("the daemon answers for %v after a challenge, want a minute", l.responder.Linger)
	}
	if r := newResponder(nil); r.Linger != 0 {
		t.Errorf("a run of its own answers for %v after a challenge", r.Linger)
	}
}
