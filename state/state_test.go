package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Open(file)
	wantError(t, "a file for a directory", err, file, "not a directory")
	tree := filepath.Join(dir, "acme")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "certs"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Open(tree)
	wantError(t, "a file for certs/", err, filepath.Join(tree, "certs"), "move it away")
}

func TestPaths(t *testing.T) {
	t.Parallel()
	s, err := Open(filepath.Join(t.TempDir(), "x", "..", "acme"))
	if err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(s.Dir()) || strings.Contains(s.Dir(), "..") {
		t.Errorf("the directory is %q, want an absolute clean path", s.Dir())
	}
	if got := s.Path("conf", "target"); got != s.Dir()+"/conf/target" {
		t.Errorf("path of conf/target is %q", got)
	}
}

// TestUnsafe: a state directory that others may write to is refused, by readers
// and by writers, with the remedy.
func TestUnsafe(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		dir  string
		mode fs.FileMode
		perm string // of conf/perm
		safe bool
	}{
		{".", 0o775, "", false},
		{".", 0o757, "", false},
		{".", 0o777 | fs.ModeSticky, "", false},
		{".", 0o775, ". 0664 0775\n", false},
		{".", 0o700, "", true},
		{"keys", 0o770, "", false},
		{"keys", 0o770, "keys 0660 0770\n", true},
		{"keys", 0o777, "keys 0660 0770\n", false},
		{"live", 0o775, "", false},
		{"desired", 0o757, "", false},
		{"keys", 0o755, "", true},
	} {
		s := lockedStore(t)
		if err := s.WriteConf("perm", []byte(tt.perm)); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(s.Path(tt.dir), tt.mode); err != nil {
			t.Fatal(err)
		}
		_, err := Open(s.Dir())
		unsafe, ok := errors.AsType[*UnsafeError](err)
		switch {
		case tt.safe && err != nil:
			t.Errorf("%s with mode %v and conf/perm %q: %v", tt.dir, tt.mode, tt.perm, err)
		case !tt.safe && (!ok || unsafe.Path != s.Path(tt.dir)):
			t.Errorf("%s with mode %v and conf/perm %q: %v, want an UnsafeError with its path", tt.dir, tt.mode, tt.perm, err)
		case !tt.safe:
			wantError(t, "unsafe directory", err, "chmod go-w "+s.Path(tt.dir))
		}
	}
}

// TestUnsafeAppearsLater: what became unsafe after Open is refused by Lock.
func TestUnsafeAppearsLater(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "acme")
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lock(t.Context(), 0); err == nil {
		t.Error("a directory that everybody may write to is locked and filled")
	}
	if n := len(image(t, dir, false)); n != 1 {
		t.Errorf("%d entries were made in it", n-1)
	}
}

// TestLinkedDirectories: neither links inside the state directory nor one in place
// of a part of it lead a write out of it.
func TestLinkedDirectories(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	outside := t.TempDir()
	key := newKey(t)
	id, _, err := encodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	symlink(t, outside, s.Path("keys", id))
	if _, err := s.SaveKey(key); err == nil {
		t.Error("a key is written through a link that leaves the state directory")
	}
	if err := os.Remove(s.Path("desired")); err != nil {
		t.Fatal(err)
	}
	symlink(t, outside, s.Path("desired"))
	if _, err := s.AddDesired("www.example.com", []byte("x")); err == nil {
		t.Error("a target is written through a link that leaves the state directory")
	}
	if n := len(image(t, outside, false)); n != 1 {
		t.Errorf("%d files were written outside", n-1)
	}
	_, err = Open(s.Dir())
	wantError(t, "desired/ as a link", err, s.Path("desired"), "not a directory")
}

// TestChildRead is no test of its own: TestUnreadable runs it as nobody.
func TestChildRead(t *testing.T) {
	dir := os.Getenv("CERTD_CHILD_READ")
	if dir == "" {
		t.Skip("a helper of TestUnreadable")
	}
	if os.Getuid() == 0 {
		if err := syscall.Setuid(65534); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	snap := snapshot(t, s)
	noBroken(t, snap)
	if len(snap.Certificates) != 1 || len(snap.Live) != 1 {
		t.Errorf("certificates %v, live %v; want one each", snap.Certificates, snap.Live)
	}
	for _, c := range snap.Certificates {
		if !c.Usable() {
			t.Errorf("the certificate reads as damage %q, key %v", c.Damage, c.HasKey)
		}
	}
	if _, _, err := s.Accounts(); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("accounts: %v, want fs.ErrPermission", err)
	}
	if _, err := s.Lock(t.Context(), 0); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("lock: %v, want fs.ErrPermission", err)
	} else {
		wantError(t, "lock", err, "lock "+s.Path("lock")+": permission denied; it belongs to ")
	}
}

// TestUnreadable: a user who may not look into keys/ and accounts/ still sees the
// certificates, and that their keys are there.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	id := published(t, s, newTestCA(t), "https://ca.example/order/1", day(80), "www.example.com")
	if err := s.Link("www.example.com", id); err != nil {
		t.Fatal(err)
	}
	for _, above := range []string{filepath.Dir(s.Dir()), filepath.Dir(filepath.Dir(s.Dir()))} {
		if err := os.Chmod(above, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"keys", "accounts", "lock"} {
		if err := os.Chmod(s.Path(name), 0); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(s.Path(name), 0o700)
	}
	if out, err := child(t, "TestChildRead", "CERTD_CHILD_READ="+s.Dir()); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}
