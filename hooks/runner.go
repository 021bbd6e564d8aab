package hooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// What a Runner does unless told otherwise.
const (
	defaultTimeout = 5 * time.Minute
	defaultGrace   = 5 * time.Second
	maxEntries     = 1000 // files in one hook directory
)

// A Runner finds hooks and runs them. Its zero value runs nothing, as it has no
// directories; it keeps no state between calls and may be used by several
// goroutines at once.
type Runner struct {
	// Dirs are the hook directories, in the order they are visited. One that
	// does not exist is passed over.
	Dirs []string

	// StateDir is told to hooks as ACME_STATE_DIR and CERTD_STATE_DIR.
	// If it is empty neither is set.
	StateDir string

	// Timeout is how long one hook may take for one event. Zero means 5 minutes.
	Timeout time.Duration

	// Grace is how long a hook has between SIGTERM and SIGKILL. Zero means 5 seconds.
	Grace time.Duration

	// Environ is what hooks find in their environment before the Runner's own
	// variables and the event's are added, as "NAME=value". Nil means PATH,
	// HOME, LANG and TZ of this process: everything else of this process's
	// environment, credentials among it, is kept from hooks.
	Environ []string
}

// DefaultDirs splits env, the value of ACME_HOOKS_DIR, at colons. Without any
// directory in it, the result is /etc/acme/hooks, /usr/libexec/acme/hooks and
// /usr/lib/acme/hooks.
func DefaultDirs(env string) []string {
	dirs := slices.DeleteFunc(filepath.SplitList(env), func(dir string) bool { return dir == "" })
	if len(dirs) == 0 {
		return []string{"/etc/acme/hooks", "/usr/libexec/acme/hooks", "/usr/lib/acme/hooks"}
	}
	return dirs
}

// List returns the hooks of all directories in the order they would run,
// refused ones among them. The error joins one per directory that could not
// be used (see RefusedError); the hooks of the others are returned with it.
func (r *Runner) List() ([]Hook, error) {
	found, err := r.find()
	list := make([]Hook, 0, len(found))
	for _, c := range found {
		h := Hook{Path: c.path, Managed: c.refused == nil && managed(c.path)}
		if c.refused != nil {
			h.Refused = c.refused.Error()
		}
		list = append(list, h)
	}
	return list, err
}

// Run tells ev to every hook, one after the other: the directories in order,
// the files of each by ascending name. Hooks for whose path skip answers true
// are passed over; a nil skip passes over none.
//
// The results say what each hook made of it, and one hook's failure never
// stops the next. The error is about the rest: an event that may not be told
// (nothing ran then), directories that could not be used (see RefusedError;
// the hooks of the others did run), or the end of ctx, which also ends a hook
// that is running.
func (r *Runner) Run(ctx context.Context, ev Event, skip func(path string) bool) ([]Result, error) {
	if err := ev.check(); err != nil {
		return nil, err
	}
	found, err := r.find()
	env := r.environ(ev)
	var results []Result
	for _, c := range found {
		if skip != nil && skip(c.path) {
			continue
		}
		if ctx.Err() != nil {
			return results, errors.Join(err, fmt.Errorf("hooks for %s: %w", ev.Name, context.Cause(ctx)))
		}
		if c.refused != nil {
			results = append(results, Result{Hook: c.path, Outcome: Refused, Code: -1, Err: c.refused})
			continue
		}
		results = append(results, r.run(ctx, c, ev, env))
	}
	return results, err
}

// candidate is an executable found in a hook directory.
type candidate struct {
	path    string
	sudo    bool  // to be run by sudo, see needsSudo
	refused error // why it must not be run
}

// find lists the executables of all directories in the order they run. A
// directory that is named twice, be it by a link, counts once.
func (r *Runner) find() ([]candidate, error) {
	var found []candidate
	var errs []error
	var seen []fs.FileInfo
	taken := make(map[string]bool)
	for _, dir := range r.Dirs {
		dir, err := filepath.Abs(dir)
		if err != nil {
			errs = append(errs, fmt.Errorf("hook directory %s: %w", dir, err))
			continue
		}
		info, err := vetDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("hook directory %s: %w", dir, err))
			continue
		}
		if slices.ContainsFunc(seen, func(other fs.FileInfo) bool { return os.SameFile(info, other) }) {
			continue
		}
		seen = append(seen, info)
		list, err := candidates(dir, taken)
		if err != nil {
			errs = append(errs, fmt.Errorf("hook directory %s: %w", dir, err))
		}
		found = append(found, list...)
	}
	return found, errors.Join(errs...)
}

// candidates lists the executables of one directory by ascending name. A bundled
// hook gives way to a file of its name in an earlier directory: a package has put
// it there, and the other is a copy, a version of one's own, or an empty file
// that turns it off. The names of all files are added to taken.
func candidates(dir string, taken map[string]bool) ([]candidate, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := names(f)
	if err != nil {
		return nil, err
	}
	var list []candidate
	for _, name := range entries {
		if leftover(name) {
			continue
		}
		c := candidate{path: filepath.Join(dir, name)}
		if taken[name] && bundled(name) && managed(c.path) {
			continue
		}
		taken[name] = true
		info, err := vetFile(c.path)
		switch {
		case err != nil:
			c.refused = err
		case info == nil:
			continue // not a hook
		default:
			c.sudo = needsSudo(c.path, info)
		}
		list = append(list, c)
	}
	return list, nil
}

// names lists what is in a directory, ascending. What can't be read is an error,
// not an empty directory: events would count as delivered.
func names(dir interface {
	Readdirnames(n int) ([]string, error)
}) ([]string, error) {
	entries, err := dir.Readdirnames(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(entries) > maxEntries {
		return nil, fmt.Errorf("more than %d files in it: is this really a hook directory?", maxEntries)
	}
	slices.SortFunc(entries, cmp.Compare[string])
	return entries, nil
}

// leftover reports whether a file name is hidden or one that editors and
// package managers leave behind; running those would run a hook twice.
func leftover(name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || strings.Contains(name, ".dpkg-") {
		return true
	}
	switch filepath.Ext(name) {
	case ".rpmsave", ".rpmnew", ".rpmorig", ".ucf-old", ".ucf-new", ".ucf-dist":
		return true
	}
	return false
}
