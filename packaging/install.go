package packaging

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// A file with this in its first markerWithin bytes was written by certd and may
// be replaced or removed by it.
const (
	marker       = "#!certd-managed!#"
	markerWithin = 4096
	maxFile      = 256 << 10
)

// What Install did with a file.
const (
	Written   = "written"   // it was not there
	Updated   = "updated"   // it was there, marked as managed, and differed
	Unchanged = "unchanged" // it is there as it should be, here or from a package
	Kept      = "kept"      // the file is somebody's own: it has no marker, or is no regular file
	Removed   = "removed"   // it belonged to another kind, and was marked as managed
)

// A Change says what Install did with one file.
type Change struct {
	Path   string
	Action string // Written, Updated, Unchanged, Kept or Removed
}

// Install puts the files of Plan in place by means of write, which has to
// replace a file atomically, and removes those of other kinds that it installed
// before. Files without the marker are an administrator's, and are kept either
// way; so is a link. A unit that a package has installed with the same content
// is not written again.
//
// The commands of Before come first, those of After behind.
func Install(o Options, write func(path string, data []byte, perm fs.FileMode) error) ([]Change, error) {
	files, err := Plan(o)
	if err != nil {
		return nil, err
	}
	var done []Change
	var errs []error
	for _, f := range files {
		action, err := o.examine(f)
		if err == nil && (action == Written || action == Updated) {
			err = os.MkdirAll(filepath.Dir(f.Path), 0o755)
			if err == nil {
				err = write(f.Path, f.Data, f.Mode)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("install %s: %w", f.Path, err))
			continue
		}
		done = append(done, Change{f.Path, action})
	}
	if len(errs) > 0 {
		return done, errors.Join(errs...) // what ran until now goes on running
	}
	for _, name := range o.others(files) {
		change, err := remove(name)
		if err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", name, err))
		}
		if change.Action != "" {
			done = append(done, change)
		}
	}
	return done, errors.Join(errs...)
}

// examine decides what to do about a file.
func (o Options) examine(f File) (string, error) {
	info, err := os.Lstat(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		if o.packaged(f) {
			return Unchanged, nil
		}
		return Written, nil
	}
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return Kept, nil
	}
	have, err := readStart(f.Path, maxFile)
	switch {
	case err != nil:
		return "", err
	case bytes.Equal(have, f.Data):
		return Unchanged, nil
	case managed(have):
		return Updated, nil
	}
	return Kept, nil
}

// packaged reports whether a package has installed the same file below /usr/lib.
func (o Options) packaged(f File) bool {
	dirs := vendorDirs()
	if kind := path.Base(path.Dir(f.Path)); kind == "sysusers.d" || kind == "tmpfiles.d" {
		dirs = []string{"/usr/lib/" + kind}
	}
	for _, dir := range dirs {
		have, err := readStart(filepath.Join("/", o.Root, dir, filepath.Base(f.Path)), maxFile)
		if err == nil {
			return bytes.Equal(have, f.Data)
		}
	}
	return false
}

// vendorDirs are where make install and packages put units.
func vendorDirs() []string {
	return []string{"/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}
}

func managed(data []byte) bool {
	return bytes.Contains(data[:min(len(data), markerWithin)], []byte(marker))
}

// others are the paths that Plan could have returned for other kinds and did
// not for this one.
func (o Options) others(files []File) []string {
	var names []string
	for _, kind := range []Kind{Timer, Daemon, Cron} {
		all := o
		all.Kind, all.Redirector, all.Sockets = kind, true, nil
		other, err := Plan(all)
		if err != nil {
			continue // the options were checked
		}
		for _, f := range other {
			if !slices.ContainsFunc(files, func(g File) bool { return g.Path == f.Path }) {
				names = append(names, f.Path)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// remove removes a file that certd has installed. The zero Change means that
// there was none.
func remove(name string) (Change, error) {
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Change{}, nil
	}
	if err != nil {
		return Change{}, err
	}
	if info.Mode().IsRegular() {
		have, err := readStart(name, markerWithin)
		if err != nil {
			return Change{}, err
		}
		if managed(have) {
			return Change{name, Removed}, os.Remove(name)
		}
	}
	return Change{name, Kept}, nil
}
