package hooks

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// install puts the bundled hooks into dir, as the daemon does with a durable writer.
func install(t *testing.T, dir string) map[string]string {
	t.Helper()
	done, err := Install(dir, writeFile)
	if err != nil {
		t.Fatal(err)
	}
	actions := make(map[string]string)
	for _, d := range done {
		actions[filepath.Base(d.Path)] = d.Action
	}
	return actions
}

func writeFile(path string, data []byte, perm fs.FileMode) error {
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return errors.Join(os.Chmod(path+".new", perm), os.Rename(path+".new", path))
}

func TestBundledScripts(t *testing.T) {
	t.Parallel()
	list := Bundled()
	if len(list) != 2 || list[0].Name != "haproxy" || list[1].Name != "reload" {
		t.Fatalf("got %d scripts, want haproxy before reload", len(list))
	}
	for _, s := range list {
		if !bytes.HasPrefix(s.Data, []byte("#!/bin/sh\n")) || !hasMarker(s.Data) {
			t.Errorf("%s: no sh script with the marker", s.Name)
		}
		if bytes.Contains(s.Data, []byte("eval ")) {
			t.Errorf("%s uses eval", s.Name)
		}
		if lines := bytes.Count(s.Data, []byte("\n")); lines > 400 {
			t.Errorf("%s has %d lines", s.Name, lines)
		}
	}
}

func TestShellcheck(t *testing.T) {
	t.Parallel()
	shellcheck := need(t, "shellcheck")
	if out, err := exec.CommandContext(t.Context(), shellcheck, "--shell=sh", "scripts/haproxy", "scripts/reload").CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestInstall(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(hookDir(t), "acme", "hooks")
	want := func(when, name, action string, actions map[string]string) {
		t.Helper()
		if actions[name] != action {
			t.Errorf("%s: %s is %q, want %q", when, name, actions[name], action)
		}
	}
	actions := install(t, dir)
	want("first", "haproxy", Written, actions)
	want("first", "reload", Written, actions)
	info, err := os.Stat(filepath.Join(dir, "reload"))
	if err != nil || info.Mode() != 0o755 {
		t.Fatalf("reload is %v, %v; want mode 0755", info.Mode(), err)
	}
	want("again", "reload", Unchanged, install(t, dir))

	reload := filepath.Join(dir, "reload")
	hook(t, reload, "#!/bin/sh\n##!acmetool-managed!##\nservice nginx reload\n", 0o775|fs.ModeSetuid)
	want("acmetool's", "reload", Updated, install(t, dir))
	if info, err = os.Stat(reload); err != nil || info.Mode() != 0o755|fs.ModeSetuid {
		t.Errorf("after the update the mode is %v, want the setuid bit kept and no group write", info.Mode())
	}
	own := "#!/bin/sh\nexit 0\n"
	hook(t, reload, own, 0o755)
	want("own", "reload", Kept, install(t, dir))
	hook(t, reload, "", 0o755)
	want("emptied", "reload", Disabled, install(t, dir))
	hook(t, reload, "#!/bin/sh\n"+marker+"\n", 0o644)
	want("not executable", "reload", Disabled, install(t, dir))
	if err := os.Remove(reload); err != nil {
		t.Fatal(err)
	}
	target := hook(t, filepath.Join(hookDir(t), "own"), own+marker, 0o755)
	symlink(t, target, reload)
	want("link", "reload", Kept, install(t, dir))
	if read(t, target) != own+marker {
		t.Error("the target of a link was overwritten")
	}
	if names := paths(t, dir); strings.Join(names, " ") != "haproxy reload" {
		t.Errorf("installed hooks are listed as %q", names)
	}
}

func TestInstallErrors(t *testing.T) {
	t.Parallel()
	open := hookDir(t)
	chmod(t, open, 0o777)
	if _, err := Install(open, writeFile); err == nil || exists(open+"/reload") {
		t.Errorf("a world-writable directory: got %v, want it refused and nothing written", err)
	}
	file := hook(t, filepath.Join(hookDir(t), "file"), "x", 0o644)
	if _, err := Install(file, writeFile); err == nil || !strings.Contains(err.Error(), "is no directory") {
		t.Errorf("a file: got %v, want an error", err)
	}
	full := errors.New("no space left on device")
	done, err := Install(hookDir(t), func(path string, _ []byte, _ fs.FileMode) error {
		if filepath.Base(path) == "haproxy" {
			return full
		}
		return nil
	})
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "haproxy") || len(done) != 1 {
		t.Errorf("got %v, %v; want the failure of one and the other installed", done, err)
	}
}

// TestBundledIgnoreOtherEvents: a hook that answers 0 to what it does not know
// makes the caller believe that a DNS record is in place.
func TestBundledIgnoreOtherEvents(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	install(t, dir)
	for _, event := range []string{"challenge-http-start", "challenge-http-stop", "challenge-dns-start", "challenge-dns-stop",
		"failed", "expiring", "paused", "account-created", "something-new"} {
		results, err := (&Runner{Dirs: []string{dir}}).Run(t.Context(), Event{Name: event, Args: []string{"example.com", "t", "x"}}, nil)
		if err != nil || len(results) != 2 {
			t.Fatalf("%s: %v, %v", event, results, err)
		}
		for _, res := range results {
			if res.Outcome != Skipped || res.Output != "" {
				t.Errorf("%s of %s: got %s %q, want it skipped without a word", res.Hook, event, res.Outcome, res.Output)
			}
		}
	}
}
