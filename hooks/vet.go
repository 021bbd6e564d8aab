package hooks

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A RefusedError says why a hook or a hook directory is not trusted. Hooks run
// with all the rights of this process, so whoever may change one has them, too.
type RefusedError struct {
	Path   string      // the file or directory at fault; it may be a parent or the target of a link
	Mode   fs.FileMode // its type and permission bits
	Owner  int         // its owner's user ID
	Reason string      // what is wrong with it
	Remedy string      // a command that mends it
}

// Error reads: refused: /etc/acme/hooks/x (mode -rwxrwxrwx, owner uid 0) may be
// written by everyone; to mend it: chmod go-w /etc/acme/hooks/x
func (e *RefusedError) Error() string {
	return fmt.Sprintf("refused: %s (mode %v, owner uid %d) %s; to mend it: %s",
		show(e.Path), e.Mode, e.Owner, e.Reason, e.Remedy)
}

// vetDir follows dir to a directory that only root and the current user can
// change, by itself or by way of a parent. Anything else is an error, one that
// wraps fs.ErrNotExist if there is nothing.
func vetDir(dir string) (fs.FileInfo, error) {
	at, info, err := follow(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is no directory", show(at))
	}
	return info, vet(at, info)
}

// vetFile follows path to a hook that only root and the current user can
// change. The result is nil without an error if it is not a hook at all: no
// regular file, not executable, empty (which is how a bundled hook is turned
// off), or gone.
//
// The check is made on the path, and it is the path that is executed, for
// scripts are handed their own path by the kernel and use it. Nothing can be
// slipped in between the two: every directory on the way, those of links
// included, was found to be beyond the reach of anybody else.
func vetFile(path string) (fs.FileInfo, error) {
	at, info, err := follow(path)
	if errors.Is(err, fs.ErrNotExist) {
		link, err := os.Lstat(path)
		if err != nil {
			return nil, nil // deleted while we looked
		}
		return nil, refusal(path, link, "points to a file that is not there", "rm "+show(path))
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 || info.Size() == 0 {
		return nil, nil
	}
	return info, vet(at, info)
}

// vet refuses what anybody but root and the current user owns or may write.
func vet(path string, info fs.FileInfo) error {
	if err := vetOwner(path, info); err != nil {
		return err
	}
	switch perm := info.Mode().Perm(); {
	case perm&0o002 != 0:
		return refusal(path, info, "may be written by everyone", "chmod go-w "+show(path))
	case perm&0o020 != 0:
		return refusal(path, info, "may be written by its group", "chmod go-w "+show(path))
	}
	return nil
}

func vetOwner(path string, info fs.FileInfo) error {
	if uid := owner(info); uid != 0 && uid != os.Geteuid() {
		return refusal(path, info, fmt.Sprintf("belongs to neither root nor the current user (uid %d)", os.Geteuid()), "chown -h root "+show(path))
	}
	return nil
}

// follow resolves path, which is absolute, link by link, and vets every
// directory in which a name is looked up. Such a directory may be writable by
// others only if it has the sticky bit, as /tmp has; a name in it that belongs
// to root or the current user is safe from them.
func follow(path string) (string, fs.FileInfo, error) {
	cur, links := "/", 0
	info, err := os.Lstat(cur)
	for rest := split(path); err == nil && len(rest) > 0; {
		var name string
		name, rest = rest[0], rest[1:]
		if err := vetParent(cur, info); err != nil {
			return "", nil, err
		}
		next := filepath.Join(cur, name) // ".." leads out of cur, which is free of links
		if info, err = os.Lstat(next); err != nil {
			break
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			cur = next
			continue
		}
		if links++; links > 40 {
			return "", nil, &fs.PathError{Op: "follow", Path: path, Err: syscall.ELOOP}
		}
		if err := vetOwner(next, info); err != nil {
			return "", nil, err
		}
		target, err := os.Readlink(next)
		if err != nil {
			return "", nil, err
		}
		if filepath.IsAbs(target) {
			cur = "/"
		}
		if info, err = os.Lstat(cur); err != nil {
			return "", nil, err
		}
		rest = append(split(target), rest...)
	}
	return cur, info, err
}

// vetParent vets a directory on the way to a hook.
func vetParent(dir string, info fs.FileInfo) error {
	if !info.IsDir() {
		return &fs.PathError{Op: "look into", Path: dir, Err: syscall.ENOTDIR}
	}
	if info.Mode()&fs.ModeSticky != 0 {
		return vetOwner(dir, info)
	}
	return vet(dir, info)
}

// split cuts path into its names, leaving out empty ones and dots.
func split(path string) []string {
	var names []string
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && name != "." {
			names = append(names, name)
		}
	}
	return names
}

// needsSudo reports whether a vetted hook is to be run by way of sudo. It is
// acmetool's rule: we are not root, the file is a script that root owns, and
// its setuid bit, which the kernel ignores for scripts, says that it should
// run as root.
func needsSudo(path string, info fs.FileInfo) bool {
	if os.Geteuid() == 0 || owner(info) != 0 || info.Mode()&fs.ModeSetuid == 0 {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	magic := make([]byte, 2)
	if _, err := io.ReadFull(f, magic); err != nil || string(magic) != "#!" {
		return false
	}
	_, err = exec.LookPath("sudo")
	return err == nil
}

func refusal(path string, info fs.FileInfo, reason, remedy string) error {
	return &RefusedError{Path: path, Mode: info.Mode(), Owner: owner(info), Reason: reason, Remedy: remedy}
}

// show returns a path as it can be put into a message, quoted if it is unusual.
func show(path string) string {
	if path == clean(path) && !strings.ContainsAny(path, " \t\n\"'\\$`") {
		return path
	}
	return strconv.Quote(path)
}

// owner returns the user ID that owns a file; -1 if the system does not say.
func owner(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
