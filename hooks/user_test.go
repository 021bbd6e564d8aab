package hooks

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const asUser = "HOOKS_TEST_AS_USER" // the directory root prepared for the user

// TestMain lets the test binary play sudo: it becomes root for good, and says
// what it was asked to run, or sleeps.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "sudo" {
		os.Exit(m.Run())
	}
	err := errors.Join(syscall.Setgid(0), syscall.Setuid(0))
	io.WriteString(os.Stdout, "sudo "+strings.Join(os.Args[1:], " "))
	if err != nil {
		io.WriteString(os.Stdout, " without being root: "+err.Error())
	}
	if slices.Contains(os.Args, "paused") {
		time.Sleep(time.Minute)
	}
	os.Exit(0)
}

// TestAsOrdinaryUser runs the tests below as somebody who is not root; root
// does so by running this binary again.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		ordinaryUser(t)
		return
	}
	dir, err := os.MkdirTemp("/tmp", "hooks-user")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	chmod(t, dir, 0o755)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copyFile(t, self, filepath.Join(mkdir(t, dir+"/bin", 0o755), "hooks.test"), 0o755)
	copyFile(t, self, dir+"/bin/sudo", 0o755|fs.ModeSetuid)
	hooks := mkdir(t, dir+"/roots", 0o755)
	hook(t, hooks+"/1-plain", "#!/bin/sh\nid -u\n", 0o755)
	hook(t, hooks+"/2-sudo", "#!/bin/sh\nid -u\n", 0o755|fs.ModeSetuid)
	hook(t, hooks+"/3-private", "#!/bin/sh\nid -u\n", 0o700)
	mine := mkdir(t, dir+"/tmp", 0o755)
	if err := os.Chown(mine, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), dir+"/bin/hooks.test", "-test.run=^(TestAsOrdinaryUser|TestVet|TestInstall|TestHangs|TestHAProxyFiles)$", "-test.v")
	cmd.Dir = dir
	cmd.Env = []string{asUser + "=" + dir, "TMPDIR=" + mine, "PATH=" + dir + "/bin:/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as user 65534: %v:\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS: TestAsOrdinaryUser") {
		t.Errorf("the tests did not run as a user:\n%s", out)
	}
}

func copyFile(t *testing.T, from, to string, perm os.FileMode) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	hook(t, to, string(data), perm)
}

// ordinaryUser tests what is different for a user.
func ordinaryUser(t *testing.T) {
	dir := hookDir(t)
	script(t, filepath.Join(dir, "h"), "echo mine\n")
	if res := one(t, &Runner{Dirs: []string{dir}}, Event{Name: "failed"}); res.Output != "mine\n" {
		t.Errorf("a user's own hook: got %+v", res)
	}
	root := os.Getenv(asUser)
	if root == "" {
		t.Skip("root has prepared nothing: acmetool's sudo rule is not tested")
	}
	r := &Runner{Dirs: []string{root + "/roots"}, Timeout: time.Minute, Grace: 10 * time.Millisecond}
	results, err := r.Run(t.Context(), Event{Name: "failed", Args: []string{"a b"}}, nil)
	if err != nil || len(results) != 3 {
		t.Fatalf("got %+v, %v; want three results", results, err)
	}
	if results[0].Output != "65534\n" {
		t.Errorf("root's hook without the setuid bit: got %+v, want it run as the user", results[0])
	}
	if want := "sudo -n -- " + root + "/roots/2-sudo failed a b"; !strings.HasPrefix(results[1].Output, want) {
		t.Errorf("root's hook with the setuid bit: got %+v, want %q", results[1], want)
	}
	if results[2].Outcome != Failed || !errors.Is(results[2].Err, fs.ErrPermission) {
		t.Errorf("root's private hook: got %+v, want it to fail", results[2])
	}
	// What became root cannot be ended by a user. Nobody waits for it.
	r.Timeout = 5 * time.Second // for it to become that on a busy machine
	results, err = r.Run(t.Context(), Event{Name: "paused"}, func(path string) bool { return filepath.Base(path) != "2-sudo" })
	if err != nil || len(results) != 1 || results[0].Outcome != Timeout || !strings.Contains(results[0].Err.Error(), "does not end: operation not permitted") {
		t.Errorf("got %+v, %v; want it given up", results, err)
	}
}
