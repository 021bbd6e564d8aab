package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"certd/acme/acmetest"
)

// TestProgressOnATerminal: a person sees how many of how many, which name and
// which step, in one line that is gone at the end.
func TestProgressOnATerminal(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	s := pebbleSite(t, ca)
	for i := range 3 {
		s.write(fmt.Sprintf("acme/desired/host%d.example.test", i), "")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, certdPath, "--state", s.state, "--hooks", s.hooks, "reconcile")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var screen bytes.Buffer
	_, _ = io.Copy(&screen, terminal) // ends with EIO when the program has ended
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, screen.String())
	}
	text := screen.String()
	for _, want := range []string{"of 3] host", ": order", ": finalize", "3 issued"} {
		if !strings.Contains(text, want) {
			t.Errorf("the terminal never showed %q: %q", want, text)
		}
	}
	if strings.Contains(text, "msg=progress") {
		t.Errorf("progress came as log lines on a terminal: %q", text)
	}
	for _, line := range strings.Split(text, "\r") {
		if shown := strings.TrimPrefix(line, "\x1b[K"); strings.HasPrefix(shown, "[") && len(shown) > 80 {
			t.Errorf("progress line wider than the terminal: %q", shown)
		}
	}
}

// TestSIGTERMLeavesTheOrderResumable: an interrupted run ends by itself, leaves
// no challenge file, and the next one finishes the same order.
func TestSIGTERMLeavesTheOrderResumable(t *testing.T) {
	t.Parallel()
	const name = "www.example.test"
	orders := &orderCounter{byName: make(map[string]int)}
	ca := acmetest.StartT(t, acmetest.Options{Wrap: orders.wrap})
	webroot := t.TempDir() // nobody serves it, so the self-test waits
	s := webrootSite(t, ca, webroot)
	s.write("acme/desired/"+name, "")
	cmd := s.command(t.Context(), "reconcile")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the challenge file is there", func() bool {
		files, err := filepath.Glob(filepath.Join(webroot, "*"))
		return err == nil && len(files) > 0
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("an interrupted reconcile exits with 0, want a failure")
	}
	if left, err := filepath.Glob(filepath.Join(webroot, "*")); err != nil || len(left) != 0 {
		t.Errorf("challenge files left after SIGTERM: %v, %v", left, err)
	}
	served := serveWebroot(t, ca.HTTPPort())
	s.write("acme/conf/target", fmt.Sprintf("request: {challenge: {method: webroot, webroot-paths: [%q]}}\n", served))
	if plan := s.rows(0, "plan")[0]; plan["action"] != "resume" {
		t.Errorf("plan after SIGTERM: %v (stderr of the run: %s), want resume", plan, errs.String())
	}
	s.must(0, "reconcile")
	s.leaf(name)
	if n := orders.count(name); n != 1 {
		t.Errorf("the CA accepted %d orders, want the one that was resumed", n)
	}
}

// TestExitCodes checks the codes that scripts depend on, with the real binary.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	s := pebbleSite(t, ca)
	s.must(0, "want", "www.example.test")
	s.must(0, "reconcile", "--detailed-exit-code")
	s.must(2, "reconcile", "--detailed-exit-code", "--force")
	s.must(64, "reconcile", "nobody.example.test")
	s.must(64, "want", "-x")

	holder := exec.Command("flock", filepath.Join(s.state, "lock"), "sh", "-c", "echo held; exec sleep 600")
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	holder.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("held\n"))); err != nil {
		t.Fatal(err)
	}
	busy := s.must(75, "reconcile")
	if !strings.Contains(busy.err, "process") {
		t.Errorf("a held lock does not say for whom one waits: %s", busy.err)
	}
	s.must(75, "want", "other.example.test")
	s.must(0, "plan")
	s.must(0, "status")
	_ = syscall.Kill(-holder.Process.Pid, syscall.SIGKILL)
	_ = holder.Wait()
	s.must(0, "reconcile")

	s.write("acme/conf/certd.yaml", "shedule: never\n")
	s.must(78, "reconcile")
	s.must(78, "plan")
}
