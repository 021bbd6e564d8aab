package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// ErrNotLocked reports a write by a process that does not hold the lock: only
// the holder may write, since taking the lock empties tmp/.
var ErrNotLocked = errors.New("the state directory is not locked by this process: call Lock first")

// An UnsafeError reports a directory in which others may replace files, keys
// among them. Nothing is read from or written to such a state directory.
type UnsafeError struct {
	Path string      // the directory
	Mode fs.FileMode // its mode
}

// Error names the directory, its mode and the remedy.
func (e *UnsafeError) Error() string {
	return fmt.Sprintf("%s: mode %04o lets others write there; check what is in it, then run: chmod go-w %s", e.Path, e.Mode.Perm(), e.Path)
}

// A Store is a state directory. Reading needs no lock and changes nothing;
// every method that writes needs a lock, and returns only when what it wrote
// is durable. All methods may be called from many goroutines at once.
type Store struct {
	dir   string // absolute
	perms perms

	mu      sync.Mutex // guards the locks
	held    *Lock      // nil while this store does not hold the lock
	editing *Lock      // nil while this store does not hold the lock for edits
	trying  *Lock      // nil while this store does not hold the lock of a doctor

	attempts sync.Mutex // held while a file of attempts/ is read, changed and written

	// step, if set, is called before every durable step; its error is taken
	// for the step's. Tests fail and kill the process with it.
	step func(op, path string) error
}

// layout lists the directories of a state directory; tmp comes first, because
// the others are made in it.
func layout() []string {
	return []string{"tmp", "accounts", "attempts", "certs", "conf", "desired", "dns", "keys", "live", "orders", "pending", "renewal", "staged"}
}

// Open returns the state directory at dir, which need not exist yet. It reads
// conf/perm and changes nothing. Errors: *UnsafeError if others may write to it,
// *PermError for a mistake in conf/perm, or dir is no directory.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w", dir, err)
	}
	s := &Store{dir: abs, perms: defaultPerms()}
	root, err := os.OpenRoot(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, s.explain("open state directory", err)
	}
	defer root.Close()
	data, err := readFile(root, "conf/perm")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, s.explain("read conf/perm", err)
	}
	if s.perms, err = parsePerms(s.Path("conf", "perm"), data); err != nil {
		return nil, err
	}
	info, err := root.Stat(".")
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w", dir, err)
	}
	s.perms.ownedBy(info, os.Geteuid())
	if err := s.checkSafe(root); err != nil {
		return nil, err
	}
	return s, nil
}

// Dir returns the absolute path of the state directory.
func (s *Store) Dir() string { return s.dir }

// Path returns the path of something in the state directory. It does not check
// elem: use it with constants and validated names.
func (s *Store) Path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// checkSafe refuses a state directory that others may write to. Directories in
// it may be writable by a group if conf/perm says so.
func (s *Store) checkSafe(root *os.Root) error {
	for _, dir := range append([]string{"."}, layout()...) {
		fi, err := root.Lstat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return s.explain("check state directory", err)
		}
		if !fi.IsDir() {
			return fmt.Errorf("%s is not a directory: move it away", s.Path(dir))
		}
		allowed := fs.FileMode(0)
		if dir != "." {
			allowed = s.perms.at(dir).dir
		}
		if fi.Mode().Perm()&0o022&^allowed != 0 {
			return &UnsafeError{Path: s.Path(dir), Mode: fi.Mode()}
		}
	}
	return nil
}

// reader opens the state directory for reading; nil without an error means that
// there is none yet.
func (s *Store) reader() (*os.Root, error) {
	root, err := os.OpenRoot(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, s.explain("open state directory", err)
	}
	return root, nil
}

// writer returns the tree of the lock that this store holds.
func (s *Store) writer() (*tree, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		return nil, ErrNotLocked
	}
	return &tree{root: s.held.root, perms: s.perms, step: s.step}, nil
}
