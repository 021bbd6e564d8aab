package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"certd/acme/acmetest"
)

// TestRunStopsHooks: SIGTERM while a hook takes its time ends the daemon in time,
// whatever the hook does about it; its process group is gone, and the event waits
// for the next run, which delivers it.
func TestRunStopsHooks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, script string }{
		{"one that sleeps", "sleep 300"},
		{"one that is replaced by what sleeps", "exec sleep 300"},
		{"one that ignores SIGTERM, as its children do", "trap '' TERM\nsleep 300; sleep 300"},
		{"one that goes on after SIGTERM", "trap : TERM\nwhile :; do sleep 1; done"},
		{"one whose child holds the pipes", "trap 'exit 0' TERM\n(trap '' TERM; exec sleep 300) &\nwait"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ca := acmetest.StartT(t, acmetest.Options{})
			s, _ := daemonSite(t, ca)
			pid, told := filepath.Join(s.dir, "pid"), filepath.Join(s.dir, "told")
			hook := func(script string) {
				s.write("new-hook", "#!/bin/sh\n[ \"$1\" = live-updated ] || exit 42\n"+script+"\n")
				new := filepath.Join(s.dir, "new-hook")
				if err := errors.Join(os.Chmod(new, 0o755), os.Rename(new, filepath.Join(s.hooks, "long"))); err != nil {
					t.Fatal(err)
				}
			}
			hook("echo $$ >" + pid + ".new; mv " + pid + ".new " + pid + "\n" + c.script)
			s.write("acme/desired/www.example.test", "")
			r := s.daemon(nil)
			waitFor(t, "the hook runs", func() bool { _, err := os.Stat(pid); return err == nil })
			r.terminate()
			group, err := strconv.Atoi(strings.TrimSpace(s.read("pid")))
			if err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the end of the hook's process group", func() bool { return errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) })
			if strings.Contains(r.log.String(), "cut off") {
				t.Error("the pass did not come to an end by itself")
			}
			if events := s.pending(); !strings.Contains(events, `"live-updated"`) {
				t.Fatalf("pending/ after SIGTERM: %q; want the event in it", events)
			}

			hook("cat >" + told)
			r = s.daemon(nil)
			waitFor(t, "the event is delivered by the next run", func() bool { return s.pending() == "" })
			if names := s.read("told"); names != "www.example.test\n" {
				t.Errorf("the hook was told of %q", names)
			}
			r.terminate()
		})
	}
}

// pending is what pending/ holds, all files one after the other.
func (s *site) pending() string {
	s.t.Helper()
	dir := filepath.Join(s.state, "pending")
	events, err := os.ReadDir(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	text := ""
	for _, e := range events {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil && !errors.Is(err, os.ErrNotExist) { // delivered just now
			s.t.Fatal(err)
		}
		text += string(data)
	}
	return text
}
