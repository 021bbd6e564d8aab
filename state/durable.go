package state

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// A tree writes below one directory. Everything becomes visible by one rename of
// something that is complete and durable already, so a crash between any two
// steps leaves the old or the new, and something in tmp/:
//
//	file       create in tmp/, fchown, fchmod, write, fsync, rename, fsync parent
//	link       symlink in tmp/, rename, fsync parent
//	directory  mkdir in tmp/, fill, fsync, rename, fsync parent
//	removal    rename into tmp/ (directories) or unlink, fsync parent
//
// A new target is linked in place of the rename, which would replace another one.
// What is done under the lock for edits has its temporary files hidden in
// desired/, since whoever takes the lock empties tmp/.
type tree struct {
	root   *os.Root
	perms  perms
	step   func(op, path string) error // called before each step; nil means nobody looks
	hidden string                      // directory for temporary files, hidden there; empty is tmp/
}

// hiddenPrefix begins the names of temporary files beside others.
const hiddenPrefix = ".certd-"

// An entry is a file, or with link a symbolic link, of a directory being built.
type entry struct {
	name string
	data []byte
	link string // relative target
}

// do takes one step.
func (t *tree) do(op, name string, f func() error) error {
	if t.step != nil {
		if err := t.step(op, name); err != nil {
			return fmt.Errorf("%s %s: %w", op, name, err)
		}
	}
	return f()
}

// temp is a new name for something that is being made.
func (t *tree) temp() string {
	if t.hidden != "" {
		return path.Join(t.hidden, hiddenPrefix+rand.Text())
	}
	return "tmp/" + rand.Text()
}

