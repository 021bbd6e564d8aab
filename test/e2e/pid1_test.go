package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"certd/acme/acmetest"
)

// caDir in the environment makes this test program a CA that writes its URL, its
// roots and settings for certd into that directory.
const caDir = "CERTD_TEST_CA"

// serveCA is the CA inside of a booted system. It validates at port 80.
func serveCA(dir string) int {
	ca, err := acmetest.Start(acmetest.Options{HTTPPort: 80})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "ca.pem"), ca.RootsPEM(), 0o644)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "certd.yaml"), fmt.Appendf(nil, "challenge: {http-port: 80, resolver: %q}\n", ca.Resolver()), 0o644)
	}
	if err == nil { // last: then all is there
		err = os.WriteFile(filepath.Join(dir, "url"), []byte(ca.URL()), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	select {} // until systemd ends it
}

// A booted is a system of its own with systemd as its process 1.
type booted struct {
	t    *testing.T
	root string
	pid  string // of process 1, as seen from here
}

// boot starts a system, or skips the test also where tests are required: it depends on the kernel and on what
// the tests are allowed to, not on what is installed.
func boot(t *testing.T) *booted {
	t.Helper()
	for _, program := range []string{"systemd-sysusers", "unshare", "nsenter", "pivot_root", "setpriv", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	if _, err := os.Stat("/usr/lib/systemd/systemd"); err != nil || os.Geteuid() != 0 {
		t.Skipf("needs root and systemd: %v", err)
	}
	b := &booted{t: t, root: t.TempDir()}
	if err := os.Chmod(b.root, 0o755); err != nil {
		t.Fatal(err)
	}
	b.furnish()
	group := newCgroup(t)
	script, err := filepath.Abs("testdata/pid1.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", script, b.root, group)
	log := &logged{}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true,
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC}
	if err := cmd.Start(); err != nil {
		t.Skipf("no namespaces here: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // with it goes everything in its namespaces
		<-done
		if t.Failed() {
			said, _ := os.ReadFile(filepath.Join(b.root, "srv/log"))
			t.Logf("systemd said:\n%s\nand the services:\n%s", log, said)
		}
	})
	b.pid = fmt.Sprint(cmd.Process.Pid)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if state, _ := b.run("systemctl", "is-active", "basic.target"); state == "active" {
			return b
		}
		select {
		case err := <-done:
			done <- err
			t.Skipf("systemd cannot be process 1 here: %v\n%s", err, log)
		default:
		}
		if time.Now().After(deadline) {
			t.Skipf("systemd does not boot here:\n%s", log)
		}
	}
}

// furnish puts users, certd and the CA into the system.
func (b *booted) furnish() {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	b.put("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n", 0o644)
	b.put("etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644)
	b.put("etc/machine-id", "b08dfa6083e7567a1921a715000001fb\n", 0o644)
	b.put("etc/systemd/system/ca.service", "[Service]\nExecStart=/opt/e2e\nEnvironment="+caDir+"=/srv\n", 0o644)
	b.put("etc/systemd/system/service.d/log.conf", "[Service]\nStandardError=append:/srv/log\n", 0o644) // there is no journal
	b.put("etc/acme/hooks/mark", "#!/bin/sh\n[ \"$1\" = live-updated ] || exit 42\nid -u >/srv/mark\n", 0o755)
	for from, to := range map[string]string{self: "opt/e2e", certdPath: "opt/certd"} {
		data, err := os.ReadFile(from)
		if err != nil {
			b.t.Fatal(err)
		}
		b.put(to, string(data), 0o755)
	}
}

func (b *booted) put(name, data string, mode os.FileMode) {
	b.t.Helper()
	path := filepath.Join(b.root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(data), mode)); err != nil {
		b.t.Fatal(err)
	}
}

// read returns a file of the system, empty if there is none.
func (b *booted) read(name string) string {
	data, _ := os.ReadFile(filepath.Join("/proc", b.pid, "root", name))
	return strings.TrimSpace(string(data))
}

// run runs a command inside and returns all it said.
func (b *booted) run(args ...string) (string, error) {
	cmd := exec.CommandContext(b.t.Context(), "nsenter", slices.Concat([]string{"-t", b.pid, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"}, args)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin:/opt", "LC_ALL=C", "SYSTEMD_PAGER="}
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (b *booted) must(args ...string) string {
	b.t.Helper()
	out, err := b.run(args...)
	if err != nil {
		b.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// active wants all units to be active, and none to have failed.
func (b *booted) active(units ...string) {
	b.t.Helper()
	for _, unit := range units {
		if out, err := b.run("systemctl", "is-active", unit); err != nil {
			status, _ := b.run("systemctl", "status", "--no-pager", unit)
			b.t.Errorf("%s is %s:\n%s", unit, out, status)
		}
	}
	if failed := b.must("systemctl", "--failed", "--plain", "--no-legend", "list-units", "certd*"); failed != "" {
		b.t.Errorf("units failed:\n%s", failed)
	}
}

// quickstart runs it unattended, and returns what it said.
func (b *booted) quickstart(method, run string) string {
	b.t.Helper()
	b.put("srv/answers.yaml", "certd-quickstart-choose-server: "+b.read("srv/url")+"\ncertd-quickstart-ca-bundle: /srv/ca.pem\n"+
		"certd-quickstart-choose-method: "+method+"\ncertd-enter-email: \"\"\ncertd-agreement: true\n"+
		"certd-quickstart-install-redirector-systemd: true\ncertd-quickstart-run: "+run+"\n", 0o644)
	return b.must("/opt/certd", "--batch", "--response-file", "/srv/answers.yaml", "quickstart")
}

// newCgroup makes a cgroup below that of this process, and removes it when all
// processes in it are gone.
func newCgroup(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Skip(err)
	}
	own, _ := os.ReadFile("/proc/self/cgroup")
	_, path, _ := strings.Cut("\n"+string(own), "\n0::")
	path, _, _ = strings.Cut(path, "\n")
	for line := range strings.Lines(string(mounts)) {
		before, after, _ := strings.Cut(line, " - ")
		if !strings.HasPrefix(after, "cgroup2 ") {
			continue
		}
		dir, err := os.MkdirTemp(filepath.Join(strings.Fields(before)[4], path), "certd-test-")
		if err != nil {
			t.Skipf("no cgroup can be made: %v", err)
		}
		t.Cleanup(func() {
			dirs := []string{}
			_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			for _, d := range slices.Backward(dirs) {
				for range 100 { // the kernel takes a moment after the last process
					if err := syscall.Rmdir(d); err == nil {
						break
					}
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
		return dir
	}
	t.Skip("no cgroup2 is mounted")
	return ""
}

// A logged collects what is written from several goroutines.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
