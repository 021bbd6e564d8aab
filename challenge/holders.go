package challenge

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Bounds of looking through /proc.
const (
	maxSockets   = 1 << 16
	maxProcesses = 1 << 16
	maxFiles     = 1 << 12 // open files of one process
)

// Holders are the listening TCP ports of this machine and the processes that
// hold them, as far as this user may know: an empty text is one that is not known.
type Holders map[int]string

// Certd reports whether a port is held by a certd.
func (h Holders) Certd(port int) bool { return strings.HasPrefix(h[port], "certd ") }

// PortHolders looks at the sockets and processes of this machine; nil where it
// has no /proc.
func PortHolders() Holders { return listening("/proc") }

// inUse says of an address that its port is in use and by whom, as far as that can
// be seen.
func inUse(addr string) string {
	n, err := strconv.Atoi(addr[strings.LastIndex(addr, ":")+1:])
	if err != nil {
		return "in use"
	}
	text := fmt.Sprintf("port %d in use", n)
	if holder := PortHolders()[n]; holder != "" {
		text += " by " + holder
	}
	return text
}

// listening reads the sockets and their owners from a /proc file system; nil if
// there is none.
func listening(proc string) Holders {
	inodes := map[string]int{} // socket inode to port
	found := false
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open(proc + "/net/" + name)
		if err != nil {
			continue
		}
		found = true
		parseSockets(f, inodes)
		_ = f.Close() // only read
	}
	if !found {
		return nil
	}
	h := Holders{}
	for _, port := range inodes {
		h[port] = ""
	}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return h
	}
	for _, e := range entries[:min(len(entries), maxProcesses)] {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			h.claim(proc, e.Name(), inodes)
		}
	}
	return h
}

// claim enters the ports of one process.
func (h Holders) claim(proc, pid string, inodes map[string]int) {
	dir := proc + "/" + pid + "/fd"
	files, err := os.ReadDir(dir)
	if err != nil {
		return // of another user, or gone
	}
	for _, f := range files[:min(len(files), maxFiles)] {
		link, err := os.Readlink(dir + "/" + f.Name())
		if err != nil {
			continue
		}
		inode, ok := strings.CutPrefix(link, "socket:[")
		port, ours := inodes[strings.TrimSuffix(inode, "]")]
		if !ok || !ours || h[port] != "" {
			continue
		}
		name, err := os.ReadFile(proc + "/" + pid + "/comm")
		if err != nil {
			continue
		}
		h[port] = fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), pid)
	}
}

// parseSockets reads a table such as /proc/net/tcp and adds the inode and port
// of each socket that listens. Lines that are not understood are passed over.
func parseSockets(from io.Reader, inodes map[string]int) {
	const listen = "0A"
	lines := bufio.NewScanner(io.LimitReader(from, 64<<20))
	for n := 0; lines.Scan() && n < maxSockets; n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != listen {
			continue
		}
		_, hex, _ := strings.Cut(fields[1], ":")
		if port, err := strconv.ParseUint(hex, 16, 16); err == nil {
			inodes[fields[9]] = int(port)
		}
	}
}
