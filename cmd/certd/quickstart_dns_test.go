package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"certd/acme/acmetest"
)

// fakeDNS is a certd-dns with one provider, which answers list and help.
const fakeDNS = `#!/bin/sh
case "$1 $2" in
"list ") echo "example              Example DNS (also: ex)"; echo "other                Another" ;;
"help example") printf 'example: Example DNS\n\nVariables for the file:\n  EXAMPLE_TOKEN\n      API token\n' ;;
*) echo "certd-dns: there is no DNS provider \"$2\"; certd-dns list shows them" >&2; exit 1 ;;
esac
`

// withDNS puts a certd-dns into the machine's PATH.
func (m machine) withDNS(t *testing.T) machine {
	t.Helper()
	bin := filepath.Join(m.dir, "usr/bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	syscall.ForkLock.RLock() // or a process being started keeps it open, and it cannot be executed
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(filepath.Join(bin, "certd-dns"), []byte(fakeDNS), 0o755); err != nil {
		t.Fatal(err)
	}
	m.env = append(m.env, "PATH="+bin+":"+os.Getenv("PATH"))
	return m
}

// TestQuickstartDNS: the provider is one that certd-dns knows, its variables are
// shown, and its credentials are where nobody else reads them; on both kinds of
// terminals, and again with nothing but the enter key.
func TestQuickstartDNS(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	for _, term := range []string{"xterm", "dumb"} {
		t.Run(term, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, ca).withDNS(t)
			enter := map[string]string{"xterm": "\r", "dumb": "\n"}[term]
			secrets := filepath.Join(m.dir, "dns.env")
			if err := errors.Join(os.WriteFile(secrets, []byte("EXAMPLE_TOKEN=do-not-show\n"), 0o644), os.Chmod(secrets, 0o644)); err != nil { // whatever the umask
				t.Fatal(err)
			}
			d := m.start(t, term)
			for _, turn := range m.turns()[:3] {
				d.reply(turn.question, map[string]string{"xterm": turn.menu, "dumb": turn.line}[term])
			}
			d.reply("see that a name is yours?", "dns"+enter)
			d.reply("DNS provider, hook, or list", "list"+enter)
			d.reply("example Example DNS (also: ex) other Another", "nosuch"+enter)
			d.reply("there is no DNS provider \"nosuch\"", "Ex ample"+enter)
			d.reply("is no DNS provider such as", "example"+enter)
			d.reply("EXAMPLE_TOKEN API token", "dns.env"+enter)
			d.reply("is no absolute path", "/missing.env"+enter)
			d.reply("no such file", secrets+enter)
			d.expect("others may read or change it; run: chmod 0600 " + secrets)
			if err := os.Chmod(secrets, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := d.tty.WriteString(secrets + enter); err != nil {
				t.Fatal(err)
			}
			d.reply("E-mail address", enter)
			d.reply("Do you agree", "y"+enter)
			d.reply("reloads your servers?", "n"+enter)
			d.reply("How shall certd run?", map[string]string{"xterm": "it runs all", "dumb": "daemon"}[term]+enter)
			d.expect("Keys and certificates")
			if code := d.exit(); code != 0 {
				t.Fatalf("exit %d, want 0; it showed:\n%s", code, plainText(d.shown()))
			}
			shown := plainText(d.shown())
			for _, want := range []string{"set by certd-dns", "want www.example.com", "chgrp certd /dns.env && chmod 0640 /dns.env"} {
				if !strings.Contains(shown, want) {
					t.Errorf("it does not say %q:\n%s", want, shown)
				}
			}
			if strings.Contains(shown, "do-not-show") {
				t.Error("a secret was shown")
			}
			target, err := os.ReadFile(filepath.Join(m.dir, "acme/conf/target"))
			if want := "method: dns\n    dns-provider: example\n    dns-env-file: /dns.env\n"; err != nil || !strings.Contains(string(target), want) {
				t.Errorf("conf/target does not have %q: %v\n%s", want, err, target)
			}

			again := m.start(t, term)
			for _, question := range []string{"Which CA shall sign", "see that a name is yours?", "DNS provider", "File with its credentials",
				"reloads your servers?", "How shall certd run?"} {
				again.reply(question, enter)
			}
			again.expect("Nothing had to be changed.")
			if code := again.exit(); code != 0 {
				t.Errorf("second run: exit %d, want 0", code)
			}
		})
	}
}
