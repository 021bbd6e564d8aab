package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"certd/acme/acmetest"
	"certd/test/ports"
)

// TestRunAsOrdinaryUser: the daemon and the commands beside it do everything as a
// user without any right who owns the state directory, on ports above 1024.
func TestRunAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user; without root all the other tests show the same")
	}
	ca := acmetest.StartT(t, acmetest.Options{})
	s, port := daemonSite(t, ca)
	proxy := ports.Free(t)
	s.settings(ca, fmt.Sprintf("listen: 127.0.0.1:%d\nresponder: 127.0.0.1:%d\n", port, proxy))
	told := filepath.Join(s.dir, "acme", "told")
	s.write("hooks/tell", "#!/bin/sh\n[ \"$1\" = live-updated ] || exit 42\n{ id -u; cat; } >>"+told+"\n")
	openTo(t, certdPath, s.dir, s.hooks, s.state)
	if err := os.Chmod(filepath.Join(s.hooks, "tell"), 0o755); err != nil {
		t.Fatal(err)
	}
	give(t, s.state, nobody)
	asNobody := func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	r := s.daemon(asNobody)
	r.healthy(port, "0 certificates")
	for _, c := range []struct{ args, says string }{
		{"want www.example.test", ""},
		{"status", "www.example.test  ready"},
		{"check", "CERTD OK: 1 name"},
		{"plan", "keep"},
		{"hooks list", "tell"},
		{"metrics", `certd_targets{state="ready"} 1`},
		{"unwant www.example.test", "is gone"},
	} {
		if c.args == "status" {
			waitFor(t, "the certificate", s.isLive("www.example.test"))
		}
		cmd := s.command(t.Context(), strings.Fields(c.args)...)
		asNobody(cmd)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil || !strings.Contains(out.String(), c.says) {
			t.Errorf("certd %s: %v, it said %q and %q, want %q", c.args, err, out.String(), errs.String(), c.says)
		}
	}
	if status, _, err := get(proxy, "/.well-known/acme-challenge/none", ""); err != nil || status != http.StatusNotFound {
		t.Errorf("the responder answers %d, %v; want 404", status, err)
	}
	waitFor(t, "the hook", func() bool { return s.peek("acme/told") == fmt.Sprintf("%d\nwww.example.test\n", nobody) })
	r.terminate()
}
