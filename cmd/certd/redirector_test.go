package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const challengeToken = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"

// A redirectorSite is a state directory that every user may look into, and a
// challenge directory.
type redirectorSite struct {
	t          *testing.T
	state, web string
}

func newRedirectorSite(t *testing.T) *redirectorSite {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // other users must get there
		t.Fatal(err)
	}
	s := &redirectorSite{t, filepath.Join(dir, "acme"), filepath.Join(dir, "web")}
	s.write(0o644, "desired/www.example.com", "")
	s.write(0o644, "desired/w", "satisfy: {names: ['*.wild.example.com', ip.example.com]}\n")
	s.write(0o600, "keys/"+strings.Repeat("k", 52)+"/privkey", "secret")
	s.write(0o600, "keys/"+challengeToken, challengeToken+".thumb")
	s.link("live/live.example.com:label")
	for _, name := range []string{"keys", "keys/" + strings.Repeat("k", 52)} {
		if err := os.Chmod(filepath.Join(s.state, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.write(0o644, "../web/"+challengeToken, challengeToken+".thumb")
	return s
}

func (s *redirectorSite) write(mode os.FileMode, name, data string) {
	s.t.Helper()
	path := filepath.Join(s.state, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	syscall.ForkLock.RLock() // or a process being started keeps it open, and it cannot be executed
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(data), mode); err != nil {
		s.t.Fatal(err)
	}
}

func (s *redirectorSite) link(name string) {
	s.t.Helper()
	path := filepath.Join(s.state, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Symlink("../certs/"+strings.Repeat("a", 52), path); err != nil {
		s.t.Fatal(err)
	}
}

// A redirectorProcess is a certd redirector that runs.
type redirectorProcess struct {
	t      *testing.T
	cmd    *exec.Cmd
	addr   string
	notify *net.UnixConn
	log    strings.Builder
	logged chan struct{}
}

// start runs certd redirector through a shell line that ends in "certd
// redirector", and waits until it has said that it is ready.
func (s *redirectorSite) start(line string, files []*os.File, args ...string) *redirectorProcess {
	s.t.Helper()
	dir, err := os.MkdirTemp("", "certd-notify-") // t.TempDir may be too long for a socket
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	socket := filepath.Join(dir, "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = notify.Close() })
	if err := os.Chmod(socket, 0o777); err != nil {
		s.t.Fatal(err)
	}
	p := &redirectorProcess{t: s.t, notify: notify, logged: make(chan struct{})}
	args = append([]string{"-c", line + ` "$@"`, "sh", "--state", s.state, "--log-format", "json"}, args...)
	p.cmd = exec.CommandContext(s.t.Context(), "sh", args...)
	p.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket)
	p.cmd.ExtraFiles = files
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	serves := make(chan string, 1)
	go func() {
		defer close(p.logged)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.log.WriteString(lines.Text() + "\n")
			var entry struct{ Msg, Addresses string }
			if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "redirector serves" {
				serves <- entry.Addresses
			}
		}
	}()
	select {
	case p.addr = <-serves:
	case <-p.logged:
		s.t.Fatalf("certd redirector ended: %s", p.log.String())
	}
	if text := p.told(); !strings.HasPrefix(text, "READY=1\nSTATUS=") {
		s.t.Errorf("systemd was told %q first, want READY=1 and a status", text)
	}
	return p
}

// told is the next thing that systemd is told.
func (p *redirectorProcess) told() string {
	p.t.Helper()
	if err := p.notify.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		p.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := p.notify.Read(buf)
	if err != nil {
		p.t.Fatalf("systemd was told nothing: %v", err)
	}
	return string(buf[:n])
}

func (p *redirectorProcess) get(host, path string) (status int, location, body string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), "GET", "http://"+p.addr+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Location"), string(data)
}

// end sends SIGTERM and expects a good end.
func (p *redirectorProcess) end() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	<-p.logged
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("after SIGTERM: %v", err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to give it up")
	}
}

const certdRedirector = "exec certd redirector"

// The whole life of a redirector that root starts: it serves as somebody else
// in every thread, and cannot read a key even if it is told to serve one.
func TestRedirectorGivesUpRoot(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := newRedirectorSite(t)
	p := s.start(certdRedirector, nil, "--listen", "127.0.0.1:0", "--path", filepath.Join(s.state, "keys"), "--path", s.web)
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.cmd.Process.Pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("no threads found: %v", err)
	}
	for _, path := range threads {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		for _, want := range []string{"Uid:\t1\t1\t1\t1\n", "Gid:\t1\t1\t1\t1\n", "Groups:\t \n", "CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n", "CapAmb:\t0000000000000000\n"} {
			if !strings.Contains(string(data), want) {
				t.Errorf("a thread does not have %q:\n%s", want, data)
			}
		}
	}
	if status, location, _ := p.get("WWW.example.com:8080", "/a?b"); status != 308 || location != "https://www.example.com/a?b" {
		t.Errorf("got %d to %q", status, location)
	}
	for host, want := range map[string]int{"a.wild.example.com": 308, "a.b.wild.example.com": 421, "wild.example.com": 421, "live.example.com": 308, "evil.example": 421} {
		if status, _, _ := p.get(host, "/"); status != want {
			t.Errorf("for %s: got %d, want %d", host, status, want)
		}
	}
	if status, _, body := p.get("evil.example", "/.well-known/acme-challenge/"+challengeToken); status != 200 || body != challengeToken+".thumb" {
		t.Errorf("the challenge file in the webroot: got %d %q", status, body)
	}
	p.end()

	p = s.start(certdRedirector, nil, "--listen", "127.0.0.1:0", "--path", filepath.Join(s.state, "keys"))
	if status, _, body := p.get("www.example.com", "/.well-known/acme-challenge/"+challengeToken); status != 404 {
		t.Errorf("a file in keys/ was read after root was given up: %d %q", status, body)
	}
	p.end()
	p = s.start(certdRedirector, nil, "--listen", "127.0.0.1:0", "--path", filepath.Join(s.state, "keys"), "--user", "")
	if status, _, _ := p.get("www.example.com", "/.well-known/acme-challenge/"+challengeToken); status != 200 {
		t.Errorf("root cannot read the file either (%d), so that the case before shows nothing", status)
	}
	p.end()
	if !strings.Contains(p.log.String(), "can read keys") {
		t.Errorf("serving as root was not warned of: %s", p.log.String())
	}
}

