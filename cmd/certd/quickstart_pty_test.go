package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"certd/acme/acmetest"
)

// A turn is a question and the answer to it, on a terminal that can show menus
// and on one that cannot.
type turn struct{ question, menu, line string }

// turns are a whole dialogue with every question that it leads to.
func (m machine) turns() []turn {
	webroot := filepath.Join(m.dir, "web")
	return []turn{
		{"Which CA shall sign", "another CA\r", "url\n"},
		{"Directory URL of the CA:", m.url + "\r", m.url + "\n"},
		{"root certificates (PEM):", m.bundle + "\r", m.bundle + "\n"},
		{"see that a name is yours?", "certd writes files\r", "1\n"},
		{"Directory for challenge files:", webroot + "\r", webroot + "\n"},
		{"Keep it although", "n\r", "n\n"},
		{"E-mail address for the CA", "ops@example.com\r", "ops@example.com\n"},
		{"Do you agree", "y\r", "yes\n"},
		{"reloads your servers?", "\r", "\n"},
		{"How shall certd run?", "cron starts\r", "cron\n"},
	}
}

// TestQuickstartDialogue: the whole dialogue, then the same again with nothing
// but the enter key, which changes nothing; on both kinds of terminals.
func TestQuickstartDialogue(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	for _, term := range []string{"xterm", "dumb"} {
		t.Run(term, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, ca)
			d := m.start(t, term)
			for _, turn := range m.turns() {
				answer := turn.menu
				if term == "dumb" {
					answer = turn.line
				}
				d.reply(turn.question, answer)
			}
			d.expect("want www.example.com")
			if code := d.exit(); code != 0 {
				t.Fatalf("exit %d, want 0; it showed:\n%s", code, plainText(d.shown()))
			}
			checkScreen(t, d.shown(), term)
			target, err := os.ReadFile(filepath.Join(m.dir, "acme/conf/target"))
			const want = " /web/.well-known/acme-challenge\n"
			if err != nil || !strings.Contains(string(target), want) {
				t.Errorf("conf/target does not name %s: %v\n%s", want, err, target)
			}
			before := m.tree()

			again := m.start(t, term)
			for _, question := range []string{"Which CA shall sign", "see that a name is yours?", "Directory for challenge files:",
				"reloads your servers?", "How shall certd run?"} {
				again.reply(question, map[string]string{"xterm": "\r", "dumb": "\n"}[term])
			}
			again.expect("Nothing had to be changed.")
			if code := again.exit(); code != 0 {
				t.Errorf("second run: exit %d, want 0", code)
			}
			if after := m.tree(); after != before {
				t.Errorf("the second run changed something. Before:\n%s\nAfter:\n%s", before, after)
			}
		})
	}
}

// checkScreen: no colours with NO_COLOR, and nothing but plain text on a dumb
// terminal, in lines that fit.
func checkScreen(t *testing.T, shown, term string) {
	t.Helper()
	if regexp.MustCompile(`\x1b\[[0-9;]*m`).MatchString(shown) {
		t.Errorf("colours were shown with NO_COLOR set: %q", shown)
	}
	if term != "dumb" {
		return
	}
	if strings.Contains(shown, "\x1b") {
		t.Errorf("a dumb terminal got control sequences: %q", shown)
	}
	dialogue, _, _ := strings.Cut(shown, "accounts/") // paths in the report are as long as they are
	for line := range strings.Lines(dialogue) {
		if line = strings.TrimRight(line, "\r\n"); len(line) > 80 && !strings.Contains(line, "/") {
			t.Errorf("a line of %d columns: %q", len(line), line)
		}
	}
}

// TestQuickstartInterrupted: Ctrl-C at any question leaves everything as it was,
// and so do SIGTERM, and Ctrl-D in a menu.
func TestQuickstartInterrupted(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	for _, term := range []string{"xterm", "dumb"} {
		for i := range (machine{}).turns() {
			m := newMachine(t, ca)
			turns := m.turns()
			t.Run(term+"/"+turns[i].question, func(t *testing.T) {
				t.Parallel()
				d := m.start(t, term)
				for _, turn := range turns[:i] {
					answer := turn.menu
					if term == "dumb" {
						answer = turn.line
					}
					d.reply(turn.question, answer)
				}
				d.expect(turns[i].question)
				switch {
				case i%2 == 1:
					d.cmd.Process.Signal(syscall.SIGTERM)
				case term != "dumb" && i != 0:
					d.insist("\x04", "nothing was changed")
				default:
					d.tty.WriteString("\x03")
				}
				d.expect("nothing was changed")
				if code := d.exit(); code != 1 {
					t.Errorf("exit %d, want 1", code)
				}
				if tree := m.tree(); tree != "" {
					t.Errorf("something was written:\n%s", tree)
				}
			})
		}
	}
}

