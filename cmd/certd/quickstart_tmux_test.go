package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"certd/acme/acmetest"
)

// A pane is a terminal of tmux with 80 columns, in which certd quickstart runs:
// what people look at, and not the bytes that make it.
type pane struct {
	t      *testing.T
	socket string
}

// startPane runs certd quickstart in tmux, on a terminal called term.
func (m machine) startPane(t *testing.T, term string) *pane {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		if os.Getenv("CERTD_TEST_REQUIRE") == "1" {
			t.Fatal("tmux is not installed")
		}
		t.Skip("tmux is not installed")
	}
	program, err := os.Executable()
	if err == nil {
		err = os.Symlink(program, filepath.Join(m.dir, "certd"))
	}
	dir, errDir := os.MkdirTemp("", "certd-tmux-") // t.TempDir may be too long for a socket
	if err != nil || errDir != nil {
		t.Fatal(err, errDir)
	}
	p := &pane{t: t, socket: filepath.Join(dir, "tmux")}
	t.Cleanup(func() { p.tmux("kill-server"); os.RemoveAll(dir) })
	p.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "100", "-e", "LC_ALL=C.UTF-8",
		"TERM="+term+" "+m.dir+"/certd --state "+m.dir+"/acme --hooks "+m.dir+"/hooks quickstart --root "+m.dir+"; echo exit $?; sleep 600")
	return p
}

func (p *pane) tmux(args ...string) string {
	out, err := exec.Command("tmux", append([]string{"-S", p.socket}, args...)...).CombinedOutput()
	if err != nil && args[0] != "kill-server" {
		p.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// expect waits until the screen shows a text at the end of its last paragraph.
func (p *pane) expect(text string) {
	p.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		screen := p.tmux("capture-pane", "-p")
		if i := strings.LastIndex(screen, text); i >= 0 && !strings.Contains(strings.TrimSpace(screen[i:]), "\n\n") {
			return
		}
	}
	p.t.Fatalf("the screen does not show %q:\n%s", text, p.tmux("capture-pane", "-p"))
}

func (p *pane) reply(question, answer string) {
	p.t.Helper()
	p.expect(question)
	p.tmux("send-keys", "-l", "--", answer)
	p.tmux("send-keys", "Enter")
}

// TestQuickstartLooksRight: on a screen of 80 columns no word is broken, nothing
// is overwritten by what comes after a long answer, a URL can be typed into the
// menu, and who declines the terms hears how to go on.
func TestQuickstartLooksRight(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	for _, term := range []string{"screen", "dumb"} {
		t.Run(term, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, ca)
			p := m.startPane(t, term)
			long := "/" + strings.Repeat("long/", 9) + ".well-known/acme-challenge"
			p.expect("type the URL of its directory")
			p.reply("Which CA shall sign", m.url)
			p.reply("root certificates (PEM):", "/ca.pem")
			p.reply("see that a name is yours?", map[string]string{"screen": "webroot ", "dumb": "1"}[term])
			p.reply("Directory for challenge files:", long)
			p.reply("E-mail address", "")
			p.reply("Do you agree", "n")
			p.expect("exit 1")
			screen := p.tmux("capture-pane", "-p")
			for _, want := range []string{"It\nis made if it is missing.", "/long/long/", "You did not agree: 127.0.0.1", "choose another CA."} {
				if !strings.Contains(screen, want) {
					t.Errorf("the screen does not show %q:\n%s", want, screen)
				}
			}
			for line := range strings.Lines(p.tmux("capture-pane", "-p", "-J")) { // J: what the terminal broke is one line again
				if line = strings.TrimSpace(line); len(line) > screenWidth && !strings.HasSuffix(line, " "+long) {
					t.Errorf("the terminal broke %q:\n%s", line, screen)
				}
			}
			if tree := m.tree(); tree != "" {
				t.Errorf("something was written:\n%s", tree)
			}
		})
	}
}
