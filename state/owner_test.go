package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// foreign is a group that we may give files to and that is not our own where
// there is one, and a user likewise.
func foreign() (owner, group string) {
	if os.Getuid() == 0 {
		return "65534", "65533"
	}
	return strconv.Itoa(os.Getuid()), strconv.Itoa(os.Getgid())
}

// access is "uid:gid mode" of a file.
func access(t testing.TB, s *Store, name string) string {
	t.Helper()
	fi, err := os.Lstat(s.Path(name))
	if err != nil {
		t.Fatal(err)
	}
	st := fi.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d %04o", st.Uid, st.Gid, fi.Mode().Perm())
}

func TestFilesOfTheKey(t *testing.T) {
	t.Parallel()
	owner, group := foreign()
	self := fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid())
	ours := strconv.Itoa(os.Getuid())
	tests := []struct {
		name           string
		files          Files
		conf           string
		key, dir, keys string
	}{
		{"nothing asked for", Files{}, "", self + " 0600", self + " 0700", "0700"},
		{"a group", Files{Group: group}, "", ours + ":" + group + " 0640", ours + ":" + group + " 0750", "0711"},
		{"a group that may not read", Files{Group: group, Mode: "0600"}, "", ours + ":" + group + " 0600", ours + ":" + group + " 0750", "0711"},
		{"owner and group", Files{Owner: owner, Group: group, Mode: "440"}, "", owner + ":" + group + " 0440", ours + ":" + group + " 0750", "0711"},
		{"a mode alone", Files{Mode: "0640"}, "", self + " 0640", self + " 0700", "0700"},
		{"ourselves", Files{Owner: "$r"}, "", self + " 0600", self + " 0700", "0700"},
		{"conf/perm has keys", Files{Group: group}, "keys 0400 0710\n", ours + ":" + group + " 0440", ours + ":" + group + " 0750", "0710"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "acme")
			if tt.conf != "" {
				plant(t, &Store{dir: dir}, "conf/perm", tt.conf)
			}
			s := lockStore(t, dir)
			key := newKey(t)
			if _, err := s.SaveKey(key); err != nil {
				t.Fatal(err)
			}
			n := newTestCA(t).issue(t, key, "https://ca.example/order/1", day(80), "www.example.com")
			n.Files = tt.files
			id, err := s.Publish(n)
			if err != nil {
				t.Fatal(err)
			}
			place := "keys/" + n.KeyID
			if got := access(t, s, place+"/privkey"); got != tt.key {
				t.Errorf("the key has %s, want %s", got, tt.key)
			}
			if got := access(t, s, place); got != tt.dir {
				t.Errorf("its directory has %s, want %s", got, tt.dir)
			}
			if got := access(t, s, "keys"); got != self+" "+tt.keys {
				t.Errorf("keys/ has %s, want %s %s", got, self, tt.keys)
			}
			if got := access(t, s, "certs/"+id+"/fullchain"); got != self+" 0644" {
				t.Errorf("fullchain has %s, want %s 0644", got, self)
			}
			before := image(t, dir, true)
			if _, err := s.Publish(n); err != nil {
				t.Errorf("again: %v", err)
			}
			sameImage(t, "again", before, image(t, dir, true))
		})
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		files Files
		want  string
	}{
		{Files{Mode: "0644"}, "would open the private key to everybody"},
		{Files{Mode: "0601"}, "would open the private key to everybody"},
		{Files{Mode: "0750"}, "not to be executed"},
		{Files{Mode: "rw"}, "octal"},
		{Files{Mode: "99999"}, "octal"},
		{Files{Owner: "nobody-of-this-name"}, "files.owner"},
		{Files{Group: "nogroup-of-this-name"}, "files.group"},
	} {
		wantError(t, fmt.Sprintf("%+v", tt.files), tt.files.Check(), tt.want)
	}
	if err := (Files{Owner: "$r", Group: "-", Mode: "0660"}).Check(); err != nil {
		t.Errorf("sound files: %v", err)
	}
	s := lockedStore(t)
	key := newKey(t)
	if _, err := s.SaveKey(key); err != nil {
		t.Fatal(err)
	}
	before := image(t, s.Dir(), true)
	n := newTestCA(t).issue(t, key, "https://ca.example/order/1", day(80), "www.example.com")
	n.Files.Mode = "0604"
	_, err := s.Publish(n)
	wantError(t, "publish with a mode for everybody", err, "files.mode")
	sameImage(t, "what was refused", before, image(t, s.Dir(), true))
}

