package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// An accessError is that this process may not do something, in words that help.
type accessError struct {
	op, path, remedy string
	err              error // without operation and path
}

func (e *accessError) Error() string {
	return fmt.Sprintf("%s %s: %v; %s", e.op, e.path, e.err, e.remedy)
}

func (e *accessError) Unwrap() error { return e.err }

// explain gives an error of the operation op the whole path of what could not be
// reached, and the remedy if this process may not: whose it is, or that nothing
// can be written there. Nil stays nil.
func (s *Store) explain(op string, err error) error {
	if err == nil {
		return nil
	}
	at, cause := s.dir, err
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		at, cause = e.Path, e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		at, cause = e.New, e.Err
	}
	if !filepath.IsAbs(at) {
		at = s.Path(at)
	}
	switch {
	case errors.Is(err, unix.EROFS):
		return &accessError{op, at, "mount its file system for writing, or keep the state elsewhere (--state)", cause}
	case errors.Is(err, fs.ErrPermission):
		return &accessError{op, at, whose(at), cause}
	}
	return fmt.Errorf("%s: %w", op, err)
}

// whose says to whom belongs path, or the nearest directory above it that can be
// looked at, and what follows from that.
func whose(path string) string {
	it, at := "it", path
	fi, err := os.Lstat(at)
	for err != nil && at != "/" {
		at = filepath.Dir(at)
		it = at
		fi, err = os.Lstat(at)
	}
	st, ok := (*syscall.Stat_t)(nil), false
	if err == nil {
		st, ok = fi.Sys().(*syscall.Stat_t)
	}
	switch {
	case !ok:
		return "run certd as the user whom it belongs to"
	case int(st.Uid) == os.Geteuid():
		return fmt.Sprintf("%s belongs to this user and has the mode %04o", it, fi.Mode().Perm())
	}
	owner := "user " + strconv.Itoa(int(st.Uid))
	if u, err := user.LookupId(strconv.Itoa(int(st.Uid))); err == nil {
		owner = u.Username
	}
	return fmt.Sprintf("%s belongs to %s: run certd as that user", it, owner)
}
