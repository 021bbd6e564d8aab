package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"certd/acme/acmetest"
)

// A dialogue is certd on a terminal of 80 columns, and the person in front of it.
type dialogue struct {
	t    *testing.T
	tty  *os.File
	cmd  *exec.Cmd
	done chan error

	mu     sync.Mutex // guards what follows
	screen strings.Builder
	seen   int
}

// A machine is what quickstart writes to, and the CA it is told of.
type machine struct {
	dir, url, bundle string
	env              []string // besides that of the test
}

func newMachine(t *testing.T, ca *acmetest.CA) machine {
	t.Helper()
	m := machine{dir: t.TempDir(), url: ca.URL()}
	m.bundle = filepath.Join(m.dir, "ca.pem")
	if err := os.WriteFile(m.bundle, ca.RootsPEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	return m
}

// tree is everything quickstart may write to.
func (m machine) tree() string {
	return treeOf(filepath.Join(m.dir, "acme")) + treeOf(filepath.Join(m.dir, "hooks")) + treeOf(filepath.Join(m.dir, "etc")) + treeOf(filepath.Join(m.dir, "web"))
}

// start runs certd quickstart on a terminal called term.
func (m machine) start(t *testing.T, term string, args ...string) *dialogue {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Args = slices.Concat([]string{"certd", "--state", filepath.Join(m.dir, "acme"), "--hooks", filepath.Join(m.dir, "hooks"),
		"quickstart", "--root", m.dir}, args)
	cmd.Env = append(append(os.Environ(), "TERM="+term, "NO_COLOR=1", "GOTRACEBACK=none"), m.env...)
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	d := &dialogue{t: t, tty: tty, cmd: cmd, done: make(chan error, 1)}
	go d.watch()
	t.Cleanup(func() { cmd.Process.Kill(); tty.Close() })
	return d
}

// watch reads what certd shows, and answers as a terminal does when it is asked
// where the cursor is.
func (d *dialogue) watch() {
	buf := make([]byte, 4096)
	for {
		n, err := d.tty.Read(buf)
		text := string(buf[:n])
		d.mu.Lock()
		d.screen.WriteString(text)
		d.mu.Unlock()
		for range strings.Count(text, "\x1b[6n") {
			d.tty.WriteString("\x1b[24;80R")
		}
		if err != nil {
			d.done <- d.cmd.Wait()
			return
		}
	}
}

// expect waits until certd has shown a text after the last one expected.
func (d *dialogue) expect(text string) {
	d.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for time.Now().Before(deadline) {
		d.mu.Lock()
		shown := d.screen.String()[d.seen:]
		i := strings.Index(plainText(shown), text)
		if i >= 0 {
			d.seen = d.screen.Len()
		}
		d.mu.Unlock()
		if i >= 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	d.t.Fatalf("certd did not show %q; it showed:\n%s", text, plainText(d.shown()))
}

func (d *dialogue) shown() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.screen.String()
}

// plainText is what is left of a terminal's output without its control sequences.
func plainText(s string) string {
	s = regexp.MustCompile(`\x1b(\[[0-9;?]*[A-Za-z]|[78])`).ReplaceAllString(s, "")
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "\r", "")
}

// reply types an answer to the question that contains text.
func (d *dialogue) reply(text, answer string) {
	d.t.Helper()
	d.expect(text)
	if _, err := d.tty.WriteString(answer); err != nil {
		d.t.Fatalf("type %q: %v", answer, err)
	}
}

// insist types keys until certd shows a text, which is left to be expected:
// survey shows a question before it has the terminal hand over each key, and
// Ctrl-D is lost in between.
func (d *dialogue) insist(keys, text string) {
	for range 100 {
		d.tty.WriteString(keys)
		for range 20 {
			d.mu.Lock()
			shown := strings.Contains(plainText(d.screen.String()[d.seen:]), text)
			d.mu.Unlock()
			if shown {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// exit waits for the end and returns the exit code.
func (d *dialogue) exit() int {
	d.t.Helper()
	select {
	case err := <-d.done:
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			return e.ExitCode()
		}
		if err != nil {
			d.t.Fatal(err)
		}
		return 0
	case <-time.After(2 * time.Minute):
		d.t.Fatalf("certd does not end; it showed:\n%s", plainText(d.shown()))
		return -1
	}
}
