package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"syscall"
)

// modeBits are the bits of a mode that chmod sets.
const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// Check returns why f cannot be used: an unknown owner or group, or a mode by
// which everybody could read a private key. Store.Publish checks it, too; by then
// a certificate has been obtained.
func (f Files) Check() error {
	_, err := f.over(rule{})
	return err
}

// over returns r with what f says otherwise.
func (f Files) over(r rule) (rule, error) {
	var err error
	if f.Owner != "" {
		if r.uid, err = parseOwner(f.Owner, os.Getuid(), userID); err != nil {
			return r, fmt.Errorf("files.owner: %w", err)
		}
	}
	if f.Group != "" {
		if r.gid, err = parseOwner(f.Group, os.Getgid(), groupID); err != nil {
			return r, fmt.Errorf("files.group: %w", err)
		}
		r.file |= 0o040
	}
	if f.Mode == "" {
		return r, nil
	}
	mode, err := strconv.ParseUint(f.Mode, 8, 12)
	switch {
	case err != nil:
		return r, fmt.Errorf("files.mode %q: want an octal mode such as 0640", f.Mode)
	case mode&0o007 != 0:
		return r, fmt.Errorf("files.mode %q would open the private key to everybody: set files.group, and a mode such as 0640", f.Mode)
	case mode&^0o660 != 0:
		return r, fmt.Errorf("files.mode %q: a private key is not to be executed; want at most 0660", f.Mode)
	}
	r.file = fs.FileMode(mode)
	return r, nil
}

// giveKey gives a key of keys/ to whom f says, and lets them reach it: its
// directory gets the group, or is opened for passing through; so is keys/ unless
// conf/perm has a line for it. Nothing is written if it is right already.
func (t *tree) giveKey(id string, f Files) error {
	if f == (Files{}) {
		return nil
	}
	dir := "keys/" + id
	r, err := f.over(t.perms.at(dir + "/privkey"))
	if err != nil {
		return err
	}
	if f.Group != "" || r.uid >= 0 && r.uid != os.Geteuid() {
		if err := t.openKeyDir(dir, r, f.Group != ""); err != nil {
			return err
		}
	}
	return t.conform(dir+"/privkey", r, r.file, true)
}

// openKeyDir lets the group of r, or else everybody, pass through a directory of
// keys/ and keys/ itself.
func (t *tree) openKeyDir(dir string, r rule, group bool) error {
	d := t.perms.at(dir)
	if group {
		d.gid, d.dir = r.gid, d.dir|0o050
	} else {
		d.dir |= 0o011
	}
	if err := t.conform(dir, d, d.dir, group); err != nil {
		return err
	}
	keys := t.perms.at("keys")
	fi, err := t.root.Lstat("keys")
	if err != nil || keys.said {
		return err
	}
	return t.conform("keys", keys, fi.Mode()&modeBits|0o011, false)
}

// conform gives a file or directory that exists the owners of r and this mode.
// Nothing is written if it has them; on the way it is never more open than before
// or after. That it cannot be given away is an error if strict, or if the mode
// would then grant the present group what was meant for another.
func (t *tree) conform(name string, r rule, mode fs.FileMode, strict bool) error {
	fi, err := t.root.Lstat(name)
	if err != nil {
		return err
	}
	if !fi.IsDir() && !fi.Mode().IsRegular() {
		return fmt.Errorf("set the mode of %s: it is a %s: move it away", name, kind(fi.Mode()))
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	owned := ok && (r.uid < 0 || r.uid == int(st.Uid)) && (r.gid < 0 || r.gid == int(st.Gid))
	if owned && fi.Mode()&modeBits == mode {
		return nil
	}
	f, err := t.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	there, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(fi, there) {
		return fmt.Errorf("set the mode of %s: it is being replaced by somebody else", name)
	}
	if fi.Mode()&modeBits&^mode != 0 {
		if err := t.do("chmod", name, func() error { return f.Chmod(fi.Mode() & mode) }); err != nil {
			return err
		}
	}
	if !owned {
		err := t.do("chown", name, func() error { return f.Chown(r.uid, r.gid) })
		if widens := mode>>3&0o7&^mode != 0; err != nil && (strict || widens) {
			return fmt.Errorf("give %s to user %d and group %d (-1: as it is): %w", name, r.uid, r.gid, err)
		}
	}
	err = t.do("chmod", name, func() error { return f.Chmod(mode) })
	if err == nil {
		err = t.do("fsync", name, f.Sync)
	}
	return err
}

// Narrow takes from everybody the right to read these private keys, as
// Snapshot.TooWide lists them. Owner, group and what the group may do stay.
func (s *Store) Narrow(paths []string) error {
	t, err := s.writer()
	if err != nil {
		return fmt.Errorf("narrow private keys: %w", err)
	}
	var errs []error
	for _, name := range paths {
		if err := t.narrow(name); err != nil {
			errs = append(errs, fmt.Errorf("narrow %s: %w", s.Path(name), err))
		}
	}
	return errors.Join(errs...)
}

func (t *tree) narrow(name string) error {
	isKey := false
	for _, pattern := range []string{"keys/*/privkey", "accounts/*/*/privkey"} {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			isKey = true
		}
	}
	if !isKey || path.Clean(name) != name {
		return fmt.Errorf("%w: that is no private key", fs.ErrInvalid)
	}
	fi, err := t.root.Lstat(name)
	if err != nil {
		return err
	}
	excess := 0o007 &^ t.perms.at(name).file
	return t.conform(name, rule{uid: -1, gid: -1}, fi.Mode()&modeBits&^excess, false)
}