// TestQuickstartAsksAgain: an answer that cannot be used is refused with the
// reason, and the question comes again.
func TestQuickstartAsksAgain(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{Profiles: map[string]time.Duration{"short": 6 * 24 * time.Hour}})
	m := newMachine(t, ca)
	file := m.bundle
	d := m.start(t, "dumb", "--expert")
	for _, turn := range []turn{
		{"Which CA", "", "letsencript\n"},
		{"did you mean letsencrypt?", "", "99\n"},
		{"no CA is called", "", "url\n"},
		{"Directory URL of the CA:", "", "ca.internal\n"},
		{"is no URL", "", "http://ca.internal/directory\n"},
		{"https", "", "https://127.0.0.1:1/directory\n"},
		{"connection refused", "", m.url + "\n"},
		{"root certificates (PEM):", "", "ca.pem\n"},
		{"no absolute path", "", "/nonexistent/ca.pem\n"},
		{"no such file", "", m.bundle + "\n"},
		{"Certificate profile:", "", "long\n"},
		{"no profile \"long\"", "", "short\n"},
		{"see that a name is yours?", "", "magic\n"},
		{"is no method", "", "webroot\n"},
		{"Directory for challenge files:", "", "web\n"},
		{"no absolute path", "", file + "/web\n"},
		{"not a directory", "", filepath.Join(m.dir, "web/.well-known/acme-challenge") + "\n"},
		{"E-mail address", "", "not an address\n"},
		{"no e-mail address", "", "\n"},
		{"Do you agree", "", "perhaps\n"},
		{"neither yes nor no", "", "y\n"},
		{"Kind of keys:", "", "dsa\n"},
		{"is none of", "", "rsa\n"},
		{"Size of RSA keys", "", "1024\n"},
		{"2048 to 4096", "", "3072\n"},
		{"before the CA does?", "", "no\n"},
		{"reloads your servers?", "", "no\n"},
		{"hook for HAProxy?", "", "no\n"},
		{"How shall certd run?", "", "always\n"},
		{"is none of", "", "nothing\n"},
	} {
		d.reply(turn.question, turn.line)
	}
	d.expect("want www.example.com")
	if code := d.exit(); code != 0 {
		t.Fatalf("exit %d, want 0; it showed:\n%s", code, plainText(d.shown()))
	}
	target, err := os.ReadFile(filepath.Join(m.dir, "acme/conf/target"))
	for _, want := range []string{"profile: short", "rsa-size: 3072", "http-self-test: false", "method: webroot"} {
		if err != nil || !strings.Contains(string(target), want) {
			t.Errorf("conf/target has no %q: %v\n%s", want, err, target)
		}
	}
	if hooks := treeOf(filepath.Join(m.dir, "hooks")); hooks != "" {
		t.Errorf("hooks that nobody wanted were installed:\n%s", hooks)
	}
}

// TestQuickstartRefusal: without agreement there is no account, and no trace.
func TestQuickstartRefusal(t *testing.T) {
	t.Parallel()
	m := newMachine(t, acmetest.StartT(t, acmetest.Options{}))
	d := m.start(t, "xterm")
	for _, turn := range m.turns() {
		if turn.question == "Do you agree" {
			d.reply(turn.question, "n\r")
			break
		}
		d.reply(turn.question, turn.menu)
	}
	d.expect("You did not agree: 127.0.0.1 makes accounts only for those who accept its terms of service, data:text/plain,Do%20what%20thou%20wilt. Nothing was changed. Run certd quickstart again to agree to the terms, or to choose another CA.")
	if code := d.exit(); code != 1 {
		t.Errorf("declining the terms: exit %d, want 1", code)
	}
	if strings.Contains(d.shown(), "certd-agreement") {
		t.Errorf("a key of response files was shown:\n%s", plainText(d.shown()))
	}
	if tree := m.tree(); tree != "" {
		t.Errorf("something was written:\n%s", tree)
	}
}

// TestQuickstartMethods: every method can be chosen from the menu, and ends with
// what is needed for it.
func TestQuickstartMethods(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	for method, tt := range map[string]struct{ typed, shows string }{
		"webroot":    {"webroot  ", "/.well-known/acme-challenge"},
		"proxy":      {"proxy  ", "127.0.0.1:402"},
		"redirector": {"redirector  ", "Nothing but the redirector may listen on port 80"},
		"listen":     {"listen  ", "Port 80 of this machine has to be free"},
		"stateless":  {"stateless  ", "thumbprint"},
		"dns":        {"dns  ", "handles challenge-dns-start"},
		"hook":       {"hook  ", "handles challenge-http-start"},
	} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, ca)
			d := m.start(t, "xterm")
			for _, turn := range m.turns()[:3] {
				d.reply(turn.question, turn.menu)
			}
			d.reply("see that a name is yours?", tt.typed+"\r")
			if method == "webroot" {
				d.reply("Directory for challenge files:", filepath.Join(m.dir, "web/.well-known/acme-challenge")+"\r")
			}
			if method == "dns" {
				d.reply("DNS provider, hook,", "hook\r")
			}
			d.reply("E-mail address", "\r")
			d.reply("Do you agree", "y\r")
			d.reply("reloads your servers?", "n\r")
			if method == "redirector" {
				d.reply("as a systemd service?", "\r")
			}
			d.reply("How shall certd run?", "you start\r")
			d.expect("want www.example.com")
			if code := d.exit(); code != 0 {
				t.Fatalf("exit %d, want 0; it showed:\n%s", code, plainText(d.shown()))
			}
			if !strings.Contains(plainText(d.shown()), tt.shows) {
				t.Errorf("the end does not say %q:\n%s", tt.shows, plainText(d.shown()))
			}
			const warning = "warning: certd-redirector.service does not see the program " // which lies below /tmp
			if strings.Contains(plainText(d.shown()), warning) != (method == "redirector") {
				t.Errorf("method %s: want %q for the redirector alone:\n%s", method, warning, plainText(d.shown()))
			}
			target, err := os.ReadFile(filepath.Join(m.dir, "acme/conf/target"))
			if err != nil || !strings.Contains(string(target), "method: "+method) {
				t.Errorf("conf/target does not have method %s: %v\n%s", method, err, target)
			}
			_, err = os.Stat(filepath.Join(m.dir, "etc/systemd/system/certd-redirector.service"))
			if (err == nil) != (method == "redirector") {
				t.Errorf("method %s: certd-redirector.service: %v", method, err)
			}
		})
	}
}
