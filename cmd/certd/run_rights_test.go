package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A user who may not write to the state directory gets no daemon that fails at
// every pass, but is told so at once.
func TestRunAsAUserWhoMayNotWrite(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := newRedirectorSite(t)
	s.write(0o644, "conf/certd.yaml", "listen: \"\"\n")
	s.write(0o644, "lock", "") // root was here before
	program, err := exec.LookPath("certd")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	s.write(0o755, "../web/certd", string(data)) // where that user gets to
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.web, "certd"), "--state", s.state, "run")
	cmd.Env = append(os.Environ(), "HOME=/nonexistent")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != exitPermission || !strings.Contains(string(out), "permission denied; it belongs to root") {
		t.Errorf("exit %d (%v), want %d; it said %q", code, err, exitPermission, out)
	}
}