// What is wanted is read again when it changes, and at once on SIGHUP; a broken
// file hides no other; requests are counted for systemd; it ends at once although
// a client is idle.
func TestRedirectorFollowsNames(t *testing.T) {
	t.Parallel()
	s := newRedirectorSite(t)
	who := []string{"--listen", "127.0.0.1:0", "--path", s.web, "--status-code", "301"}
	if os.Getuid() != 0 {
		who = append(who, "--user", "")
	}
	p := s.start(certdRedirector, nil, who...)
	until := func(host string, want int) {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
			status, _, _ := p.get(host, "/")
			if status == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("for %s: still %d, want %d", host, status, want)
			}
		}
	}
	until("new.example.com", 421)
	s.write(0o644, "desired/new.example.com", "")
	until("new.example.com", 301)
	s.write(0o644, "desired/bad", "satisfy: [")
	s.write(0o644, "desired/w", "satisfy: {names: [edited.example.com]}\n")
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until("edited.example.com", 301)
	until("ip.example.com", 421)
	s.write(0o644, "conf/target", "nonsense")
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(p.told(), "redirected") { // the status of a later tick
	}
	until("edited.example.com", 301)
	idle, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	p.end()
	if !strings.Contains(p.log.String(), "those read before stay") {
		t.Errorf("the broken conf/target was not logged: %s", p.log.String())
	}
}

// Sockets of systemd are used in place of --listen.
func TestRedirectorSocketActivation(t *testing.T) {
	t.Parallel()
	s := newRedirectorSite(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	args := []string{"--path", s.web}
	if os.Getuid() != 0 {
		args = append(args, "--user", "")
	}
	p := s.start("LISTEN_FDS=1 LISTEN_FDNAMES=http LISTEN_PID=$$ "+certdRedirector, []*os.File{f}, args...)
	if p.addr != ln.Addr().String() {
		t.Errorf("it serves %s, want %s", p.addr, ln.Addr())
	}
	if status, _, _ := p.get("www.example.com", "/"); status != 308 {
		t.Errorf("got %d, want 308", status)
	}
	p.end()
}

func TestRedirectorRefuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() }) // the cases run after this function
	for _, c := range []struct {
		name, args string
		root       bool
		prepare    func(s *redirectorSite)
		code       int
		says       string
	}{
		{"a status that is no redirect", "--status-code 200", false, nil, exitUsage, "use 301, 302, 307 or 308"},
		{"an address without a port", "--listen localhost", false, nil, exitUsage, `--listen "localhost": want HOST:PORT`},
		{"root by name", "--user root", true, nil, exitUsage, "is root"},
		{"root by number", "--user 0", true, nil, exitUsage, "is root"},
		{"an unknown user", "--user nosuchuser", true, nil, exitFailed, "unknown user nosuchuser"},
		{"a port in use", "--listen " + taken.Addr().String(), false, nil, exitFailed, "in use"},
		{"keys for everybody", "", true, func(s *redirectorSite) {
			for path, mode := range map[string]os.FileMode{"keys": 0o755, "keys/" + strings.Repeat("k", 52): 0o755, "keys/" + strings.Repeat("k", 52) + "/privkey": 0o644} {
				if err := os.Chmod(filepath.Join(s.state, path), mode); err != nil {
					s.t.Fatal(err)
				}
			}
		}, exitFailed, "daemon can read"},
		{"names that cannot be read", "--user 65534", true, func(s *redirectorSite) {
			if err := os.Chmod(filepath.Join(s.state, "desired"), 0o700); err != nil {
				s.t.Fatal(err)
			}
		}, exitPermission, "read the wanted names as nobody"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.root {
				needRoot(t)
			}
			s := newRedirectorSite(t)
			if c.prepare != nil {
				c.prepare(s)
			}
			args := append([]string{"redirector", "--state", s.state, "--path", s.web, "--listen", "127.0.0.1:0"}, strings.Fields(c.args)...)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "certd", args...)
			out, err := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(out), c.says) {
				t.Errorf("exit %d (%v), want %d; it said %q, want %q in it", code, err, c.code, out, c.says)
			}
		})
	}
}
