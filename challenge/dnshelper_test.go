package challenge_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"certd/challenge"
	"certd/challenge/challengetest"
)

// present sets a record by a certd-dns that is this script.
func present(t *testing.T, ctx context.Context, script, envFile string) error {
	t.Helper()
	d := &challenge.DNS01{Provider: "exec", EnvFile: envFile,
		DNS: &challenge.DNS{Checker: nobody(), NoWait: true, Helper: &challenge.Helper{Path: helper(t, script)}}}
	id, ch := challengetest.New("www.example.com")
	return d.Present(ctx, id, ch)
}

// Whatever certd-dns does is one error of one line.
func TestHelperMisbehaves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ what, script, says string }{
		{"says no", `echo '{"ok":false,"error":"exec: EXEC_PATH is missing","variable":"EXEC_PATH"}'; exit 1`, "EXEC_PATH is missing; set request.challenge.dns-env-file"},
		{"says nothing", `exit 3`, "exit status 3"},
		{"panics", `echo 'panic: of its own' >&2; echo 'goroutine 1 [running]:' >&2; exit 2`, "exit status 2: panic: of its own"},
		{"complains", `echo 'not today' >&2; exit 1`, "exit status 1: not today"},
		{"answers something else", `echo hello`, "no JSON document"},
		{"answers megabytes", `head -c 3000000 /dev/zero | tr '\0' 'x'`, "more than 262144 bytes"},
		{"answers without end", `yes; yes`, "more than 262144 bytes"},
		{"complains for megabytes", `head -c 3000000 /dev/zero | tr '\0' 'x' >&2; exit 1`, "exit status 1"},
		{"colours its error", `printf '{"ok":false,"error":"\\u001b[31mred\\n"}'`, "red"},
		{"kills itself", `kill -9 $$`, "signal: killed"},
	} {
		err := present(t, t.Context(), "#!/bin/sh\n"+c.script+"\n", "")
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 2000 {
			t.Errorf("a certd-dns that %s: got the error %v, want one line with %q", c.what, err, c.says)
		}
	}
}

// A certd-dns that hangs is ended with everything it has started.
func TestHelperHangs(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	script := "#!/bin/sh\ntrap '' TERM\nsleep 600 &\necho $$ $! >" + pids + ".new; mv " + pids + ".new " + pids + "\nsleep 600\n"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(pids); err == nil {
				cancel()
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if err := present(t, ctx, script, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("a certd-dns that hangs, cancelled: got %v", err)
	}
	wantGonePIDs(t, pids)
}

// Children that it leaves behind do not survive it, nor hold up its answer.
func TestHelperForks(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	script := "#!/bin/sh\nsleep 600 &\necho $! >" + pids + "\necho '{\"ok\":true}'\n"
	if err := present(t, t.Context(), script, ""); err != nil {
		t.Errorf("a certd-dns that leaves a child: %v", err)
	}
	wantGonePIDs(t, pids)
}

func wantGonePIDs(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range strings.Fields(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		gone := false
		for range 6000 {
			stat, err := os.ReadFile("/proc/" + field + "/stat")
			if gone = err != nil || strings.Contains(string(stat), ") Z "); gone {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if !gone {
			t.Errorf("process %d is still there", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// The environment is PATH, HOME, a bound for Go's memory and what the file says.
func TestHelperEnvironment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "dns.env")
	if err := os.WriteFile(file, []byte("# mine\n\nA=1\nexport B='2 3' \nC=\"x\\\"y\"\nHOME=/root\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := present(t, t.Context(), "#!/bin/sh\nread -r request\nenv >"+dir+"/env\nulimit -d >"+dir+"/data\nulimit -c >>"+dir+"/data\necho '{\"ok\":true}'\n", file); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		got[name] = value
	}
	for name, want := range map[string]string{"A": "1", "B": "2 3", "C": `x"y`, "HOME": "/root", "GOMEMLIMIT": "256MiB", "PATH": os.Getenv("PATH")} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
		delete(got, name)
	}
	for _, shell := range []string{"PWD", "_", "SHLVL", "OLDPWD"} {
		delete(got, shell)
	}
	if len(got) > 0 {
		t.Errorf("there is more in the environment: %v", got)
	}
	if bounds, _ := os.ReadFile(filepath.Join(dir, "data")); string(bounds) != "1048576\n0\n" {
		t.Errorf("the bounds of data (KiB) and core dumps are %q, want 1048576 and 0", bounds)
	}
}

func TestHelperMissing(t *testing.T) {
	t.Parallel()
	d := &challenge.DNS01{Provider: "exec", DNS: &challenge.DNS{Checker: nobody(), NoWait: true, Helper: &challenge.Helper{}}}
	id, ch := challengetest.New("www.example.com")
	err := d.Present(t.Context(), id, ch)
	if err == nil || !strings.Contains(err.Error(), "make build makes bin/certd-dns") {
		t.Errorf("without the program: got %v, want how to get it", err)
	}
}

// Ready tells what somebody has to mend, and nothing that may pass by.
func TestReady(t *testing.T) {
	t.Parallel()
	open := filepath.Join(t.TempDir(), "open.env")
	if err := errors.Join(os.WriteFile(open, []byte("A=1\n"), 0o644), os.Chmod(open, 0o644)); err != nil { // whatever the umask
		t.Fatal(err)
	}
	for _, c := range []struct{ what, script, file, says string }{
		{"is there", `echo '{"ok":true}'`, "", ""},
		{"is not there", "", "", "make build makes bin/certd-dns"},
		{"misses its file", `echo '{"ok":true}'`, "/nonexistent/dns.env", "/nonexistent/dns.env: no such file"},
		{"has a file that others may read", `echo '{"ok":true}'`, open, "mode 0644; run: chmod 0640"},
		{"misses a variable", `echo '{"ok":false,"error":"exec: EXEC_PATH is missing","variable":"EXEC_PATH"}'`, "", "EXEC_PATH is missing; set request.challenge.dns-env-file"},
		{"knows no such provider", `echo '{"ok":false,"error":"there is no DNS provider \"exe\"","malformed":true}'`, "", `no DNS provider "exe"`},
		{"cannot reach its API", `echo '{"ok":false,"error":"exec: connection refused"}'`, "", ""},
		{"crashes", `kill -9 $$`, "", ""},
	} {
		d := &challenge.DNS{Checker: nobody(), Helper: &challenge.Helper{}}
		if c.script != "" {
			d.Helper.Path = helper(t, "#!/bin/sh\n"+c.script+"\n")
		}
		err := d.Ready(t.Context(), "exec", c.file)
		if (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("a certd-dns that %s: the reason not to use it is %v, want %q", c.what, err, c.says)
		}
	}
}
