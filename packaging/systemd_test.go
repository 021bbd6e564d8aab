package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// worst is how exposed (0 to 10) systemd may find a unit that faces the network.
const worst = "2.0"

func analyze(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CERTD_TEST_REQUIRE") == "1" {
			t.Fatal("systemd-analyze is not installed")
		}
		t.Skip("systemd-analyze is not installed")
	}
	return program
}

// unitFiles writes the units of o, whose certd is /bin/true, and returns the
// directory.
func unitFiles(t *testing.T, o Options) string {
	t.Helper()
	dir := t.TempDir()
	o.Binary = "/bin/true"
	for _, f := range plan(t, o) {
		if strings.Contains(f.Path, "/systemd/") {
			put(t, filepath.Join(dir, filepath.Base(f.Path)), string(f.Data))
		}
	}
	return dir
}

func variants() map[string]Options {
	odd := options(Daemon)
	odd.StateDir, odd.Redirector = "/srv/tls/state", true
	odd.WritePaths = []string{"/home/www/acme", "/var/www/acme"}
	odd.HookDirs = []string{"/opt/hooks", "/etc/acme/hooks"}
	timer := options(Timer)
	timer.Redirector = true
	return map[string]Options{"timer": timer, "daemon": options(Daemon), "odd": odd}
}

// TestVerify: systemd understands every line of every unit.
func TestVerify(t *testing.T) {
	t.Parallel()
	program := analyze(t)
	for name, o := range variants() {
		dir := unitFiles(t, o)
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(files) < 2 {
			t.Fatalf("units %v: %v", files, err)
		}
		out, err := exec.CommandContext(t.Context(), program, append([]string{"verify", "--man=no"}, files...)...).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: verify: %v\n%s", name, err, out)
		}
	}
}

// TestVerifyFindsFaults: the test above would notice.
func TestVerifyFindsFaults(t *testing.T) {
	t.Parallel()
	program := analyze(t)
	file := filepath.Join(unitFiles(t, options(Daemon)), "certd.service")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	put(t, file, strings.Replace(string(data), "ProtectClock=yes", "ProtectClocks=yes", 1))
	out, _ := exec.CommandContext(t.Context(), program, "verify", "--man=no", file).CombinedOutput()
	if !strings.Contains(string(out), "ProtectClocks") {
		t.Errorf("verify says nothing of a misspelt key:\n%s", out)
	}
}

// TestExposure: what faces the network is confined; what runs hooks less so,
// and not without a bound.
func TestExposure(t *testing.T) {
	t.Parallel()
	program := analyze(t)
	bounds := map[string]string{"certd.service": worst, "certd-redirector.service": worst,
		"certd-reconcile.service": "5.5", "certd-hooks@.service": "5.5"}
	checked := make(map[string]bool)
	for name, o := range variants() {
		dir := unitFiles(t, o)
		for unit, bound := range bounds {
			file := filepath.Join(dir, unit)
			if _, err := os.Stat(file); err != nil {
				continue
			}
			checked[unit] = true
			threshold := strings.ReplaceAll(bound, ".", "") // it wants ten times the score
			out, err := exec.CommandContext(t.Context(), program, "security", "--offline=true", "--no-pager", "--threshold="+threshold, file).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %s is more exposed than %s: %v\n%s", name, unit, bound, err, out)
			}
		}
	}
	if len(checked) != len(bounds) {
		t.Errorf("checked only %v", checked)
	}
}

func TestCalendar(t *testing.T) {
	t.Parallel()
	program := analyze(t)
	match := regexp.MustCompile(`(?m)^OnCalendar=(.*)$`).FindStringSubmatch(planned(t, options(Timer), "certd.timer"))
	if match == nil {
		t.Fatal("the timer has no OnCalendar")
	}
	out, err := exec.CommandContext(t.Context(), program, "calendar", "--iterations=5", "--base-time=2026-11-20 00:30:00 UTC", match[1]).CombinedOutput()
	if err != nil || strings.Count(string(out), "2026-11-20 ")+strings.Count(string(out), "2026-11-21 ") < 5 {
		t.Errorf("five runs from 00:30 are not within a day and a half: %v\n%s", err, out)
	}
}

// TestCommandsExist: what units and crontabs start is there, with these flags.
func TestCommandsExist(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "certd")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, "../cmd/certd")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build certd: %v\n%s", err, out)
	}
	start := regexp.MustCompile(`(?m)^(?:ExecStart=|[0-9].* root )/usr/bin/certd (.*?)( >/dev/null)?$`)
	seen := make(map[string]bool)
	for _, kind := range []Kind{Timer, Daemon, Cron} {
		o := options(kind)
		o.Redirector, o.HookDirs = true, []string{"/etc/acme/hooks"}
		for _, f := range plan(t, o) {
			for _, match := range start.FindAllStringSubmatch(string(f.Data), -1) {
				if seen[match[1]] {
					continue
				}
				seen[match[1]] = true
				args := append(strings.Fields(match[1]), "--help")
				out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
				if command := args[len(args)-2]; err != nil || !strings.Contains(string(out), "Usage:") {
					t.Errorf("%s: certd %v (%s): %v\n%s", f.Path, args, command, err, out)
				}
			}
		}
	}
	if len(seen) != 5 {
		t.Errorf("found the commands %v, want those of timer, daemon, hooks, redirector and cron", seen)
	}
}
