package hooks

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// scripts are the bundled hooks. Embedding needs a package variable; nothing
// writes to it.
//
//go:embed scripts/haproxy scripts/reload
var scripts embed.FS

// A file with one of these in its first markerWithin bytes may be replaced by
// a newer version. The second is acmetool's, whose place the bundled hooks take.
const (
	marker         = "#!certd-managed!#"
	acmetoolMarker = "#!acmetool-managed!#"
	markerWithin   = 4096
)

// A Script is a hook that comes with certd.
type Script struct {
	Name string // its file name; hooks run in this order
	Data []byte // its text
}

// Bundled returns the hooks that come with certd, by ascending name.
func Bundled() []Script {
	names := bundledNames()
	list := make([]Script, len(names))
	for i, name := range names {
		data, err := scripts.ReadFile("scripts/" + name)
		if err != nil {
			panic(err) // the compiler has put it there
		}
		list[i] = Script{Name: name, Data: data}
	}
	return list
}

func bundledNames() []string { return []string{"haproxy", "reload"} }

// bundled reports whether a file has the name of a bundled hook.
func bundled(name string) bool { return slices.Contains(bundledNames(), name) }

// What Install did with a bundled hook.
const (
	Written   = "written"   // it was not there
	Updated   = "updated"   // it was there, marked as managed, and differed
	Unchanged = "unchanged" // it is there as it should be
	Kept      = "kept"      // the file is somebody's own: it has no marker, or is no regular file
	Disabled  = "disabled"  // it is turned off: the file is empty or not executable
)

// Installed says what Install did with one bundled hook.
type Installed struct {
	Path   string
	Action string // Written, Updated, Unchanged, Kept or Disabled
}

// Install puts the bundled hooks into dir by means of write, which has to
// replace the file atomically. Files that an administrator has made his own
// are kept, and reported as such: those without a marker, and those turned off.
// A file that is replaced keeps its mode, the setuid bit of the sudo rule
// included, but for write permissions of others.
// A missing dir is created with mode 0755; its parents, too. A dir that others
// may change is refused with a RefusedError.
func Install(dir string, write func(path string, data []byte, perm fs.FileMode) error) ([]Installed, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("install hooks: %w", err)
	}
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("install hooks: %w", err)
	}
	if _, err := vetDir(dir); err != nil {
		return nil, fmt.Errorf("install hooks in %s: %w", dir, err)
	}
	var done []Installed
	var errs []error
	for _, s := range Bundled() {
		path := filepath.Join(dir, s.Name)
		action, perm, err := examine(path, s.Data)
		if err == nil && (action == Written || action == Updated) {
			err = write(path, s.Data, perm)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("install hook %s: %w", path, err))
			continue
		}
		done = append(done, Installed{Path: path, Action: action})
	}
	return done, errors.Join(errs...)
}

// makeDir makes dir and its missing parents with mode 0755 whatever the umask.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeDir(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755)
}

// examine decides what to do about a hook that shall be at path, and with
// which mode it is to be written.
func examine(path string, want []byte) (action string, perm fs.FileMode, err error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Written, 0o755, nil
	}
	if err != nil {
		return "", 0, err
	}
	switch {
	case !info.Mode().IsRegular():
		return Kept, 0, nil
	case info.Size() == 0 || info.Mode().Perm()&0o111 == 0:
		return Disabled, 0, nil
	}
	have, err := readStart(path, max(markerWithin, len(want)+1))
	if err != nil {
		return "", 0, err
	}
	switch {
	case bytes.Equal(have, want):
		return Unchanged, 0, nil
	case hasMarker(have):
		return Updated, info.Mode() & (fs.ModePerm | fs.ModeSetuid) &^ 0o022, nil
	}
	return Kept, 0, nil
}

// managed reports whether the file carries a marker; one that cannot be read does not.
func managed(path string) bool {
	have, err := readStart(path, markerWithin)
	return err == nil && hasMarker(have)
}

// mentionsWithin is how much of a hook's file Mentions reads, in bytes.
const mentionsWithin = 1 << 20

// Mentions reports whether text is in the hook's file, such as the name of an
// event: a hook without it may still take the event, but probably does not.
func (h Hook) Mentions(text string) bool {
	have, err := readStart(h.Path, mentionsWithin)
	return err == nil && bytes.Contains(have, []byte(text))
}

func hasMarker(data []byte) bool {
	data = data[:min(len(data), markerWithin)]
	return bytes.Contains(data, []byte(marker)) || bytes.Contains(data, []byte(acmetoolMarker))
}

// readStart reads up to n bytes of a file.
func readStart(path string, n int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(n)))
}
