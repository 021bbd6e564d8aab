package plan

import (
	"strings"
	"testing"
	"time"

	"certd/config"
	"certd/state"
)

// TestStopped: while nothing may be done, what is not due keeps its time, no
// certificate is from the wrong CA, and everything else waits and says why.
func TestStopped(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	wanted := target("x", "a.example.com", func(t *config.Target) { t.CAs = []string{"nobody knows it"} })
	elsewhere := func(c *state.Certificate) { c.Directory = "https://elsewhere.example/directory" }
	for _, tt := range []struct {
		name string
		have *state.Snapshot
		kind Kind
		says string
	}{
		{"good", snapshot("a.example.com=c", cert("c", "a.example.com", day, 90*day, elsewhere)), Keep, ""},
		{"due", snapshot("a.example.com=c", cert("c", "a.example.com", 80*day, 90*day, elsewhere)), Wait, "; somebody forbids it"},
		{"missing", nil, Wait, "; somebody forbids it"},
		{"not linked", snapshot("", cert("c", "a.example.com", day, 90*day, elsewhere)), Wait, "; somebody forbids it"},
	} {
		a := one(t, Input{Targets: []*config.Target{wanted}, State: tt.have, Stopped: "somebody forbids it"})
		if a.Kind != tt.kind || !strings.HasSuffix(a.Reason, tt.says) {
			t.Errorf("%s: %s because %q, want %s because %q", tt.name, a.Kind, a.Reason, tt.kind, tt.says)
		}
	}
}
