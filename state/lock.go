package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked reports that another process holds the lock; the error is a
// *LockedError.
var ErrLocked = errors.New("another certd is at work")

// lockPoll is the wait between two tries for the lock: flock itself cannot be
// interrupted by a context.
const lockPoll = 50 * time.Millisecond

// orphanWait is how long a lock is waited for at least that its holder has left: a
// process that is killed as it starts another one has lent that its lock, until
// it becomes its program.
const orphanWait = 5 * time.Second

// A LockedError says who seems to hold the lock.
type LockedError struct {
	Path string // of the lock file
	PID  int    // of the holder, as the kernel lists it; 0 if it does not
}

// Error names the lock file and the holder.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s: %v", e.Path, ErrLocked)
	}
	return fmt.Sprintf("%s: %v (process %d)", e.Path, ErrLocked, e.PID)
}

// orphaned reports whether the holder is nowhere to be seen.
func (e *LockedError) orphaned() bool {
	return e.PID == 0 || errors.Is(unix.Kill(e.PID, 0), unix.ESRCH)
}

// Unwrap returns ErrLocked.
func (e *LockedError) Unwrap() error { return ErrLocked }

// A Lock is the right to write to a state directory. The kernel gives it up
// with the process, and no child keeps it.
type Lock struct {
	store *Store
	root  *os.Root
	file  *os.File
	slot  **Lock // where the store keeps it; nil if nothing is written under it
}

// Lock waits at most wait for the exclusive right to write; zero tries once,
// but for a few seconds where nobody is seen to have it. It
// creates what is missing of the layout, with the modes of conf/perm, and
// empties tmp/. The error wraps ErrLocked if another process (or another Store
// of this one) keeps the lock for longer.
func (s *Store) Lock(ctx context.Context, wait time.Duration) (*Lock, error) {
	if err := s.makeDir(); err != nil {
		return nil, err
	}
	l, err := s.acquire(ctx, "lock", unix.LOCK_EX, time.Now().Add(wait))
	if err != nil {
		return nil, err
	}
	if err := l.prepare(); err != nil {
		return nil, errors.Join(err, l.release())
	}
	s.keep(l, &s.held)
	return l, nil
}

// keep remembers a lock for those who write under it.
func (s *Store) keep(l *Lock, slot **Lock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.slot, *slot = slot, l
}

// Unlock gives the lock up. Nothing may be writing any more.
func (l *Lock) Unlock() error {
	if l.slot != nil {
		l.store.mu.Lock()
		*l.slot = nil
		l.store.mu.Unlock()
	}
	return l.release()
}

func (l *Lock) release() error {
	err := errors.Join(
		unix.Flock(int(l.file.Fd()), unix.LOCK_UN),
		l.file.Close(),
		l.root.Close())
	if err != nil {
		return fmt.Errorf("unlock %s: %w", l.store.dir, err)
	}
	return nil
}

// makeDir creates the state directory itself, and its parents.
func (s *Store) makeDir() error {
	if _, err := os.Stat(s.dir); !errors.Is(err, fs.ErrNotExist) {
		return s.explain("open state directory", err)
	}
	r := s.perms.at(".")
	if err := os.MkdirAll(filepath.Dir(s.dir), 0o755); err != nil {
		return s.explain("create state directory", err)
	}
	parent, err := os.OpenRoot(filepath.Dir(s.dir))
	if err != nil {
		return s.explain("create state directory", err)
	}
	defer parent.Close()
	base := filepath.Base(s.dir)
	err = parent.Mkdir(base, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil // somebody was faster
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		e.Path = s.dir
	}
	if err != nil {
		return s.explain("create state directory", err)
	}
	err = parent.Chmod(base, r.dir)
	if err == nil {
		err = (&tree{root: parent}).syncDir(".")
	}
	if err != nil {
		return fmt.Errorf("create state directory: %w", err)
	}
	return nil
}

