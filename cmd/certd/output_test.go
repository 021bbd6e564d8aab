package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"certd/acme"
	"certd/config"
	"certd/daemon"
	"certd/state"
)

// TestWrap: text is broken between words, and no word is lost or cut.
func TestWrap(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("word ", 40) + "https://ca.example/" + strings.Repeat("x", 100) + " end"
	lines := wrap("    "+long, "      ")
	if got := strings.Join(strings.Fields(strings.Join(lines, " ")), " "); got != long {
		t.Errorf("wrapped to %q, want the same words", got)
	}
	for i, line := range lines {
		if utf8.RuneCountInString(line) > screenWidth && len(strings.Fields(line)) > 1 {
			t.Errorf("line %d is wider than the screen: %q", i, line)
		}
		if indent := len(line) - len(strings.TrimLeft(line, " ")); indent != 4 && i == 0 || indent != 6 && i > 0 {
			t.Errorf("line %d is indented by %d: %q", i, indent, line)
		}
	}
	if got := wrap("", "  "); got != nil {
		t.Errorf("nothing was wrapped to %q", got)
	}
}

// crowded is a view with long names, waits, errors and a labelled target.
func crowded(t *testing.T, now time.Time) *daemon.View {
	t.Helper()
	view := &daemon.View{
		Settings: &config.Settings{},
		Targets:  &config.Targets{},
		Snapshot: &state.Snapshot{Attempts: map[string]state.Attempt{}},
		Now:      now,
	}
	for file, text := range map[string]string{
		"new.example.com":      "",
		"labelled.example.com": "label: rsa",
		"waiting":              "satisfy: {names: [waiting.example.com, waiting2.example.com]}",
		strings.Repeat("long-label.", 5) + "example.com": "",
	} {
		target, err := config.ParseTarget(file, []byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		view.Targets.Targets = append(view.Targets.Targets, target)
		if file == "waiting" {
			view.Snapshot.Attempts[file] = state.Attempt{Target: file, Digest: target.Digest(), Failures: 3, Class: string(acme.ClassTransient),
				LastError:   "self-test of waiting.example.com: " + strings.Repeat("the web server does not answer ", 8) + "at-all",
				LastAttempt: now.Add(-time.Minute), NextAttempt: now.Add(20 * time.Minute)}
		}
	}
	return view
}

// TestEightyColumns: status and plan fit a terminal and lose nothing that matters.
func TestEightyColumns(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 14, 13, 0, 0, time.UTC)
	view := crowded(t, now)
	all := func(*config.Target) bool { return true }
	for name, show := range map[string]func(*app){
		"status": func(a *app) { a.printStatus(view.Status(), view) },
		"plan":   func(a *app) { a.printPlan(view.Plan(all, false), view) },
	} {
		var b strings.Builder
		show(&app{streams: streams{out: &b}})
		text := b.String()
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
				t.Errorf("%s: a line has %d characters: %s", name, n, line)
			}
		}
		joined := strings.Join(strings.Fields(text), " ")
		wants := map[string][]string{
			"status": {"new.example.com missing - the next reconcile orders it", "waiting.example.com failing - tries again 14:33Z: ",
				"labelled.example.com:rsa missing", "long-label.example.com missing", "waiting.example.com +1: self-test of", "at-all"},
			"plan": {"new.example.com order now no certificate yet", "labelled.example.com:rsa order", "long-label.example.com order",
				"waiting.example.com +1 wait in 20 minutes no certificate yet; failed 3 times, next attempt"},
		}
		for _, want := range wants[name] {
			if !strings.Contains(joined, want) {
				t.Errorf("%s does not say %q:\n%s", name, want, text)
			}
		}
		if n := strings.Count(text, "at-all"); name == "status" && n != 1 {
			t.Errorf("status repeats the error of one target %d times:\n%s", n, text)
		}
	}
}
