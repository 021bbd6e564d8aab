package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"certd/acme/acmetest"
	"certd/challenge"
	"certd/config"
)

// TestParseResponses: acmetool's keys and ours mean the same, and what means
// nothing is named.
func TestParseResponses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, file, id, want, err string }{
		{"our key", "certd-quickstart-choose-method: proxy", "choose-method", "proxy", ""},
		{"acmetool's key", "acmetool-quickstart-choose-method: proxy", "choose-method", "proxy", ""},
		{"both: ours wins", "certd-quickstart-choose-method: proxy\nacmetool-quickstart-choose-method: listen", "choose-method", "proxy", ""},
		{"an agreement to any URL", "\"acme-agreement:https://ca.example/terms\": true", "agreement", "yes", ""},
		{"our agreement", "certd-agreement: false", "agreement", "no", ""},
		{"one refusal among agreements", "\"acme-agreement:a\": false\n\"acme-agreement:b\": true", "agreement", "no", ""},
		{"a quoted yes", "certd-agreement: \"yes\"", "agreement", "yes", ""},
		{"a number", "acmetool-quickstart-rsa-key-size: 4096", "rsa-key-size", "4096", ""},
		{"nothing", "acme-enter-email:", "enter-email", "", ""},
		{"a cron job", "acmetool-quickstart-install-cronjob: true", "run", "any", ""},
		{"no cron job", "acmetool-quickstart-install-cronjob: false", "run", "nothing", ""},
		{"run beside a cron job", "acmetool-quickstart-install-cronjob: true\ncertd-quickstart-run: daemon", "run", "daemon", ""},
		{"an acknowledgement", "acmetool-quickstart-complete: true", "complete", "", ""},
		{"an unknown key", "certd-quickstart-chose-method: proxy", "", "", "certd-quickstart-chose-method: unknown key"},
		{"a key of nobody", "server: x", "", "", "server: unknown key"},
		{"an e-mail address in the wrong place", "certd-quickstart-enter-email: x", "", "", "certd-quickstart-enter-email: unknown key"},
		{"a list", "certd-quickstart-choose-method: [a]", "", "", "certd-quickstart-choose-method: want text"},
		{"no cron job in words", "acmetool-quickstart-install-cronjob: perhaps", "", "", "neither true nor false"},
		{"no YAML", "a: b: c", "", "", "yaml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseResponses([]byte(tt.file))
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("%s: error %v, want %q", tt.file, err, tt.err)
			}
			if got[tt.id] != tt.want {
				t.Errorf("%s: %s is %q, want %q", tt.file, tt.id, got[tt.id], tt.want)
			}
		})
	}
}

// TestAcmetoolsFile: the copy in the testscript is examples/response-file.yaml of
// acmetool 0.2.2, letter by letter.
func TestAcmetoolsFile(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("testdata/quickstart/acmetool.txtar")
	if err != nil {
		t.Fatal(err)
	}
	_, ours, _ := bytes.Cut(script, []byte("-- response-file.yaml --\n"))
	const published = "a660f2feb6d05f4b2ca6641b87742b38bcf508f72b2616d80ae92c42497e2af2"
	if sum := fmt.Sprintf("%x", sha256.Sum256(ours)); sum != published {
		t.Errorf("testdata/quickstart/acmetool.txtar does not hold acmetool's published file: its SHA-256 is %s, want %s", sum, published)
	}
}

// FuzzParseResponses: whatever the file, what is understood of it can be written
// and read again.
func FuzzParseResponses(f *testing.F) {
	f.Add([]byte("certd-quickstart-choose-server: letsencrypt\ncertd-agreement: true\n"))
	f.Add([]byte("\"acme-agreement:https://x\": true\nacme-enter-email: \"a\\tb\"\n"))
	f.Add([]byte("acmetool-quickstart-install-cronjob: off\nacmetool-quickstart-rsa-key-size: 0x10\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseResponses(data)
		if err != nil {
			return
		}
		file, err := got.file()
		if err != nil {
			t.Fatalf("%q: %v", got, err)
		}
		again, err := parseResponses(file)
		if err != nil {
			t.Fatalf("%q became %q: %v", got, file, err)
		}
		second, err := again.file()
		if err != nil || string(second) != string(file) {
			t.Errorf("%q became %q and then %q: %v", got, file, second, err)
		}
	})
}

