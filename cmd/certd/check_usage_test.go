package main

import (
	"context"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Wrong usage, help and what cannot be read are UNKNOWN, never one of certd's
// other exit codes, and are said on standard output.
func TestCheckUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, says string }{
		{"--help", "A plugin for Nagios"},
		{"-h", "A plugin for Nagios"},
		{"-V", "certd dev"},
		{"--nonsense", "CERTD UNKNOWN: unknown flag: --nonsense"},
		{"-w", "CERTD UNKNOWN: flag needs an argument"},
		{"-w soon", "CERTD UNKNOWN: -w soon: want a share"},
		{"-w 101%", "UNKNOWN: -w 101%"},
		{"-w -1", "UNKNOWN: -w -1"},
		{"-c NaN", "UNKNOWN: -c NaN"},
		{"-c Inf", "UNKNOWN: -c Inf"},
		{"-c 1e9", "UNKNOWN: -c 1e9"},
		{"-w 10% -c 20%", "UNKNOWN: -w 10% is less than -c 20%"},
		{"-w 5 -c 6", "UNKNOWN: -w 5 is less than -c 6"},
		{"-w 5%", "UNKNOWN: -w 5%"},
		{"-t 0", "UNKNOWN: -t 0"},
		{"-t x", "UNKNOWN: invalid argument"},
		{"--stale 0s", "UNKNOWN: --stale 0s"},
		{"../etc/passwd", "UNKNOWN: name"},
		{"--log-level loud", "UNKNOWN: --log-level"},
		{"--state /nonexistent", "UNKNOWN: state directory"},
		{"--state /dev/null", "UNKNOWN: "},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			s := newCheckSite(t)
			s.good("www.example.com")
			code, out := s.run(strings.Fields(c.args)...)
			if code != 3 || !strings.Contains(out, c.says) {
				t.Errorf("exit %d, want 3; it said %q, want %q in it", code, out, c.says)
			}
		})
	}
}

func TestCheckLimits(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		warning, critical    string
		lifetime, renews     time.Duration // renews before the end
		wantWarn, wantCritic time.Duration
	}{
		{"", "", 90 * day, 30 * day, 22*day + 12*time.Hour, 9 * day},
		{"", "", 6 * day, 3 * day, 36 * time.Hour, 14*time.Hour + 24*time.Minute},
		{"", "", 90 * day, 4 * day, 3 * day, 28*time.Hour + 48*time.Minute},
		{"50%", "20%", 90 * day, 4 * day, 45 * day, 18 * day},
		{"20", "10:", 90 * day, 30 * day, 20 * day, 10 * day},
		{"0.5", "6%", 100 * time.Hour, 30 * time.Hour, 12 * time.Hour, 6 * time.Hour},
	} {
		l, err := parseLimits(checkFlags{warning: c.warning, critical: c.critical, seconds: 1, stale: time.Hour})
		if err != nil {
			t.Errorf("-w %q -c %q: %v", c.warning, c.critical, err)
			continue
		}
		end := begin.Add(c.lifetime)
		near := func(a, b time.Duration) bool { return (a - b).Abs() < time.Second } // shares are floating-point numbers
		if w, k := l.warning.of(begin, end, end.Add(-c.renews)), l.critical.of(begin, end, end.Add(-c.renews)); !near(w, c.wantWarn) || !near(k, c.wantCritic) {
			t.Errorf("-w %q -c %q of %v: %v and %v, want %v and %v", c.warning, c.critical, c.lifetime, w, k, c.wantWarn, c.wantCritic)
		}
	}
}

// What a file system that does not answer gives is not UNKNOWN.
func TestCheckTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan *checkReport)
		hangs := func() *checkReport { return <-answer }
		var out strings.Builder
		if status := within(t.Context(), 10*time.Second, "/nfs", hangs).print(&out, false); status != checkCritical || out.String() != "CERTD CRITICAL: /nfs could not be read within 10 seconds\n" {
			t.Errorf("a file system that hangs: %v, %q", status, out.String())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if status := within(ctx, 10*time.Second, "/nfs", hangs).print(io.Discard, false); status != checkUnknown {
			t.Errorf("interrupted: %v, want UNKNOWN", status)
		}
		close(answer)
	})
}

// A pipe where a file belongs hangs nothing.
func TestCheckPipe(t *testing.T) {
	t.Parallel()
	s := newCheckSite(t)
	id := s.good("www.example.com")
	s.must(os.Remove(s.path("certs", id, "url")))
	s.must(syscall.Mkfifo(s.path("certs", id, "url"), 0o644))
	if code, out := s.run(); code != 2 || !strings.Contains(out, "has no certificate") {
		t.Errorf("exit %d, want 2: %q", code, out)
	}
}

// The text cannot be taken for perfdata, whatever is in it; the worst is first.
func TestCheckText(t *testing.T) {
	t.Parallel()
	var r checkReport
	r.add(checkUnknown, "interrupted")
	r.add(checkCritical, "could not be read | \x1b[31m\nwithin 5 seconds")
	var out strings.Builder
	if status := r.print(&out, false); status != checkCritical || out.String() != "CERTD CRITICAL: could not be read / ?[31m within 5 seconds, and 1 more problem\n" {
		t.Errorf("got %v, %q", status, out.String())
	}
}

// However much is wrong, the answer is bounded.
func TestCheckBounded(t *testing.T) {
	t.Parallel()
	s := newCheckSite(t)
	var names []string
	for i := range 120 {
		names = append(names, strings.Repeat("a", 50)+string(rune('a'+i/26))+string(rune('a'+i%26))+"."+strings.Repeat("b", 60)+".example.com")
	}
	s.want(names...)
	code, out := s.run("-v")
	if code != 2 || len(out) > 8<<10 || strings.Count(out, "\n") > 22 || !strings.Contains(out, "and 119 more problems") || !strings.Contains(out, "missing=120;;0;0") {
		t.Errorf("exit %d, %d bytes: %q", code, len(out), out)
	}
}
