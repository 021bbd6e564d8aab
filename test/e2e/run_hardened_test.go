package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"certd/acme/acmetest"
	"certd/test/ports"
)

const nobody = 65534

// TestRunConfinedWithHooksAsRoot: the daemon as certd.service confines it, as
// far as that is possible without systemd as process 1: a user who is not root,
// no capability, and only the system calls of SystemCallFilter=. It obtains a
// certificate, and the helper behind certd-hooks.socket runs its hook as root.
// What root then does by hand belongs to the daemon's user.
func TestRunConfinedWithHooksAsRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can have a helper that is root")
	}
	ca := acmetest.StartT(t, acmetest.Options{})
	s, port := daemonSite(t, ca)
	ran := filepath.Join(s.dir, "ran")
	s.write("hooks/who", "#!/bin/sh\n[ \"$1\" = live-updated ] || exit 42\n{ id -u; cat; } >>"+ran+"\n")
	s.write("acme/desired/www.example.test", "")
	openTo(t, certdPath, s.dir, s.hooks, s.state)
	if err := os.Chmod(filepath.Join(s.hooks, "who"), 0o755); err != nil {
		t.Fatal(err)
	}
	give(t, s.state, nobody)
	socket := s.hookHelper()
	r := s.daemon(func(cmd *exec.Cmd) {
		cmd.Args = append(cmd.Args, "--hooks-socket", socket)
		confine(t, cmd)
	})
	r.healthy(port, "")
	waitFor(t, "the hook ran", func() bool { return strings.Count(s.peek("ran"), "\n") >= 2 })
	if got, want := s.peek("ran"), "0\nwww.example.test\n"; got != want {
		t.Errorf("the hook was run by and for\n%s, want\n%s", got, want)
	}
	s.leaf("www.example.test")

	s.must(0, "want", "byroot.example.test")
	waitFor(t, "what root wants", s.isLive("byroot.example.test")) // the daemon's work if it was at work just then
	s.leaf("byroot.example.test")
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	<-r.done
	err := filepath.WalkDir(s.state, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if uid := info.Sys().(*syscall.Stat_t).Uid; uid != nobody && d.Type() != fs.ModeSymlink {
			t.Errorf("%s belongs to user %d, and the daemon cannot change it", path, uid)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if strings.Contains(r.log.String(), "not permitted") || strings.Contains(r.log.String(), "permission denied") {
		t.Errorf("the daemon was refused something:\n%s", r.log)
	}
}

// TestRedirectorConfined: the redirector works within the bounds of its unit.
func TestRedirectorConfined(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can start it as another user")
	}
	s, port := newSite(t, faraway{}, ""), ports.Free(t)
	s.write("acme/desired/www.example.test", "")
	s.write("acme/keys/k/privkey", "secret")
	if err := os.Chmod(filepath.Join(s.state, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	openTo(t, certdPath, s.state)
	cmd := s.command(t.Context(), "redirector", "--listen", fmt.Sprintf("127.0.0.1:%d", port))
	confine(t, cmd)
	log := &logBuffer{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	waitFor(t, "a redirect", func() bool {
		status, answer, err := get(port, "/x?y", "www.example.test")
		return err == nil && status == 308 && strings.HasSuffix(answer, "https://www.example.test/x?y")
	})
	if strings.Contains(log.String(), "not permitted") {
		t.Errorf("the redirector was refused something:\n%s", log)
	}
}

// peek returns a file of the site; "" if it is not there.
func (s *site) peek(name string) string {
	data, _ := os.ReadFile(filepath.Join(s.dir, name))
	return string(data)
}

// hookHelper is certd-hooks.socket: it starts certd hooks serve for each connection.
func (s *site) hookHelper() (socket string) {
	s.t.Helper()
	program := needProgram(s.t, "systemd-socket-activate")
	dir, err := os.MkdirTemp("", "certd-hooks-") // t.TempDir may be too long for a socket
	if err != nil {
		s.t.Fatal(err)
	}
	socket = filepath.Join(dir, "hooks.sock")
	cmd := exec.Command(program, "--accept", "--inetd", "--listen="+socket,
		certdPath, "--state", s.state, "--hooks", s.hooks, "--batch", "hooks", "serve")
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		os.RemoveAll(dir)
	})
	waitFor(s.t, "the helper listens", func() bool {
		info, err := os.Stat(socket)
		return err == nil && info.Mode().Type() == fs.ModeSocket
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		s.t.Fatal(err)
	}
	return socket
}

// confine has the command run as nobody, without capabilities, and without the
// system calls that the units do not allow: strace has them fail with EPERM.
func confine(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	setpriv, strace := needProgram(t, "setpriv"), needProgram(t, "strace")
	may := allowed(t)
	denied := slices.DeleteFunc(syscalls(t, "@known"), func(name string) bool { return slices.Contains(may, name) })
	if len(denied) < 100 || slices.Contains(denied, "read") || !slices.Contains(denied, "mount") {
		t.Fatalf("denied system calls: %v", denied)
	}
	set := "?" + strings.Join(denied, ",?")
	cmd.Args = append([]string{setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all",
		strace, "-D", "-f", "--seccomp-bpf", "-qqq", "-o", "/dev/null", "-e", "trace=" + set, "-e", "inject=" + set + ":error=EPERM",
		certdPath}, cmd.Args[1:]...)
	cmd.Path = setpriv
}

// allowed are the system calls of SystemCallFilter= in the units.
func allowed(t *testing.T) []string {
	t.Helper()
	refused := append(syscalls(t, "@privileged"), syscalls(t, "@resources")...)
	list := slices.DeleteFunc(syscalls(t, "@system-service"), func(name string) bool { return slices.Contains(refused, name) })
	return append(list, syscalls(t, "@default")...)
}

// syscalls are those of a set of systemd's.
func syscalls(t *testing.T, set string) []string {
	t.Helper()
	out, err := exec.Command(needProgram(t, "systemd-analyze"), "syscall-filter", "--no-pager", set).Output()
	if err != nil {
		t.Fatalf("systemd-analyze syscall-filter %s: %v", set, err)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		switch {
		case line == set || line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "@"):
			names = append(names, syscalls(t, line)...)
		default:
			names = append(names, line)
		}
	}
	return names
}

// openTo lets everybody reach paths.
func openTo(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		for ; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
			if info, err := os.Stat(path); err == nil && info.Mode()&0o005 != 0o005 {
				if err := os.Chmod(path, info.Mode()|0o055); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// give makes a tree a user's.
func give(t *testing.T, dir string, uid int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestHooksServeIsForSystemd: started by hand it says so.
func TestHooksServeIsForSystemd(t *testing.T) {
	t.Parallel()
	s := newSite(t, faraway{}, "")
	if r := s.must(64, "hooks", "serve"); !strings.Contains(r.err, "certd-hooks.socket") {
		t.Errorf("certd hooks serve by hand: %v", r)
	}
	socket := s.hookHelper()
	var d net.Dialer
	conn, err := d.DialContext(context.Background(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close() // the helper's complaint is its own; it must be there for the next one
	if conn, err = d.DialContext(context.Background(), "unix", socket); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
}

// faraway is a CA that is never asked.
type faraway struct{}

func (faraway) URL() string      { return "https://ca.example/directory" }
func (faraway) RootsPEM() []byte { return nil }