// TestEditTarget: an edit changes what was answered and nothing else.
func TestEditTarget(t *testing.T) {
	t.Parallel()
	const own = "# top\nrequest:\n  # the CA\n  ca: letsencrypt # free\n  challenge:\n    method: proxy\n"
	for _, tt := range []struct {
		name, file string
		answers    responses
		ca, want   string
	}{
		{"a new file", "", responses{"choose-method": "listen"}, "letsencrypt",
			"# What all certificates have in common; docs/configuration.md lists the keys.\nrequest:\n  ca: letsencrypt\n  challenge:\n    method: listen\n"},
		{"nothing but comments", "# mine\n# request:\n", responses{"choose-method": "listen"}, "letsencrypt",
			"# mine\n# request:\nrequest:\n  ca: letsencrypt\n  challenge:\n    method: listen\n"},
		{"the same answers", own, responses{"choose-method": "proxy"}, "letsencrypt", own},
		{"another method", own, responses{"choose-method": "listen"}, "letsencrypt", strings.Replace(own, "proxy", "listen", 1)},
		{"another CA", own, responses{"choose-method": "proxy"}, "zerossl", strings.Replace(own, "letsencrypt", "zerossl", 1)},
		{"acmetool's provider", "request: {provider: \"https://ca.example/dir\", challenge: {method: listen}}\n", responses{"choose-method": "listen"}, "letsencrypt",
			"request: {provider: \"https://acme-v02.api.letsencrypt.org/directory\", challenge: {method: listen}}\n"},
		{"a list of CAs whose first is meant", "request:\n  ca: [letsencrypt, zerossl]\n  challenge: {method: hook}\n", responses{"choose-method": "hook"}, "letsencrypt",
			"request:\n  ca: [letsencrypt, zerossl]\n  challenge: {method: hook}\n"},
		{"another kind of key", own + "  key:\n    type: rsa\n    rsa-size: 4096\n", responses{"choose-method": "proxy", "key-type": "ecdsa", "ecdsa-curve": "nistp384"}, "letsencrypt",
			own + "  key:\n    type: ecdsa\n    ecdsa-curve: nistp384\n"},
		{"the CA's default profile", own + "  profile: short\n", responses{"choose-method": "proxy", "profile": noProfile}, "letsencrypt", own},
		{"a webroot that is there already", "request:\n  ca: letsencrypt\n  challenge:\n    method: webroot\n    webroot-paths: [/a, /b]\n",
			responses{"choose-method": "webroot", "webroot-path": "/a"}, "letsencrypt",
			"request:\n  ca: letsencrypt\n  challenge:\n    method: webroot\n    webroot-paths: [/a, /b]\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			present, err := config.ParseDefault("conf/target", []byte(tt.file), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			s := &setup{settings: &config.Settings{}, present: present, answers: tt.answers}
			if s.ca, err = s.settings.CA(tt.ca); err != nil {
				t.Fatal(err)
			}
			got, err := s.editTarget([]byte(tt.file))
			if err != nil || string(got) != tt.want {
				t.Errorf("conf/target became %v\n%s\nwant\n%s", err, got, tt.want)
			}
		})
	}
}

// TestEditSettings: a well-known CA needs no entry, credentials do.
func TestEditSettings(t *testing.T) {
	t.Parallel()
	const before = "# mine\nparallel: 3 # few\ncas:\n  # ours\n  - name: internal\n    directory: https://ca.internal/dir\n"
	settings, err := config.ParseSettings("conf/certd.yaml", []byte(before))
	if err != nil {
		t.Fatal(err)
	}
	known, err := settings.CA("zerossl")
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{settings: settings, ca: known}
	if got, err := s.editSettings([]byte(before)); err != nil || string(got) != before {
		t.Errorf("a well-known CA changed conf/certd.yaml: %v\n%s", err, got)
	}
	s.ca.EABKeyID, s.ca.EABHMACFile = "k", "/etc/k"
	want := before + "  - name: zerossl\n    eab:\n      kid: k\n      hmac-file: /etc/k\n"
	if got, err := s.editSettings([]byte(before)); err != nil || string(got) != want {
		t.Errorf("credentials: %v\n%s\nwant\n%s", err, got, want)
	}
}

