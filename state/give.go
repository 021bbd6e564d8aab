package state

import (
	"io/fs"
	"os"
	"syscall"
)

// ownedBy makes the owner of the state directory the owner of whatever conf/perm
// says nothing about, if this process is root and the directory is not root's.
// So a daemon that is not root can read what root did in its directory by hand.
func (p perms) ownedBy(dir fs.FileInfo, euid int) {
	st, ok := dir.Sys().(*syscall.Stat_t)
	if !ok || euid != 0 || st.Uid == 0 {
		return
	}
	for pattern, r := range p {
		if r.uid < 0 {
			r.uid = int(st.Uid)
		}
		if r.gid < 0 {
			r.gid = int(st.Gid)
		}
		p[pattern] = r
	}
}

// give makes f, which this process has just created in place, its rule's.
func give(f *os.File, r rule) error {
	if r.uid < 0 && r.gid < 0 {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 || st.Uid != 0 || info.Mode().IsRegular() && st.Nlink != 1 {
		return nil // not made by root, or not here alone
	}
	return f.Chown(r.uid, r.gid)
}
