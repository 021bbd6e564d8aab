package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"certd/config"
)

// wantedNames are the names of desired/ and live/ of a state directory. It may
// be asked while it is read again.
type wantedNames struct {
	dir  string
	set  atomic.Pointer[map[string]bool]
	seen string // what the files looked like when they were read
}

// has reports whether a canonical name is wanted or live, itself or by the
// wildcard that covers it.
func (n *wantedNames) has(name string) bool {
	set := *n.set.Load()
	if set[name] {
		return true
	}
	_, parent, ok := strings.Cut(name, ".")
	return ok && set["*."+parent]
}

func (n *wantedNames) len() int {
	if set := n.set.Load(); set != nil {
		return len(*set)
	}
	return 0
}

// read reads the names. A target that cannot be used hides no other, and its
// names are still found in live/; on an error the names read before stay.
func (n *wantedNames) read() error {
	n.set.CompareAndSwap(nil, &map[string]bool{})
	seen, err := n.look()
	n.seen = seen // also on an error: it comes back when something changes
	if err != nil {
		return err
	}
	targets, err := config.LoadTargets(n.dir)
	if err != nil {
		return err
	}
	set := map[string]bool{}
	for _, t := range targets.Targets {
		for _, name := range t.RequestNames {
			set[name] = true
		}
	}
	live, err := os.ReadDir(filepath.Join(n.dir, "live"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list live names: %w", err)
	}
	for _, e := range live {
		if name, ok := liveName(e.Name()); ok {
			set[name] = true
		}
	}
	n.set.Store(&set)
	return nil
}

// liveName returns the name of an entry of live/, without its label.
func liveName(link string) (string, bool) {
	if name, err := config.ParseName(link); err == nil {
		return name, name == link
	}
	i := strings.LastIndexByte(link, ':')
	if i < 0 {
		return "", false
	}
	name, err := config.ParseName(link[:i])
	return name, err == nil && name == link[:i]
}

// changed reports whether the files look different from when they were read.
func (n *wantedNames) changed() bool {
	now, _ := n.look() // an error looks different, too
	return now != n.seen
}

// look says what the files look like, without reading them: desired/ and what
// is in it, conf/target, and live/, whose links are replaced and never edited.
func (n *wantedNames) look() (string, error) {
	var b strings.Builder
	add := func(path string) error {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintf(&b, "%s -\n", path)
			return nil
		}
		if err != nil {
			fmt.Fprintf(&b, "%s ?\n", path)
			return err
		}
		fmt.Fprintf(&b, "%s %d %d\n", path, info.ModTime().UnixNano(), info.Size())
		return nil
	}
	desired := filepath.Join(n.dir, "desired")
	entries, err := os.ReadDir(desired)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, path := range []string{desired, filepath.Join(n.dir, "live"), filepath.Join(n.dir, "conf", "target")} {
		err = errors.Join(err, add(path))
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			err = errors.Join(err, add(filepath.Join(desired, e.Name())))
		}
	}
	return b.String(), err
}
