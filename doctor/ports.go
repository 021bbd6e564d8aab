package doctor

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"certd/challenge"
)

// Bounds of looking through /proc.
const (
	maxSockets   = 1 << 16
	maxProcesses = 1 << 16
	maxFiles     = 1 << 12 // open files of one process
)

// holders are the listening TCP ports of this machine and the processes that
// hold them, as far as this user may know: an empty text is one that is not known.
type holders map[int]string

// certd reports whether a port is held by a certd.
func (h holders) certd(port int) bool { return strings.HasPrefix(h[port], "certd ") }

// port is where the CA looks.
func (r *run) port() int {
	if p := r.settings.Challenge.HTTPPort; p != 0 {
		return p
	}
	return 80
}

// held says who has the port, for the end of a text.
func (r *run) held() string {
	holder, taken := r.holders[r.port()]
	switch {
	case !taken:
		return ""
	case holder == "":
		return fmt.Sprintf(" (port %d is held by a process that this user may not see)", r.port())
	}
	return fmt.Sprintf(" (port %d is held by %s)", r.port(), holder)
}

// ports looks at the port of the CA before anything of ours listens on it.
func (r *run) ports(subjects []subject) {
	r.holders = listening("/proc")
	if r.holders == nil || len(subjects) == 0 {
		return
	}
	check := "port " + strconv.Itoa(r.port())
	holder, taken := r.holders[r.port()]
	if taken && holder == "" {
		holder = "a process that this user may not see"
	}
	uses := func(methods ...string) bool {
		return slices.ContainsFunc(subjects, func(s subject) bool {
			return slices.Contains(methods, s.target.Challenge.Method) && len(s.target.Challenge.HTTPPorts) == 0
		})
	}
	needsServer := uses(challenge.MethodWebroot, challenge.MethodProxy, challenge.MethodRedirector, challenge.MethodStateless)
	switch {
	case taken && uses(challenge.MethodListen) && !r.holders.certd(r.port()):
		r.add(check, "", Failure, "held by "+holder+", and the method listen needs it", "stop that, or let it answer: request.challenge.method proxy, webroot or redirector")
	case taken:
		r.add(check, "", OK, "held by "+holder, "")
	case needsServer:
		r.add(check, "", Warning, "nothing listens on it here, and the method needs a web server or the redirector", "start it; if another machine has the addresses of the names, all is well")
	default:
		r.add(check, "", OK, "free: certd listens on it while a challenge runs, if it may", "")
	}
}

// listening reads the sockets and their owners from a /proc file system; nil if
// there is none.
func listening(proc string) holders {
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
	h := holders{}
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
func (h holders) claim(proc, pid string, inodes map[string]int) {
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
		h[port] = fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), pid)
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
