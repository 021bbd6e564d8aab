// Package e2e runs the real certd against a real CA and real servers.
package e2e

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"certd/acme/acmetest"
)

// certdPath is the binary under test, built once by TestMain.
var certdPath string

func TestMain(m *testing.M) {
	if dir := os.Getenv(caDir); dir != "" {
		os.Exit(serveCA(dir))
	}
	syscall.Umask(0o022) // other users look at what some tests write
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "certd-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	certdPath = filepath.Join(dir, "certd")
	build := exec.Command("go", "build", "-o", certdPath, "certd/cmd/certd")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "build certd: %v\n", err)
		return 1
	}
	return m.Run()
}

// A site is one machine: a state directory, a hook directory and a CA.
type site struct {
	t     testing.TB
	dir   string
	state string
	hooks string
}

// An authority is any CA of acmetest.
type authority interface {
	URL() string
	RootsPEM() []byte
}

// newSite makes a state directory whose certd.yaml points to ca, with extra
// lines of YAML appended.
func newSite(t testing.TB, ca authority, extra string) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{t: t, dir: dir, state: filepath.Join(dir, "acme"), hooks: filepath.Join(dir, "hooks")}
	s.write("acme/conf/certd.yaml", fmt.Sprintf("cas: [{name: testca, directory: %q, ca-bundle: %q}]\n%s", ca.URL(), filepath.Join(dir, "ca.pem"), extra))
	s.write("ca.pem", string(ca.RootsPEM()))
	if err := os.Mkdir(s.hooks, 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

// pebbleSite is a site whose challenges are answered by certd itself.
func pebbleSite(t testing.TB, ca *acmetest.CA) *site {
	t.Helper()
	s := newSite(t, ca, fmt.Sprintf("challenge: {http-port: %d, resolver: %q}\n", ca.HTTPPort(), ca.Resolver()))
	s.write("acme/conf/target", "request: {challenge: {method: listen}}\n")
	return s
}

// serveWebroot serves the files of a new directory as challenges on a port, as a
// web server would, and returns the directory.
func serveWebroot(t testing.TB, port int) string {
	t.Helper()
	webroot := t.TempDir()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler:           http.StripPrefix("/.well-known/acme-challenge/", http.FileServer(http.Dir(webroot))),
		ReadHeaderTimeout: 10 * time.Second,
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return webroot
}

// webrootSite is a site whose challenges are files in a served webroot.
func webrootSite(t testing.TB, ca *acmetest.CA, webroot string) *site {
	t.Helper()
	s := newSite(t, ca, fmt.Sprintf("challenge: {http-port: %d, resolver: %q}\n", ca.HTTPPort(), ca.Resolver()))
	s.write("acme/conf/target", fmt.Sprintf("request: {challenge: {method: webroot, webroot-paths: [%q]}}\n", webroot))
	return s
}

func (s *site) write(name, data string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	syscall.ForkLock.RLock() // or a process being started keeps a hook open, which cannot be executed
	defer syscall.ForkLock.RUnlock()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(data), 0o644)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) read(name string) string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}

// A result is how one certd ended.
type result struct {
	code     int
	out, err string
}

func (r result) String() string {
	return fmt.Sprintf("exit %d\nstdout:\n%s\nstderr:\n%s", r.code, r.out, r.err)
}

func (s *site) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, certdPath, append([]string{"--state", s.state, "--hooks", s.hooks, "--batch"}, args...)...)
	cmd.WaitDelay = time.Second
	return cmd
}

// run runs certd to its end.
func (s *site) run(args ...string) result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := s.command(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		s.t.Fatalf("certd %s: %v", strings.Join(args, " "), err)
	}
	if ctx.Err() != nil {
		s.t.Fatalf("certd %s did not end: %s", strings.Join(args, " "), errs.String())
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// must runs certd and expects an exit code.
func (s *site) must(code int, args ...string) result {
	s.t.Helper()
	r := s.run(args...)
	if r.code != code {
		s.t.Fatalf("certd %s: want exit %d, got %v", strings.Join(args, " "), code, r)
	}
	return r
}

// rows runs a command with -o json and returns its document.
func (s *site) rows(code int, args ...string) []map[string]any {
	s.t.Helper()
	r := s.must(code, append(args, "-o", "json")...)
	var rows []map[string]any
	if err := json.Unmarshal([]byte(r.out), &rows); err != nil {
		s.t.Fatalf("certd %s: %v in %s", strings.Join(args, " "), err, r.out)
	}
	return rows
}

// leaf reads live/<name>/cert.
func (s *site) leaf(name string) *x509.Certificate {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.state, "live", name, "cert"))
	if err != nil {
		s.t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		s.t.Fatalf("live/%s/cert holds no PEM", name)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		s.t.Fatal(err)
	}
	return cert
}

// waitFor polls until ok returns true; it gives up after two minutes.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 1200 {
		if ok() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("waited two minutes in vain: %s", what)
}

// needProgram returns the path of an external program. Without it a plain
// go test skips; under make test (CERTD_TEST_REQUIRE=1) that is a failure.
func needProgram(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	missing(t, name)
	return ""
}

// needFile is the same for a file that a package brings.
func needFile(t testing.TB, path string) string {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		missing(t, path)
	}
	return path
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CERTD_TEST_REQUIRE") != "" {
		t.Fatalf("%s is not installed; make test installs it", what)
	}
	t.Skipf("%s is not installed; make test installs it", what)
}
