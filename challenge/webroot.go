package challenge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"certd/acme"
)

// StandardWebroot is the challenge directory that is always written to, beside
// those configured; acmetool's, and the redirector's.
const StandardWebroot = "/run/acme/acme-challenge"

// tempPrefix begins the names of files not finished yet, before the token.
const tempPrefix = ".certd-"

// A Webroot writes answers as files that a web server serves under PathPrefix.
// Every call opens the directories anew and reaches files only through the
// opened directory, so no token and no symbolic link can lead elsewhere.
type Webroot struct {
	// Dirs are complete challenge directories, absolute. One that is missing is
	// created with mode 0755 if its parent exists; for a path that ends in
	// .well-known/acme-challenge, and for StandardWebroot, if its grandparent does.
	Dirs []string
}

// Name is "webroot" and the directories.
func (w *Webroot) Name() string { return "webroot " + strings.Join(w.Dirs, " ") }

func (w *Webroot) advice() string {
	return "the web server must serve the files of " + strings.Join(w.Dirs, " or ") + " under " + PathPrefix
}

// Present writes a file named like the token, with mode 0644 whatever the umask,
// into every directory. It fails only if no directory could be written, with
// every reason.
func (w *Webroot) Present(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	_, err := w.present(ctx, id, ch)
	return err
}

func (w *Webroot) present(ctx context.Context, id acme.Identifier, ch acme.Challenge) (failed reasons, err error) {
	if err := check(id, ch); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("write challenge file for %s: %w", id.Value, err)
	}
	if len(w.Dirs) == 0 {
		return nil, errors.New("webroot: no directory is configured; set request.challenge.webroot-paths")
	}
	for _, dir := range w.Dirs {
		if err := publish(dir, ch); err != nil {
			failed = append(failed, fmt.Errorf("webroot %s: %w", dir, err))
		}
	}
	if len(failed) == len(w.Dirs) {
		return nil, failed
	}
	return failed, nil
}

// CleanUp removes the file from every directory, also if it was never finished. Directories and files that are
// gone already are fine. It needs no time worth a deadline, so ctx is not asked.
func (w *Webroot) CleanUp(_ context.Context, id acme.Identifier, ch acme.Challenge) error {
	if err := check(id, ch); err != nil {
		return err
	}
	var failed reasons
	for _, dir := range w.Dirs {
		if err := remove(dir, ch.Token); err != nil {
			failed = append(failed, fmt.Errorf("webroot %s: remove challenge file: %w", dir, err))
		}
	}
	return failed.err()
}

// publish puts the answer into dir: complete under a temporary name first,
// then renamed, which also replaces whatever (such as a symbolic link) had the name.
func publish(dir string, ch acme.Challenge) error {
	root, err := openWebroot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	temp := tempPrefix + ch.Token + "-" + rand.Text()
	err = writeFile(root, temp, ch.KeyAuthorization)
	if err == nil {
		err = root.Rename(temp, ch.Token)
	}
	if err == nil {
		return nil
	}
	_ = root.Remove(temp) // there may be none
	remedy := ""
	if errors.Is(err, fs.ErrPermission) {
		remedy = " (the user certd runs as must be able to write there)"
	}
	return fmt.Errorf("write challenge file%s: %w", remedy, cause(err))
}

func writeFile(root *os.Root, name, content string) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	err = f.Chmod(0o644)
	if err == nil {
		_, err = f.WriteString(content)
	}
	return errors.Join(err, f.Close())
}

func remove(dir, token string) error {
	root, err := openDir(dir)
	if err == nil {
		defer root.Close()
		removeUnfinished(root, token)
		err = root.Remove(token)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil // what is not there cannot hold a file of ours
	}
	return cause(err)
}

// removeUnfinished removes what a process that was killed in Present left, as far
// as it can: there hardly ever is any, and nobody is served it.
func removeUnfinished(root *os.Root, token string) {
	dir, err := root.Open(".")
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if strings.HasPrefix(name, tempPrefix+token+"-") {
			_ = root.Remove(name)
		}
	}
}

// openWebroot opens dir, and creates it first if it is missing.
func openWebroot(dir string) (*os.Root, error) {
	root, err := openDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createWebroot(dir); err != nil {
			return nil, err
		}
		root, err = openDir(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", cause(err))
	}
	return root, nil
}

// openDir is os.OpenRoot for what is a directory, so that a pipe cannot block it.
func openDir(dir string) (*os.Root, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
	}
	return os.OpenRoot(dir)
}

// createWebroot makes dir, and the directory above it where that belongs to the
// challenge path, with mode 0755 whatever the umask.
func createWebroot(dir string) error {
	dir = filepath.Clean(dir)
	base, levels := filepath.Split(dir)
	if dir == StandardWebroot || strings.HasSuffix(dir, "/.well-known/acme-challenge") {
		parent, last := filepath.Split(filepath.Clean(base))
		base, levels = parent, filepath.Join(last, levels)
	}
	root, err := openDir(base)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create directory: %s does not exist; create it, or correct request.challenge.webroot-paths: %w", filepath.Clean(base), cause(err))
	}
	if err != nil {
		return fmt.Errorf("create directory in %s: %w", filepath.Clean(base), cause(err))
	}
	defer root.Close()
	for name := ""; levels != ""; {
		first, rest, _ := strings.Cut(levels, "/")
		name, levels = filepath.Join(name, first), rest
		err := root.Mkdir(name, 0o755)
		if err == nil {
			err = root.Chmod(name, 0o755)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("create directory %s: %w", filepath.Join(base, name), cause(err))
		}
	}
	return nil
}