// acquire takes the lock in the file of this name, trying until the deadline, and
// one that was left for orphanWait; how is LOCK_EX or LOCK_SH.
func (s *Store) acquire(ctx context.Context, name string, how int, deadline time.Time) (*Lock, error) {
	for orphan := time.Now().Add(orphanWait); ; {
		l, err := s.try(name, how)
		until := deadline
		locked, ok := errors.AsType[*LockedError](err)
		if ok && locked.orphaned() && until.Before(orphan) {
			until = orphan
		}
		if !ok || time.Until(until) <= 0 {
			return l, err
		}
		timer := time.NewTimer(min(lockPoll, time.Until(until)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("wait for %s: %w", s.Path(name), ctx.Err())
		}
	}
}

// try takes the lock in the file of this name if it is free.
func (s *Store) try(name string, how int) (_ *Lock, err error) {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, s.explain("lock", err)
	}
	defer func() {
		if err != nil {
			root.Close()
		}
	}()
	if err := s.checkSafe(root); err != nil {
		return nil, err
	}
	f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, s.explain("lock", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, &LockedError{Path: s.Path(name), PID: holder(f)}
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s (a file system without locks cannot hold a state directory): %w", s.Path(name), err)
	}
	if err := s.checkSame(root, f, name); err != nil {
		return nil, err
	}
	if err := give(f, s.perms.at(name)); err != nil {
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
	return &Lock{store: s, root: root, file: f}, nil
}

// checkSame makes sure that what was locked is still what others will find: the
// lock file, and the directory it is in, may have been replaced meanwhile.
func (s *Store) checkSame(root *os.Root, f *os.File, name string) error {
	have, err := f.Stat()
	if err != nil {
		return fmt.Errorf("lock state directory: %w", err)
	}
	there, err := os.Lstat(s.Path(name))
	if err == nil && !there.Mode().IsRegular() {
		return fmt.Errorf("%s is a %s, not a file: move it away", s.Path(name), kind(there.Mode()))
	}
	if err != nil || !os.SameFile(have, there) {
		return &LockedError{Path: s.Path(name)} // replaced just now: try again
	}
	if mode := s.perms.at(name).file; have.Mode() != mode {
		if err := f.Chmod(mode); err != nil {
			return s.explain("set the mode of", err)
		}
	}
	return nil
}

// holder returns the process that holds a lock on f, by the kernel's list of
// locks (proc(5)); 0 if it is not to be found there. Nothing has to be written
// for it, so that a run with nothing to do leaves no trace.
func holder(f *os.File) int {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return 0
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0
	}
	return holderIn(string(locks), fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino))
}

// holderIn looks for the flock of a file, written "major:minor:inode".
func holderIn(locks, file string) int {
	for line := range strings.Lines(locks) {
		fields := strings.Fields(line) // "1: FLOCK ADVISORY WRITE 812 fe:00:1234 0 EOF"
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != file {
			continue
		}
		if pid, err := strconv.Atoi(fields[4]); err == nil && pid > 0 {
			return pid
		}
	}
	return 0
}

// prepare completes the layout, sets right what conf/perm says otherwise of its
// directories, and empties tmp/.
func (l *Lock) prepare() error {
	t := &tree{root: l.root, perms: l.store.perms, step: l.store.step}
	err := t.makeTemp()
	for _, dir := range layout()[1:] {
		if err == nil {
			err = t.ensureDir(dir)
		}
	}
	for _, dir := range append([]string{"."}, layout()...) {
		if r := t.perms.at(dir); err == nil && r.said {
			err = t.conform(dir, r, r.dir, false)
		}
	}
	if err != nil {
		return l.store.explain("prepare state directory", err)
	}
	return nil
}

// makeTemp makes tmp/, or empties the one there is.
func (t *tree) makeTemp() error {
	r := t.perms.at("tmp")
	err := t.root.Mkdir("tmp", 0o700)
	if err == nil {
		return errors.Join(t.root.Chmod("tmp", r.dir), t.giveTemp(r), t.syncDir("."))
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := t.root.Open("tmp")
	if err != nil {
		return err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := t.root.RemoveAll("tmp/" + name); err != nil {
			return err
		}
	}
	return nil
}

// MakeTempDir makes a directory in tmp/, unless it is there, that belongs to who
// tmp/ belongs to: whoever empties that can empty this. It needs the lock.
func (s *Store) MakeTempDir(name string) error {
	t, err := s.writer()
	if err != nil {
		return err
	}
	return s.explain("make", t.ensureDir("tmp/"+name))
}

// giveTemp makes the new tmp/ its rule's.
func (t *tree) giveTemp(r rule) error {
	f, err := t.root.Open("tmp")
	if err != nil {
		return err
	}
	return errors.Join(give(f, r), f.Close())
}
