package main

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"

	"certd/daemon"
	"certd/state"
	"certd/state/statetest"
)

// TestConfirm: at a terminal a revocation is asked about first, and "no", Enter or
// nobody's answer leave everything as it was; --batch is a word of its own.
func TestConfirm(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, typed string
		args        []string
		revoked     bool
	}{
		{"no", "n\r", nil, false},
		{"the enter key", "\r", nil, false},
		{"yes", "y\r", nil, true},
		{"not asked", "", []string{"--batch"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "acme")
			ca, err := statetest.NewCA()
			if err != nil {
				t.Fatal(err)
			}
			const name = "www.example.test"
			if err := statetest.Fill(dir, "https://127.0.0.1:1/dir", ca, []string{name}); err != nil {
				t.Fatal(err)
			}
			code, shown := atTerminal(t, tt.typed, append([]string{"--state", dir, "--hooks", t.TempDir(), "revoke", name}, tt.args...)...)
			if code != exitFailed { // the CA is not there, or the answer was no
				t.Errorf("exit %d, want %d; it showed:\n%s", code, exitFailed, shown)
			}
			if asked := strings.Contains(shown, "Revoke it?"); asked != (tt.args == nil) {
				t.Errorf("asked: %v; it showed:\n%s", asked, shown)
			}
			store, err := state.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			view, err := daemon.Look(store)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range view.Snapshot.Certificates {
				if c.Revoked != tt.revoked {
					t.Errorf("marked for revocation: %v, want %v; it showed:\n%s", c.Revoked, tt.revoked, shown)
				}
			}
		})
	}
}

// atTerminal runs certd at a terminal where somebody types, and returns what it
// showed there.
func atTerminal(t *testing.T, typed string, args ...string) (code int, shown string) {
	t.Helper()
	person, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	var screen bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&screen, person) // until the terminal is closed
	}()
	if _, err := person.WriteString(typed); err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	var out bytes.Buffer
	code = run(context.Background(), args, streams{in: terminal, out: &out, err: &logged})
	terminal.Close()
	<-read
	person.Close()
	return code, out.String() + screen.String() + logged.String()
}

// TestRevokeCompletions: a shell is offered the reasons.
func TestRevokeCompletions(t *testing.T) {
	t.Parallel()
	var out, errs strings.Builder
	if code := run(context.Background(), []string{"__complete", "revoke", "--reason", "key"}, streams{in: strings.NewReader(""), out: &out, err: &errs}); code != exitOK || !strings.Contains(out.String(), "keyCompromise") {
		t.Errorf("exit %d, completions %q", code, out.String())
	}
}
