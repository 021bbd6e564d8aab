package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lookTime is longer than anybody holds a lock only to look whether it is free.
const lookTime = time.Second

// The files of the locks beside that of a pass.
const (
	editLock   = "edit.lock"
	daemonLock = "daemon.lock"
	doctorLock = "doctor.lock"
)

// LockEdit waits at most wait for the right to change the files of desired/,
// which the lock of a pass does not give: a pass only reads them, and may last
// for as long as its slowest hook. Nobody may wait for the lock of a pass while
// holding this one. It completes the layout if there is no desired/ yet, and
// removes what edits that were cut off have left. The error wraps ErrLocked.
func (s *Store) LockEdit(ctx context.Context, wait time.Duration) (*Lock, error) {
	deadline := time.Now().Add(wait)
	if err := s.layOut(ctx, "desired", deadline); err != nil {
		return nil, err
	}
	l, err := s.acquire(ctx, editLock, unix.LOCK_EX, deadline)
	if err != nil {
		return nil, err
	}
	if err := l.tidy(); err != nil {
		return nil, errors.Join(s.explain("tidy", err), l.release())
	}
	s.keep(l, &s.editing)
	return l, nil
}

// layOut makes the layout if a directory of it is missing. Another certd that is
// just doing that is waited for.
func (s *Store) layOut(ctx context.Context, dir string, deadline time.Time) error {
	for {
		_, err := os.Lstat(s.Path(dir))
		if !errors.Is(err, fs.ErrNotExist) {
			return nil // what else is wrong with it, writing will say
		}
		l, err := s.Lock(ctx, 0)
		if err == nil {
			return l.Unlock()
		}
		if !errors.Is(err, ErrLocked) || time.Until(deadline) <= 0 {
			return err
		}
		timer := time.NewTimer(lockPoll)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("wait for %s: %w", s.Path("lock"), ctx.Err())
		}
	}
}

// tidy removes the temporary files of edits that did not come to an end.
func (l *Lock) tidy() error {
	f, err := l.root.Open("desired")
	if err != nil {
		return err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, hiddenPrefix) {
			if err := l.root.Remove("desired/" + name); err != nil {
				return err
			}
		}
	}
	return nil
}

// editor returns the tree of the lock for edits that this store holds.
func (s *Store) editor() (*tree, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.editing == nil {
		return nil, ErrNotLocked
	}
	return &tree{root: s.editing.root, perms: s.perms, step: s.step, hidden: "desired"}, nil
}

// LockDaemon says to others that a daemon looks after this state directory, for
// as long as the lock is held; it gives no right to write. The error wraps
// ErrLocked if there is one already.
func (s *Store) LockDaemon(ctx context.Context) (*Lock, error) {
	if err := s.makeDir(); err != nil {
		return nil, err
	}
	return s.acquire(ctx, daemonLock, unix.LOCK_EX, time.Now().Add(lookTime))
}

// Daemon reports whether a daemon looks after this state directory, and its
// process; 0 if the kernel does not tell.
func (s *Store) Daemon() (pid int, ok bool) {
	root, err := s.reader()
	if err != nil || root == nil {
		return 0, false
	}
	defer root.Close()
	f, err := root.OpenFile(daemonLock, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, false // there never was one, or nobody may know
	}
	defer f.Close() // and the lock goes with it
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return 0, false
	}
	return holder(f), true
}