// On the way to another owner and mode a file is never open to whom neither the
// old nor the new state opens it.
func TestConformNeverOpensMore(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	s := lockedStore(t)
	plant(t, s, "desired/x", "x")
	for _, tt := range []struct{ old, mode fs.FileMode }{{0o644, 0o640}, {0o600, 0o660}, {0o660, 0o640}, {0o640, 0o640}} {
		if err := errors.Join(os.Chown(s.Path("desired/x"), 0, 0), os.Chmod(s.Path("desired/x"), tt.old)); err != nil {
			t.Fatal(err)
		}
		w, err := s.writer()
		if err != nil {
			t.Fatal(err)
		}
		w.step = func(op, path string) error {
			fi, err := os.Stat(s.Path(path))
			if foreign := fi.Sys().(*syscall.Stat_t).Gid != 0; err != nil || foreign && fi.Mode()&^tt.mode != 0 || fi.Mode()&^(tt.old|tt.mode) != 0 {
				t.Errorf("%v to %v: before %s the file has %v (%v)", tt.old, tt.mode, op, fi.Mode(), err)
			}
			return nil
		}
		if err := w.conform("desired/x", rule{uid: -1, gid: 65533}, tt.mode, true); err != nil {
			t.Fatal(err)
		}
		if got, want := access(t, s, "desired/x"), fmt.Sprintf("0:65533 %04o", tt.mode); got != want {
			t.Errorf("%v to %v: it has %s, want %s", tt.old, tt.mode, got, want)
		}
	}
}

