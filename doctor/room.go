package doctor

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// What a file system should have left for the next certificates, and what it must.
const (
	scarceBytes, scarceFiles = 16 << 20, 500
	leastBytes, leastFiles   = 1 << 20, 50
)

// room tells if there is too little of it for what certd writes. Nothing is told
// if there is enough, or if it cannot be seen.
func (r *run) room(dir string) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return
	}
	const readOnly = 1 // ST_RDONLY of statvfs(3)
	result, detail, remedy := judgeRoom(dir, uint64(st.Bavail)*uint64(st.Bsize), uint64(st.Ffree), uint64(st.Files), uint64(st.Flags)&readOnly != 0)
	if result != OK {
		r.add("disk space", "", result, detail, remedy)
	}
}

// judgeRoom judges what a file system has left: bytes, and files (inodes) out of
// all; one that does not count those says 0 of 0.
func judgeRoom(dir string, bytes, files, all uint64, readOnly bool) (result Result, detail, remedy string) {
	bytesLeft, filesLeft := fmt.Sprintf("%s: %d KiB are free", dir, bytes>>10), fmt.Sprintf("%s: %d files (inodes) are free", dir, files)
	const mend = "make room: without it no certificate is renewed"
	switch {
	case readOnly:
		return Failure, dir + " is on a file system that is mounted read-only", "mount it for writing; if the kernel did that, look for disk errors in its log first"
	case bytes < leastBytes:
		return Failure, bytesLeft, mend
	case all > 0 && files < leastFiles:
		return Failure, filesLeft, mend
	case bytes < scarceBytes:
		return Warning, bytesLeft, mend
	case all > 0 && files < scarceFiles:
		return Warning, filesLeft, mend
	}
	return OK, "", ""
}
