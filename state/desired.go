package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
)

// maxSameName bounds the target files that begin with the same name.
const maxSameName = 1000

// editTries bounds how often an edit begins anew because somebody without the
// lock for edits, such as a person with an editor, changed the file meanwhile.
const editTries = 3

// AddDesired writes a new target file to desired/: under the given name, or with
// "-2", "-3" and so on behind it if that is taken; no file is ever replaced. It
// returns the name used. It needs the lock for edits, not that of a pass.
func (s *Store) AddDesired(name string, data []byte) (file string, err error) {
	t, err := s.editor()
	if err != nil {
		return "", fmt.Errorf("add target %s: %w", name, err)
	}
	for i := 1; i <= maxSameName; i++ {
		file = name
		if i > 1 {
			file = fmt.Sprintf("%s-%d", name, i)
		}
		if err := checkFileName(file); err != nil {
			return "", fmt.Errorf("add target: %w", err)
		}
		_, err := t.root.Lstat("desired/" + file)
		if errors.Is(err, fs.ErrNotExist) {
			err = t.putNew("desired/"+file, data)
		} else if err == nil {
			err = fs.ErrExist
		}
		if !errors.Is(err, fs.ErrExist) {
			return file, err
		}
	}
	return "", fmt.Errorf("add target %s: %d files in desired/ begin with that name: join some of them", name, maxSameName)
}

// EditDesired makes a target file what edit returns for its content; nil removes
// the file. Nothing is written if that is its content already. A file whose mode
// is narrower than that of conf/perm keeps it, for it may hold credentials. If
// somebody else changed the file meanwhile, edit is called again. It needs the
// lock for edits, not that of a pass.
func (s *Store) EditDesired(file string, edit func(old []byte) ([]byte, error)) error {
	t, err := s.editor()
	if err == nil {
		err = checkFileName(file)
	}
	for try := 1; err == nil; try++ {
		changed := false
		if changed, err = t.edit("desired/"+file, edit); err == nil && !changed {
			return nil
		}
		if err == nil && try == editTries {
			err = errors.New("somebody else is changing it: try again")
		}
	}
	return fmt.Errorf("edit target %s: %w", file, err)
}

// edit does what EditDesired says, once; changed says that it was in vain.
func (t *tree) edit(name string, edit func([]byte) ([]byte, error)) (changed bool, err error) {
	fi, err := t.root.Lstat(name)
	if err != nil {
		return false, err
	}
	old, err := readFile(t.root, name)
	if err != nil {
		return false, err
	}
	data, err := edit(old)
	if err != nil || data != nil && bytes.Equal(old, data) {
		return false, err
	}
	temp := t.temp()
	defer t.root.Remove(temp) // gone by then, if all went well
	if data != nil {
		r := t.perms.at(name)
		r.file &= fi.Mode()
		if err := t.create(temp, data, r); err != nil {
			return false, err
		}
	}
	if now, err := readFile(t.root, name); err != nil || !bytes.Equal(now, old) {
		return true, nil // the next try says what is wrong
	}
	if data == nil {
		return false, t.remove(name)
	}
	return false, t.rename(temp, name)
}