// A line of conf/perm that was added later holds for the directories that are
// there; what it does not mention stays as somebody set it.
func TestLockConformsTheLayout(t *testing.T) {
	t.Parallel()
	s, unlock := briefly(t, filepath.Join(t.TempDir(), "acme"))
	published(t, s, newTestCA(t), "https://ca.example/order/1", day(80), "www.example.com")
	unlock()
	_, group := foreign()
	conf := fmt.Sprintf("keys 0640 0750 - %s\n. 0640 0751\naccounts inherit\n", group)
	plant(t, s, "conf/perm", conf)
	before := image(t, s.Dir(), false)
	for name, mode := range map[string]fs.FileMode{"live": 0o711, "keys": 0o700} {
		if err := os.Chmod(s.Path(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	again, unlock := briefly(t, s.Dir())
	for name, want := range map[string]string{".": "0751", "keys": "0750", "accounts": "0751", "orders": "0751", "live": "0711", "certs": "0755", "tmp": "0700"} {
		if got := access(t, again, name); !strings.HasSuffix(got, " "+want) {
			t.Errorf("%s has %s, want mode %s", name, got, want)
		}
	}
	if got := access(t, again, "keys"); !strings.Contains(got, ":"+group+" ") {
		t.Errorf("keys/ has %s, want group %s", got, group)
	}
	for path, was := range before {
		now, err := os.Lstat(s.Path(path))
		if err == nil && now.Mode().IsRegular() && !strings.HasPrefix(was, now.Mode().String()) {
			t.Errorf("the file %s has %v, had %s", path, now.Mode(), was)
		}
	}
	unlock()
	still := image(t, s.Dir(), true)
	third, err := Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	third.step = func(op, path string) error { return fmt.Errorf("%s %s is not needed", op, path) }
	l, err := third.Lock(t.Context(), 0)
	if err != nil {
		t.Fatalf("lock what is right: %v", err)
	}
	sameImage(t, "locking what is right", still, image(t, s.Dir(), true))
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
}

// briefly opens and locks dir until unlock is called.
func briefly(t testing.TB, dir string) (s *Store, unlock func()) {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return s, func() {
		t.Helper()
		if err := l.Unlock(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTooWideKeysAreFoundAndNarrowed(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	id := published(t, s, newTestCA(t), "https://ca.example/order/1", day(80), "www.example.com")
	keyID := snapshot(t, s).Certificates[id].KeyID
	a := &Account{Directory: testDirectory, Key: newKey(t), URL: "https://ca.example/acct/1"}
	if err := s.SaveAccount(a); err != nil {
		t.Fatal(err)
	}
	want := []string{"accounts/" + a.ID + "/privkey", "keys/" + keyID + "/privkey"}
	if snap := snapshot(t, s); len(snap.TooWide) != 0 {
		t.Errorf("too wide: %v, want none", snap.TooWide)
	}
	for i, mode := range []fs.FileMode{0o604, 0o646} {
		if err := os.Chmod(s.Path(want[i]), mode); err != nil {
			t.Fatal(err)
		}
	}
	snap := snapshot(t, s)
	if !slices.Equal(snap.TooWide, want) {
		t.Fatalf("too wide: %v, want %v", snap.TooWide, want)
	}
	if err := s.Narrow(snap.TooWide); err != nil {
		t.Fatal(err)
	}
	for i, mode := range []string{"0600", "0640"} {
		if got := access(t, s, want[i]); !strings.HasSuffix(got, " "+mode) {
			t.Errorf("%s has %s, want mode %s", want[i], got, mode)
		}
	}
	if snap := snapshot(t, s); len(snap.TooWide) != 0 {
		t.Errorf("still too wide: %v", snap.TooWide)
	}
	for _, name := range []string{"keys", "certs/x/privkey", "keys/../privkey", "/etc/passwd", "accounts/x/privkey"} {
		if err := s.Narrow([]string{name}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("narrow %s: %v, want fs.ErrInvalid", name, err)
		}
	}
	plant(t, s, "conf/perm", "keys 0644 0755\n")
	open, err := Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.Path(want[1]), 0o644); err != nil {
		t.Fatal(err)
	}
	if snap := snapshot(t, open); len(snap.TooWide) != 0 {
		t.Errorf("too wide in spite of conf/perm: %v", snap.TooWide)
	}
}

// The lock file of acmetool has mode 0644, so everybody could hold its lock.
func TestLockFileModeIsSetBack(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "acme")
	plant(t, &Store{dir: dir}, "lock", "")
	if err := os.Chmod(filepath.Join(dir, "lock"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := lockStore(t, dir)
	if got := access(t, s, "lock"); !strings.HasSuffix(got, " 0600") {
		t.Errorf("the lock file has %s, want mode 0600", got)
	}
}

func TestErrorsOfAccessHelp(t *testing.T) {
	t.Parallel()
	s := &Store{dir: t.TempDir()}
	readOnly := s.explain("lock", &fs.PathError{Op: "openat", Path: "lock", Err: unix.EROFS})
	wantError(t, "read-only", readOnly, "lock "+s.Path("lock")+": read-only file system; mount its file system for writing")
	if !errors.Is(readOnly, unix.EROFS) {
		t.Errorf("%v is not EROFS any more", readOnly)
	}
	for path, want := range map[string]string{
		"x/y":         s.dir + " belongs to",
		"/etc/passwd": "read /etc/passwd: permission denied; it belongs to",
	} {
		err := s.explain("read", fmt.Errorf("wrapped: %w", &fs.PathError{Op: "openat", Path: path, Err: unix.EACCES}))
		wantError(t, path, err, want)
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%v is not fs.ErrPermission any more", err)
		}
	}
	if err := s.explain("read", nil); err != nil {
		t.Errorf("no error became %v", err)
	}
	if got, want := s.explain("read", fs.ErrInvalid).Error(), "read: invalid argument"; got != want {
		t.Errorf("another error reads %q, want %q", got, want)
	}
}