// putFile makes name a file with this content. Nothing is written if it is one
// already. keep says that a mode narrower than the rule's, set by somebody by
// hand, survives.
func (t *tree) putFile(name string, data []byte, keep bool) error {
	r := t.perms.at(name)
	fi, err := t.root.Lstat(name)
	if err == nil && !fi.Mode().IsRegular() {
		return fmt.Errorf("write %s: it is a %s, not a file: move it away", name, kind(fi.Mode()))
	}
	if err == nil {
		if old, err := readFile(t.root, name); err == nil && bytes.Equal(old, data) {
			return nil
		}
		if keep {
			r.file &= fi.Mode()
		}
	}
	if err := t.replace(t.temp(), name, data, r); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// replace writes data to a new file at temp and renames it to name.
func (t *tree) replace(temp, name string, data []byte, r rule) error {
	err := t.create(temp, data, r)
	if err == nil {
		err = t.rename(temp, name)
	}
	if err != nil {
		t.root.Remove(temp) // best effort: the next lock empties tmp/
	}
	return err
}

// putNew makes name a file with this content, unless there is one: then the
// error is fs.ErrExist, and nothing has changed.
func (t *tree) putNew(name string, data []byte) error {
	temp := t.temp()
	err := t.create(temp, data, t.perms.at(name))
	if err == nil {
		err = t.do("link", temp+" -> "+name, func() error { return t.root.Link(temp, name) })
	}
	if err != nil {
		t.root.Remove(temp) // best effort: the next lock for edits removes it
		return fmt.Errorf("write %s: %w", name, err)
	}
	return t.remove(temp) // and its directory is durable
}

// create writes a new, durable file that never had other owners or modes than
// the rule's.
func (t *tree) create(name string, data []byte, r rule) error {
	var f *os.File
	err := t.do("create", name, func() (err error) {
		f, err = t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	err = t.own(f, name, r, r.file)
	if err == nil {
		err = t.do("write", name, func() error { _, err := f.Write(data); return err })
	}
	if err == nil {
		err = t.do("fsync", name, f.Sync)
	}
	return errors.Join(err, f.Close())
}

// own gives an open file or directory its owner and its mode, whatever the umask
// was. An owner that cannot be set is an error only if the mode would grant the
// present group what was meant for another.
func (t *tree) own(f *os.File, name string, r rule, mode fs.FileMode) error {
	if r.uid >= 0 || r.gid >= 0 {
		err := t.do("chown", name, func() error {
			f.Chown(r.uid, -1) // not allowed for all but root; the file is ours then, which widens nothing
			return f.Chown(-1, r.gid)
		})
		widens := mode>>3&0o7&^mode != 0 // the group may do what others may not
		if err != nil && widens {
			return fmt.Errorf("give it to group %d as conf/perm says: %w", r.gid, err)
		}
	}
	return t.do("chmod", name, func() error { return f.Chmod(mode) })
}

// putLink makes name a symbolic link to target, in place of whatever link was
// there.
func (t *tree) putLink(name, target string) error {
	temp := t.temp()
	err := t.do("symlink", temp, func() error { return t.root.Symlink(target, temp) })
	if err == nil {
		err = t.rename(temp, name)
	}
	if err != nil {
		t.root.Remove(temp) // best effort: the next lock empties tmp/
		return fmt.Errorf("link %s: %w", name, err)
	}
	return nil
}

// putDir makes a directory with these entries at name, where nothing may be but
// an empty directory. check, if set, is shown the finished directory in tmp/ and
// may refuse it.
func (t *tree) putDir(name string, entries []entry, check func(temp string) error) error {
	temp := t.temp()
	err := t.fill(temp, name, entries)
	if err == nil && check != nil {
		err = check(temp)
	}
	if err == nil {
		err = t.rename(temp, name)
	}
	if err != nil {
		t.root.RemoveAll(temp) // best effort: the next lock empties tmp/
		return fmt.Errorf("make %s: %w", name, err)
	}
	return nil
}

// fill builds in temp what will be the directory name.
func (t *tree) fill(temp, name string, entries []entry) error {
	if err := t.do("mkdir", temp, func() error { return t.root.Mkdir(temp, 0o700) }); err != nil {
		return err
	}
	// By path, since a umask such as 0777 leaves a directory one cannot open.
	if err := t.do("chmod", temp, func() error { return t.root.Chmod(temp, 0o700) }); err != nil {
		return err
	}
	for _, e := range entries {
		var err error
		at := path.Join(temp, e.name)
		if e.link != "" {
			err = t.do("symlink", at, func() error { return t.root.Symlink(e.link, at) })
		} else {
			err = t.create(at, e.data, t.perms.at(path.Join(name, e.name)))
		}
		if err != nil {
			return err
		}
	}
	f, err := t.root.Open(temp)
	if err != nil {
		return err
	}
	r := t.perms.at(name)
	err = t.own(f, temp, r, r.dir)
	if err == nil {
		err = t.do("syncdir", temp, f.Sync)
	}
	return errors.Join(err, f.Close())
}

// ensureDir makes an empty directory at name unless there is one.
func (t *tree) ensureDir(name string) error {
	fi, err := t.root.Lstat(name)
	if err == nil && !fi.IsDir() {
		return fmt.Errorf("make %s: it is a %s, not a directory: move it away", name, kind(fi.Mode()))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return t.putDir(name, nil, nil)
}

// remove unlinks a file or link; one that is not there is fine.
func (t *tree) remove(name string) error {
	err := t.do("unlink", name, func() error { return t.root.Remove(name) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = t.syncDir(path.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// removeDir removes a directory and what is in it: at once for everybody who
// looks, piece by piece in tmp/.
func (t *tree) removeDir(name string) error {
	temp := t.temp()
	err := t.rename(name, temp)
	if err == nil {
		err = t.syncDir(path.Dir(name))
	}
	if err == nil {
		err = t.do("unlink", temp, func() error { return t.root.RemoveAll(temp) })
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

func (t *tree) rename(from, to string) error {
	if err := t.do("rename", from+" -> "+to, func() error { return t.root.Rename(from, to) }); err != nil {
		return err
	}
	return t.syncDir(path.Dir(to))
}

func (t *tree) syncDir(name string) error {
	return t.do("syncdir", name, func() error {
		f, err := t.root.Open(name)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// ReplaceFile writes a file elsewhere than in a state directory by the same
// protocol: the temporary file lies beside it, hidden. The file gets exactly the
// mode perm; a link at name is replaced, not followed. It writes even if the
// content is right already, so that the file's time says when it was renewed.
func ReplaceFile(name string, data []byte, perm fs.FileMode) error {
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer root.Close()
	base := filepath.Base(name)
	t := &tree{root: root, hidden: "."}
	if err := t.replace(t.temp(), base, data, rule{file: perm, uid: -1, gid: -1}); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