// TestSnippetsAreDocumented: quickstart shows what docs/challenges.md has.
func TestSnippetsAreDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/challenges.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, server := range snippetServers() {
		for _, m := range methods() {
			text, where := snippetOf(server, m.value)
			if text == "" {
				continue
			}
			shown++
			if !strings.Contains(string(doc), text) || where == "" {
				t.Errorf("%s %s: docs/challenges.md does not have\n%s", server, m.value, text)
			}
		}
	}
	if shown != 10 {
		t.Errorf("%d snippets, want 10", shown)
	}
	s := &setup{settings: &config.Settings{Challenge: config.ChallengeSettings{ProxyPort: 4402}}, servers: []string{"apache", "exim4", "haproxy"},
		answers: responses{"choose-method": challenge.MethodStateless}}
	got := s.snippet("THUMB-1")
	for _, want := range []string{"apache cannot do the method stateless", "%[path,field(-1,/)].THUMB-1"} {
		if !strings.Contains(got, want) {
			t.Errorf("the snippet has no %q:\n%s", want, got)
		}
	}
	s.answers["choose-method"] = challenge.MethodProxy
	if got := s.snippet(""); !strings.Contains(got, "http://127.0.0.1:4402/") {
		t.Errorf("the snippet does not name the configured port:\n%s", got)
	}
}

// TestRunningServers reads the names of processes.
func TestRunningServers(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	for pid, comm := range map[string]string{"1": "systemd", "20": "nginx", "21": "nginx", "30": "apache2", "self": "haproxy"} {
		dir := filepath.Join(proc, pid)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "comm"), []byte(comm+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(runningServers(proc), " "); got != "apache nginx" {
		t.Errorf("running servers: %q, want \"apache nginx\"", got)
	}
}

// TestPiece: control sequences and typed text are told apart.
func TestPiece(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"abc": "abc", "aR\x1b[24;80R": "aR", "\x1b[24;80Rabc": "\x1b[24;80R", "\x1b[A\x1b[B": "\x1b[A", "\x1bOAx": "\x1bOA",
		"\x1b": "\x1b", "\x1b[3~x": "\x1b[3~", "\x1b[12": "\x1b[12", "\x03": "\x03",
	} {
		if got := in[:piece([]byte(in))]; got != want {
			t.Errorf("the first piece of %q is %q, want %q", in, got, want)
		}
	}
}

// TestQuickstartUnprivileged: who is not root gets everything but units, and a
// line for the crontab; who may not write the state directory hears so at once.
func TestQuickstartUnprivileged(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root to become somebody else")
	}
	ca := acmetest.StartT(t, acmetest.Options{})
	m := newMachine(t, ca)
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	answers := "certd-quickstart-choose-server: " + m.url + "\ncertd-quickstart-ca-bundle: " + m.bundle +
		"\ncertd-quickstart-choose-method: proxy\ncertd-agreement: true\ncertd-enter-email:\nacmetool-quickstart-install-cronjob: true\n"
	for file, data := range map[string][]byte{"certd": program, "answers.yaml": []byte(answers)} {
		syscall.ForkLock.RLock() // or a process being started keeps it open, and it cannot be executed
		err := os.WriteFile(filepath.Join(m.dir, file), data, 0o755)
		syscall.ForkLock.RUnlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	certd := func() (string, error) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(m.dir, "certd"), "--batch", "--state", filepath.Join(m.dir, "acme"),
			"--hooks", filepath.Join(m.dir, "hooks"), "--response-file", filepath.Join(m.dir, "answers.yaml"), "quickstart")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if err := os.Chmod(filepath.Dir(m.dir), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := certd()
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != exitPermission || !strings.Contains(out, "run it as root") {
		t.Errorf("without rights: %v, want exit %d and what to do:\n%s", err, exitPermission, out)
	}
	if err := os.Chown(m.dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	out, err = certd()
	if err != nil || !strings.Contains(out, "crontab -e") || !strings.Contains(out, "127.0.0.1:4402") {
		t.Errorf("as user 65534: %v, want the crontab's line and port 4402:\n%s", err, out)
	}
}
