package hooks

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestVet builds a small tree for each case: root/parent/dir/hook, and beside
// it root/elsewhere/hook for links to point to.
func TestVet(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		spoil   func(t *testing.T, root string)
		refused string // the path at fault under root; empty if none is
		reason  string
	}{
		{"nothing wrong", func(*testing.T, string) {}, "", ""},
		{"only the owner may do anything", func(t *testing.T, root string) {
			chmod(t, root+"/parent/dir", 0o700)
			chmod(t, root+"/parent/dir/hook", 0o700)
		}, "", ""},
		{"world-writable hook", func(t *testing.T, root string) { chmod(t, root+"/parent/dir/hook", 0o757) }, "parent/dir/hook", "by everyone"},
		{"group-writable hook", func(t *testing.T, root string) { chmod(t, root+"/parent/dir/hook", 0o775) }, "parent/dir/hook", "by its group"},
		{"world-writable directory", func(t *testing.T, root string) { chmod(t, root+"/parent/dir", 0o757) }, "parent/dir", "by everyone"},
		{"group-writable directory", func(t *testing.T, root string) { chmod(t, root+"/parent/dir", 0o775) }, "parent/dir", "by its group"},
		{"sticky does not save the directory itself", func(t *testing.T, root string) { chmod(t, root+"/parent/dir", 0o777|fs.ModeSticky) }, "parent/dir", "by everyone"},
		{"world-writable parent", func(t *testing.T, root string) { chmod(t, root+"/parent", 0o777) }, "parent", "by everyone"},
		{"group-writable parent", func(t *testing.T, root string) { chmod(t, root+"/parent", 0o775) }, "parent", "by its group"},
		{"sticky parent, as /tmp", func(t *testing.T, root string) { chmod(t, root+"/parent", 0o777|fs.ModeSticky) }, "", ""},
		{"link to a good hook", func(t *testing.T, root string) { relink(t, root, root+"/elsewhere/hook") }, "", ""},
		{"relative link to a good hook", func(t *testing.T, root string) { relink(t, root, "../../elsewhere/./hook") }, "", ""},
		{"link to a writable hook", func(t *testing.T, root string) {
			relink(t, root, root+"/elsewhere/hook")
			chmod(t, root+"/elsewhere/hook", 0o777)
		}, "elsewhere/hook", "by everyone"},
		{"link into a writable directory", func(t *testing.T, root string) {
			relink(t, root, "../../elsewhere/hook")
			chmod(t, root+"/elsewhere", 0o777)
		}, "elsewhere", "by everyone"},
		{"link by way of a writable directory", func(t *testing.T, root string) {
			mkdir(t, root+"/open", 0o700)
			symlink(t, "../elsewhere/hook", root+"/open/link")
			relink(t, root, root+"/open/link")
			chmod(t, root+"/open", 0o777)
		}, "open", "by everyone"},
		{"link to nothing", func(t *testing.T, root string) { relink(t, root, "nothing") }, "parent/dir/hook", "not there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := hookDir(t)
			mkdir(t, root+"/parent", 0o755)
			mkdir(t, root+"/elsewhere", 0o755)
			dir := mkdir(t, root+"/parent/dir", 0o755)
			script(t, dir+"/hook", "exit 0\n")
			script(t, root+"/elsewhere/hook", "exit 0\n")
			tt.spoil(t, root)
			checkRefusal(t, dir, root, tt.refused, tt.reason)
		})
	}
}

// checkRefusal runs the hooks of dir and compares what was refused.
func checkRefusal(t *testing.T, dir, root, refused, reason string) {
	t.Helper()
	results, err := (&Runner{Dirs: []string{dir}}).Run(t.Context(), Event{Name: "failed"}, nil)
	if len(results) == 1 && results[0].Outcome == Refused {
		err = results[0].Err
	}
	if refused == "" {
		if err != nil || len(results) != 1 || results[0].Outcome != OK {
			t.Errorf("got %+v, %v; want the hook run", results, err)
		}
		return
	}
	got, ok := errors.AsType[*RefusedError](err)
	if !ok || got.Path != filepath.Join(root, refused) || !strings.Contains(got.Reason, reason) {
		t.Errorf("got %v, want %s refused for being writable %s", err, refused, reason)
	}
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// relink makes the hook a link.
func relink(t *testing.T, root, target string) {
	t.Helper()
	if err := os.Remove(root + "/parent/dir/hook"); err != nil {
		t.Fatal(err)
	}
	symlink(t, target, root+"/parent/dir/hook")
}

func TestVetOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const third = 12345
	for _, path := range []string{"parent", "parent/dir", "parent/dir/hook", "parent/dir/link"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			root := hookDir(t)
			mkdir(t, root+"/parent", 0o755)
			dir := mkdir(t, root+"/parent/dir", 0o755)
			script(t, dir+"/hook", "exit 0\n")
			if path == "parent/dir/link" {
				script(t, root+"/parent/real", "exit 0\n")
				if err := os.Remove(dir + "/hook"); err != nil {
					t.Fatal(err)
				}
				symlink(t, "../real", dir+"/link")
			}
			if err := os.Lchown(filepath.Join(root, path), third, -1); err != nil {
				t.Fatal(err)
			}
			checkRefusal(t, dir, root, path, "belongs to neither root")
		})
	}
}

func TestLinkLoop(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	symlink(t, "b", dir+"/a")
	symlink(t, "a", dir+"/b")
	if _, err := vetFile(dir + "/a"); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a loop of links: got %v, want ELOOP", err)
	}
	if _, err := vetDir(script(t, dir+"/file", "") + "/x"); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a file in place of a directory: got %v, want ENOTDIR", err)
	}
}

func TestRefusalQuotesStrangePaths(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	hook(t, dir+"/two\nlines \x1b[31m", "#!/bin/sh\n", 0o777)
	res := one(t, &Runner{Dirs: []string{dir}}, Event{Name: "failed"})
	if msg := res.Err.Error(); strings.ContainsAny(msg, "\n\x1b") {
		t.Errorf("the error carries control characters of a file name: %q", msg)
	}
}

// TestLeavesNonHooksAlone: what is no regular executable file is no hook, and
// nothing is said about it, writable or not.
func TestLeavesNonHooksAlone(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	hook(t, dir+"/notes", "text\n", 0o666)
	if err := syscall.Mkfifo(dir+"/fifo", 0o755); err != nil {
		t.Fatal(err)
	}
	symlink(t, "/dev/null", dir+"/null")
	if got := paths(t, dir); len(got) != 0 {
		t.Errorf("got %q, want no hooks", got)
	}
}
