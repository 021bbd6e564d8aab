package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// A folder is an open directory whose entries are read by the plain system
// calls: a snapshot opens a handful of files for each certificate, and os.Root
// needs several times as many calls for that. Names have one component and links
// are not followed, so nothing leads out of it.
type folder int

// openFolder opens a directory of root.
func openFolder(root *os.Root, dir string) (folder, error) {
	f, err := root.Open(dir)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	return folder(fd), nil
}

func (d folder) close() { _ = unix.Close(int(d)) } // only read from

// open opens an entry without ever waiting for it.
func (d folder) open(name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(int(d), name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err == nil {
			return fd, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return -1, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// folder opens a directory in it.
func (d folder) folder(name string) (folder, error) {
	fd, err := d.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	return folder(fd), err
}

// stat looks at an entry.
func (d folder) stat(name string) (st unix.Stat_t, err error) {
	if err := unix.Fstatat(int(d), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return st, &fs.PathError{Op: "lstat", Path: name, Err: err}
	}
	return st, nil
}

// has reports whether there is an entry of this name.
func (d folder) has(name string) bool {
	_, err := d.stat(name)
	return err == nil
}

// read returns the content of a regular file of at most maxFile bytes, and when
// it was last changed. It lies in *buf, which grows as needed and serves the next
// reading. A link or special file is an error.
func (d folder) read(name string, buf *[]byte) (data []byte, changed unix.Timespec, err error) {
	fd, err := d.open(name, unix.O_RDONLY)
	if err != nil {
		if st, e := d.stat(name); e == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
			err = notFile(name, st.Mode)
		}
		return nil, changed, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, changed, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, changed, notFile(name, st.Mode)
	}
	if int64(cap(*buf)) <= st.Size && st.Size <= maxFile {
		*buf = make([]byte, st.Size+st.Size/4+512)
	}
	data, err = readAll(fd, (*buf)[:0])
	*buf = data[:cap(data)]
	switch {
	case err != nil:
		return nil, changed, &fs.PathError{Op: "read", Path: name, Err: err}
	case len(data) > maxFile:
		return nil, changed, fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	return data, st.Ctim, nil
}

// readAll appends what is in the file, and stops beyond maxFile. A reading that
// leaves room has met the end.
func readAll(fd int, data []byte) ([]byte, error) {
	for len(data) <= maxFile {
		if len(data) == cap(data) {
			data = append(data, make([]byte, 4096)...)[:len(data)]
		}
		n, err := unix.Read(fd, data[len(data):cap(data)])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return data, err
		}
		data = data[:len(data)+n]
		if len(data) < cap(data) {
			break
		}
	}
	return data, nil
}

func notFile(name string, mode uint32) error {
	return fmt.Errorf("%s is a %s, not a file", name, kind(fileMode(mode)))
}

// fileMode turns a mode of the system into that of Go, as far as kind and
// permissions go.
func fileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		m |= fs.ModeDir
	case unix.S_IFLNK:
		m |= fs.ModeSymlink
	case unix.S_IFIFO:
		m |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		m |= fs.ModeSocket
	case unix.S_IFCHR:
		m |= fs.ModeDevice | fs.ModeCharDevice
	default:
		m |= fs.ModeDevice
	}
	return m
}

// readlink returns the text of a link. The error wraps fs.ErrNotExist if nothing
// is there, and says what is there in place of a link.
func (d folder) readlink(name string) (string, error) {
	var buf [512]byte
	for b := buf[:]; ; b = make([]byte, 4*len(b)) {
		n, err := unix.Readlinkat(int(d), name, b)
		if errors.Is(err, unix.EINVAL) {
			st, err := d.stat(name)
			if err != nil {
				return "", err
			}
			return "", fmt.Errorf("%s is a %s, not a link", name, kind(fileMode(st.Mode)))
		}
		if err != nil {
			return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
		}
		if n < len(b) {
			return string(b[:n]), nil
		}
		if len(b) > maxFile {
			return "", &fs.PathError{Op: "readlink", Path: name, Err: io.ErrShortBuffer}
		}
	}
}
