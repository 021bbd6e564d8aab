package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Targets is what is wanted: everything in desired/, over conf/target.
type Targets struct {
	Default *Target   // conf/target; certd's defaults if there is none
	Targets []*Target // by File
	// Errors are the mistakes of files in desired/ that could not be used, by
	// file and line. They never hide the other files.
	Errors []error
	// Unread are the files of desired/ that Errors are about. Their targets
	// are still wanted, it is only not known how.
	Unread map[string]bool
}

// LoadTargets reads conf/target and desired/ of the state directory. Hidden
// files are ignored, as acmetool does; a missing directory is an empty one. A
// mistake in conf/target is an error, since every target rests on it: without
// it a name could go to the wrong CA. A mistake in a file of desired/ is not;
// see Targets.Errors.
func LoadTargets(stateDir string) (*Targets, error) { return LoadTargetsOver(stateDir, nil) }

// LoadTargetsOver is LoadTargets with base in place of conf/target, which is not
// read then; nil reads it.
func LoadTargetsOver(stateDir string, base *Target) (*Targets, error) {
	ts := &Targets{Default: inherit(nil), Unread: map[string]bool{}}
	dir, err := openDir(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return ts, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if ts.Default = base; base == nil {
		if ts.Default, err = loadDefault(dir); err != nil {
			return nil, err
		}
	}
	return ts, ts.load(dir)
}

// load reads desired/, several files at once.
func (ts *Targets) load(dir *os.Root) error {
	files, err := listDir(dir, "desired")
	if err != nil || len(files) == 0 {
		return err
	}
	desired, err := dir.OpenRoot("desired")
	if err != nil {
		return fmt.Errorf("open desired: %w", err)
	}
	defer desired.Close()
	files = slices.DeleteFunc(files, func(file string) bool { return strings.HasPrefix(file, ".") })
	targets, errs := make([]*Target, len(files)), make([]error, len(files))
	var next atomic.Int64
	var readers sync.WaitGroup
	for range min(len(files), 2*runtime.GOMAXPROCS(0)) {
		readers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(files); i = int(next.Add(1)) - 1 {
				targets[i], errs[i] = loadTarget(dir, desired, files[i], ts.Default)
			}
		})
	}
	readers.Wait()
	ts.Targets = make([]*Target, 0, len(files))
	for i, err := range errs {
		if err != nil {
			ts.Errors = append(ts.Errors, split(err)...)
			ts.Unread[files[i]] = true
			continue
		}
		ts.Targets = append(ts.Targets, targets[i])
	}
	return nil
}

// loadTarget reads one file of desired/, which is in dir.
func loadTarget(dir, desired *os.Root, file string, base *Target) (*Target, error) {
	if err := checkFile(file); err != nil {
		return ParseTarget(file, nil, base) // which says so
	}
	data, err := readFile(desired, file)
	if err != nil { // perhaps a link to elsewhere in the state directory
		data, err = readFile(dir, "desired/"+file)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Mistake{File: "desired/" + file, Text: "is a link that leads nowhere; remove it"}
	}
	if err != nil {
		if to, e := desired.Readlink(file); e == nil && (filepath.IsAbs(to) || !filepath.IsLocal(filepath.Join("desired", to))) {
			return nil, &Mistake{File: "desired/" + file, Text: "is a link to " + strconv.Quote(to) + ", outside the state directory, and not followed; put the file here"}
		}
		return nil, err
	}
	return ParseTarget(file, data, base)
}

// loadDefault reads conf/target and the older files that fill its gaps.
func loadDefault(dir *os.Root) (*Target, error) {
	data, err := readFile(dir, "conf/target")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	webroots, err := legacyWebroots(dir)
	if err != nil {
		return nil, err
	}
	bits, err := legacyBits(dir)
	if err != nil {
		return nil, err
	}
	return ParseDefault("conf/target", data, webroots, bits)
}

// legacyWebroots reads conf/webroot-path: one webroot in a line.
func legacyWebroots(dir *os.Root) ([]string, error) {
	const path = "conf/webroot-path"
	data, err := readFile(dir, path)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	var webroots []string
	line := 0
	for s := range strings.Lines(string(data)) {
		line++
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		webroot, err := absolute(s)
		if err != nil {
			return nil, &Mistake{File: path, Line: line, Text: err.Error()}
		}
		webroots = append(webroots, webroot)
	}
	return webroots, nil
}

// legacyBits reads conf/rsa-key-size: a number.
func legacyBits(dir *os.Root) (int, error) {
	const path = "conf/rsa-key-size"
	data, err := readFile(dir, path)
	if err != nil {
		return 0, ignoreMissing(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || n < 1 {
		return 0, &Mistake{File: path, Line: 1, Text: fmt.Sprintf("want a number of bits, found %s", quote(string(data)))}
	}
	return n, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// openDir opens the state directory, so that no link inside leads out of it.
func openDir(path string) (*os.Root, error) {
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	return dir, nil
}

// listDir returns the names in a directory, sorted; none if it is missing.
func listDir(dir *os.Root, path string) ([]string, error) {
	f, err := dir.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, fmt.Errorf("list %s: %w", path, err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", path, err)
	}
	slices.Sort(names)
	return names, nil
}

// readFile reads a regular file of at most 1 MiB. Its errors are Mistakes.
func readFile(dir *os.Root, path string) ([]byte, error) {
	f, err := dir.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, &Mistake{File: path, Text: cause(err), Err: err}
	}
	defer f.Close()
	if err := regular(f); err != nil {
		return nil, &Mistake{File: path, Text: err.Error(), Err: err}
	}
	data, err := readAll(f, maxFile)
	if err != nil {
		return nil, &Mistake{File: path, Text: cause(err), Err: err}
	}
	return data, nil
}

// cause is what the operating system says, without the path, which the
// message has already.
func cause(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}

// openRegular opens a regular file outside the state directory without ever
// waiting for it.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := regular(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return f, nil
}

// regular refuses directories, pipes and devices.
func regular(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		return errors.New("is a directory; want a file")
	}
	if !info.Mode().IsRegular() {
		return errors.New("is no regular file")
	}
	return nil
}

// readAll reads at most limit bytes.
func readAll(f *os.File, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("is larger than %d bytes", limit)
	}
	return data, nil
}
