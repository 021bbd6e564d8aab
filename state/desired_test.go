package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

func TestAddDesired(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	for _, want := range []string{"www.example.com", "www.example.com-2", "www.example.com-3"} {
		file, err := s.AddDesired("www.example.com", []byte(want))
		if err != nil || file != want {
			t.Errorf("the target is in %q (%v), want %q", file, err, want)
		}
		if data, err := os.ReadFile(s.Path("desired", file)); err != nil || string(data) != want {
			t.Errorf("%s holds %q (%v)", file, data, err)
		}
	}
	for _, name := range []string{"", "../x", ".x", strings.Repeat("a", 256)} {
		if _, err := s.AddDesired(name, nil); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("target %q: %v, want fs.ErrInvalid", name, err)
		}
	}
}

// TestAddDesiredNeverReplaces: what appears in desired/ at the last moment, by a
// program that knows no lock, is left alone.
func TestAddDesiredNeverReplaces(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	s.step = func(op, path string) error {
		if op == "link" && strings.HasSuffix(path, "/www.example.com") {
			return os.WriteFile(s.Path("desired", "www.example.com"), []byte("by hand"), 0o600)
		}
		return nil
	}
	if file, err := s.AddDesired("www.example.com", []byte("new")); err != nil || file != "www.example.com-2" {
		t.Errorf("the target is in %q (%v), want www.example.com-2", file, err)
	}
	for name, want := range map[string]string{"www.example.com": "by hand", "www.example.com-2": "new"} {
		if data, err := os.ReadFile(s.Path("desired", name)); err != nil || string(data) != want {
			t.Errorf("%s holds %q (%v), want %q", name, data, err, want)
		}
	}
	if n := len(image(t, s.Path("desired"), false)); n != 3 {
		t.Errorf("%d files are in desired/, want 2", n-1)
	}
}

func TestEditDesired(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	file := s.Path("desired", "a")
	if err := os.WriteFile(file, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	to := func(text string) func([]byte) ([]byte, error) {
		return func([]byte) ([]byte, error) { return []byte(text), nil }
	}
	if err := s.EditDesired("a", to("2")); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "2" {
		t.Errorf("the file holds %q (%v), want 2", data, err)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("a file closed by its owner was opened: %v (%v)", fi, err)
	}
	before := image(t, s.Dir(), true)
	wantError(t, "an edit that fails", s.EditDesired("a", func([]byte) ([]byte, error) { return nil, errors.New("no") }), "edit target a: no")
	if err := s.EditDesired("a", to("2")); err != nil {
		t.Error(err)
	}
	sameImage(t, "an edit that fails, and one that changes nothing", before, image(t, s.Dir(), true))
	symlink(t, "a", s.Path("desired", "link"))
	wantError(t, "a link", s.EditDesired("link", to("x")), "link, not a file")
	if err := s.EditDesired("none", to("x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v, want fs.ErrNotExist", err)
	}
	if err := s.EditDesired("a", func([]byte) ([]byte, error) { return nil, nil }); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file that was to go: %v", err)
	}
}

// TestEditDesiredBesideAnEditor: a change by somebody without the lock is edited,
// too, and never overwritten.
func TestEditDesiredBesideAnEditor(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	file := s.Path("desired", "a")
	for _, c := range []struct {
		changes int
		remove  bool
		want    string
	}{{0, false, "0+"}, {2, false, "2+"}, {3, false, "3"}, {0, true, ""}, {2, true, ""}, {3, true, "3"}} {
		changes := 0
		write := func() error { return os.WriteFile(file, []byte(fmt.Sprint(changes)), 0o644) }
		if err := write(); err != nil {
			t.Fatal(err)
		}
		err := s.EditDesired("a", func(old []byte) ([]byte, error) {
			if changes < c.changes {
				changes++
				if err := write(); err != nil {
					return nil, err
				}
			}
			if c.remove {
				return nil, nil
			}
			return append(old, '+'), nil
		})
		if failed := c.changes == editTries; (err != nil) != failed {
			t.Errorf("%+v: %v", c, err)
		}
		if data, err := os.ReadFile(file); string(data) != c.want || err != nil && c.want != "" {
			t.Errorf("%+v: the file holds %q (%v)", c, data, err)
		}
	}
	if n := len(image(t, s.Path("desired"), false)); n > 2 {
		t.Errorf("%d files are left in desired/", n-1)
	}
}

// TestLockEdit: edits need no lock of a pass, exclude each other, and make the
// layout where there is none.
func TestLockEdit(t *testing.T) {
	t.Parallel()
	open := func(dir string) *Store {
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := open(filepath.Join(t.TempDir(), "acme"))
	if _, err := first.AddDesired("x", nil); !errors.Is(err, ErrNotLocked) {
		t.Errorf("add without a lock: %v, want ErrNotLocked", err)
	}
	edit, err := first.LockEdit(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	pass, err := open(first.Dir()).Lock(t.Context(), 0)
	if err != nil {
		t.Fatalf("the lock of a pass beside an edit: %v", err)
	}
	defer pass.Unlock()
	_, err = open(first.Dir()).LockEdit(t.Context(), 2*lockPoll)
	if locked, ok := errors.AsType[*LockedError](err); !ok || locked.PID != os.Getpid() || locked.Path != first.Path(editLock) {
		t.Errorf("a second edit: %v, want a LockedError of this process", err)
	}
	if err := first.SaveAttempt(Attempt{Target: "x"}); !errors.Is(err, ErrNotLocked) {
		t.Errorf("another write under the lock for edits: %v, want ErrNotLocked", err)
	}
	if err := os.WriteFile(first.Path("desired", hiddenPrefix+"left"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := edit.Unlock(); err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for range 20 { // each a process of its own, as far as flock goes
		g.Go(func() error {
			s := open(first.Dir())
			edit, err := s.LockEdit(t.Context(), childTimeout)
			if err != nil {
				return err
			}
			_, err = s.AddDesired("www.example.com", []byte("x"))
			return errors.Join(err, edit.Unlock())
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if n := len(image(t, first.Path("desired"), false)); n != 21 {
		t.Errorf("%d files are in desired/ after 20 edits, want 20 and nothing else", n-1)
	}
	if fi, err := os.Stat(first.Path(editLock)); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the lock for edits: %v (%v), want mode 0600", fi, err)
	}
}

func TestDaemonIsKnown(t *testing.T) {
	t.Parallel()
	s, err := Open(filepath.Join(t.TempDir(), "acme"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if pid, ok := s.Daemon(); ok {
			t.Errorf("process %d is taken for a daemon", pid)
		}
		l, err := s.LockDaemon(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if pid, ok := s.Daemon(); !ok || pid != os.Getpid() {
				t.Errorf("the daemon is %d (%v), want %d", pid, ok, os.Getpid())
			}
		}
		if _, err := s.LockDaemon(t.Context()); !errors.Is(err, ErrLocked) {
			t.Errorf("a second daemon: %v, want ErrLocked", err)
		}
		if err := l.Unlock(); err != nil {
			t.Fatal(err)
		}
	}
	if pid, ok := s.Daemon(); ok {
		t.Errorf("process %d is still taken for a daemon", pid)
	}
}
