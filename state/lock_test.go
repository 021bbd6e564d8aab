package state

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestLockCreatesTheLayout(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "var", "lib", "acme")
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Dir(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening a missing directory made its parent: %v", err)
	}
	if snap := snapshot(t, s); len(snap.Certificates)+len(snap.Broken) != 0 {
		t.Errorf("a missing directory is not empty: %+v", snap)
	}
	l, err := s.Lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{
		".": 0o755, "accounts": 0o700, "keys": 0o700, "tmp": 0o700, "certs": 0o755, "live": 0o755, "desired": 0o755, "conf": 0o755,
		"orders": 0o755, "attempts": 0o755, "renewal": 0o755, "pending": 0o755, "lock": 0o600,
	} {
		fi, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v (%v), want mode %04o", name, fi, err, want)
		}
	}
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(s.Path("lock")); err != nil || len(data) != 0 {
		t.Errorf("after Unlock the lock file holds %q (%v), want nothing", data, err)
	}
}

func TestLockExcludes(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	other, err := Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Lock(t.Context(), 2*lockPoll)
	locked, ok := errors.AsType[*LockedError](err)
	if !ok || !errors.Is(err, ErrLocked) || locked.PID != os.Getpid() {
		t.Errorf("second lock: %v, want a LockedError with PID %d", err, os.Getpid())
	}
	wantError(t, "second lock", err, s.Path("lock"), strconv.Itoa(os.Getpid()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := other.Lock(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("lock with a cancelled context: %v", err)
	}
	if err := other.WriteConf("target", nil); !errors.Is(err, ErrNotLocked) {
		t.Errorf("write without the lock: %v, want ErrNotLocked", err)
	}
}

func TestLockIsHandedOver(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "acme")
	first, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := first.Lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		l, err := second.Lock(t.Context(), time.Minute)
		if err == nil {
			err = l.Unlock()
		}
		got <- err
	}()
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
	if err := <-got; err != nil {
		t.Errorf("the one who waited: %v", err)
	}
	if err := first.WriteConf("target", nil); !errors.Is(err, ErrNotLocked) {
		t.Errorf("write after Unlock: %v, want ErrNotLocked", err)
	}
}

// TestLockOfReplacedFile: whoever locks a lock file that is no longer the one in
// the directory does not hold the lock.
func TestLockOfReplacedFile(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	if err := os.Remove(s.Path("lock")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := s.checkSame(root, s.held.file, "lock"); !errors.Is(err, ErrLocked) {
		t.Errorf("a lock file that was removed passes: %v", err)
	}
	if err := os.Symlink("conf", s.Path("lock")); err != nil {
		t.Fatal(err)
	}
	wantError(t, "lock that is a link", s.checkSame(root, s.held.file, "lock"), "not a file", "move it away")
}

// TestLockEmptiesTemp, and nothing before the lock does.
func TestLockEmptiesTemp(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "acme")
	if err := os.MkdirAll(filepath.Join(dir, "tmp", "half", "made"), 0o700); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "tmp", "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tmp", ".hidden"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	snapshot(t, s)
	if n := len(image(t, s.Path("tmp"), false)); n != 5 {
		t.Errorf("reading left %d entries in tmp/, want 5", n)
	}
	l, err := s.Lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	if n := len(image(t, s.Path("tmp"), false)); n != 1 {
		t.Errorf("locking left %d entries in tmp/", n-1)
	}
	if data, err := os.ReadFile(outside); err != nil || string(data) != "precious" {
		t.Errorf("what a link in tmp/ led to is now %q (%v)", data, err)
	}
}

// TestChildLock is no test of its own: TestLockDiesWithItsProcess runs it.
func TestChildLock(t *testing.T) {
	dir := os.Getenv("CERTD_CHILD_LOCK")
	if dir == "" {
		t.Skip("a helper of TestLockDiesWithItsProcess")
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lock(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	sleep := exec.Command("sleep", "60")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\nsleeper %d\n", sleep.Process.Pid)
	select {} // until killed
}

// TestLockDiesWithItsProcess: the lock of a killed process is free at once, even
// while a child of it, such as a hook, lives on.
func TestLockDiesWithItsProcess(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "acme")
	ctx, cancel := context.WithTimeout(t.Context(), childTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestChildLock$", "-test.count=1")
	cmd.Env = append(os.Environ(), "CERTD_CHILD_LOCK="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sleeper := 0
	lines := bufio.NewScanner(out)
	for sleeper == 0 && lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "sleeper "); ok {
			if sleeper, err = strconv.Atoi(text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if sleeper == 0 {
		t.Fatalf("the child did not lock: %v", cmd.Wait())
	}
	defer syscall.Kill(sleeper, syscall.SIGKILL)
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Lock(t.Context(), 0)
	locked, ok := errors.AsType[*LockedError](err)
	if !ok || locked.PID != cmd.Process.Pid {
		t.Errorf("while the child lives: %v, want a LockedError with PID %d", err, cmd.Process.Pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Wait()
	if err := syscall.Kill(sleeper, 0); err != nil {
		t.Errorf("the sleeper died as well, so this test shows nothing: %v", err)
	}
	l, err := s.Lock(t.Context(), 0)
	if err != nil {
		t.Fatalf("after the child was killed: %v", err)
	}
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
}

// TestLockOfAnOrphan: a lock whose holder died as it started another process is
// waited for. Here it is flock(1) that has died, and the shell that keeps it.
func TestLockOfAnOrphan(t *testing.T) {
	t.Parallel()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("sh", "-c", `flock 9 && echo locked && read -r x`)
	file, err := os.OpenFile(s.Path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	shell.ExtraFiles = []*os.File{3: nil, 6: file} // the last one is 9
	in, errIn := shell.StdinPipe()
	out, errOut := shell.StdoutPipe()
	if err := errors.Join(errIn, errOut, shell.Start(), file.Close()); err != nil {
		t.Fatal(err)
	}
	defer shell.Wait()
	defer in.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the shell did not lock: %q, %v", line, err)
	}
	_, err = s.try("lock", syscall.LOCK_EX)
	if locked, ok := errors.AsType[*LockedError](err); !ok || !locked.orphaned() {
		t.Errorf("the shell's lock: %v, want one whose holder is gone", err)
	}
	in.Close()
	l, err := s.Lock(t.Context(), 0)
	if err != nil {
		t.Fatalf("once the shell ends: %v", err)
	}
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
}

func TestHolderIsReadFromTheKernelsList(t *testing.T) {
	t.Parallel()
	const locks = `1: POSIX  ADVISORY  WRITE 700 fe:00:77 0 EOF
2: FLOCK  ADVISORY  WRITE 812 fe:00:77 0 EOF
2: -> FLOCK  ADVISORY  WRITE 813 fe:00:78 0 EOF
3: FLOCK  ADVISORY  WRITE 0 fe:00:79 0 EOF
garbage
`
	for file, want := range map[string]int{"fe:00:77": 812, "fe:00:78": 0, "fe:00:79": 0, "fe:00:7": 0} {
		if got := holderIn(locks, file); got != want {
			t.Errorf("holder of %s: %d, want %d", file, got, want)
		}
	}
}
