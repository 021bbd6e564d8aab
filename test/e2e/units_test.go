package e2e

import (
	"strconv"
	"strings"
	"testing"
)

// TestUnitsUnderSystemd: what quickstart installs works under a real systemd, as
// confined as it is: the daemon with its socket, its watchdog and root's hooks;
// then the timer's service, and the redirector on port 80.
func TestUnitsUnderSystemd(t *testing.T) {
	t.Parallel()
	b := boot(t)
	b.must("systemctl", "start", "ca.service")
	waitFor(t, "the CA", func() bool { return b.read("srv/url") != "" })
	b.put("var/lib/acme/conf/certd.yaml", b.read("srv/certd.yaml")+"\n", 0o644)

	if said := b.quickstart("listen", "daemon"); strings.Contains(said, "warning") {
		t.Errorf("quickstart warns: %s", said)
	}
	b.active("certd.service", "certd-http.socket", "certd-hooks.socket")
	b.checkDaemon()
	b.checkWatchdog()

	b.quickstart("redirector", "timer")
	b.active("certd.timer", "certd-redirector.service", "certd-redirector.socket")
	b.checkTimer()
	b.checkRedirector()
}

// show is a property of a unit.
func (b *booted) show(unit, property string) string {
	b.t.Helper()
	return b.must("systemctl", "show", "--value", "--property", property, unit)
}

// checkDaemon: it is ready, it says so, and it obtains a certificate by the socket
// that systemd opened; the hook behind runs as root.
func (b *booted) checkDaemon() {
	b.t.Helper()
	for property, want := range map[string]string{"Type": "notify", "User": "certd", "WatchdogUSec": "2min", "ActiveState": "active", "SubState": "running"} {
		if got := b.show("certd.service", property); got != want {
			b.t.Errorf("certd.service has %s=%s, want %s", property, got, want)
		}
	}
	b.must("/opt/certd", "want", "--no-reconcile", "www.example.test")
	waitFor(b.t, "the daemon obtains the certificate", func() bool { return b.read("var/lib/acme/live/www.example.test/fullchain") != "" })
	waitFor(b.t, "the hook runs", func() bool { return b.read("srv/mark") != "" })
	if uid := b.read("srv/mark"); uid != "0" {
		b.t.Errorf("the hook ran as user %s, want root", uid)
	}
	waitFor(b.t, "its status", func() bool {
		return strings.HasPrefix(b.show("certd.service", "StatusText"), "1 certificate, next renewal in ")
	})
	if out := b.must("systemctl", "status", "--no-pager", "certd.service"); !strings.Contains(out, "active (running)") || !strings.Contains(out, `Status: "1 certificate`) {
		b.t.Errorf("systemctl status says:\n%s", out)
	}
	if owner := b.must("stat", "-c", "%U %a", "/var/lib/acme/keys"); owner != "certd 700" {
		b.t.Errorf("keys/ has owner and mode %s, want certd 700", owner)
	}
}

// checkWatchdog: a daemon that hangs is started anew, one that works is not.
func (b *booted) checkWatchdog() {
	b.t.Helper()
	b.put("etc/systemd/system/certd.service.d/test.conf", "[Service]\nWatchdogSec=15\nRestartSec=0\nTimeoutAbortSec=2\n", 0o644)
	b.must("systemctl", "daemon-reload")
	b.must("systemctl", "restart", "certd.service")
	before := b.show("certd.service", "MainPID")
	if _, err := strconv.Atoi(before); err != nil || before == "0" {
		b.t.Fatalf("certd.service has no process: %q", before)
	}
	b.must("kill", "-STOP", before)
	waitFor(b.t, "systemd starts the daemon anew", func() bool {
		now := b.show("certd.service", "MainPID")
		return now != "0" && now != before && b.show("certd.service", "NRestarts") != "0" && b.show("certd.service", "ActiveState") == "active"
	})
	b.must("systemctl", "reload", "certd.service")
	b.active("certd.service", "certd-http.socket")
}

// checkTimer: it replaced the daemon, and what it starts does the work.
func (b *booted) checkTimer() {
	b.t.Helper()
	if out, err := b.run("systemctl", "is-active", "certd.service", "certd-http.socket"); err == nil {
		b.t.Errorf("daemon and timer are both at work: %s", out)
	}
	if next := b.must("systemctl", "list-timers", "--no-pager", "certd.timer"); !strings.Contains(next, "certd-reconcile.service") {
		b.t.Errorf("certd.timer starts nothing:\n%s", next)
	}
	b.must("/opt/certd", "want", "--no-reconcile", "two.example.test")
	b.must("systemctl", "start", "certd-reconcile.service")
	if b.read("var/lib/acme/live/two.example.test/fullchain") == "" {
		b.t.Error("certd-reconcile.service obtained no certificate")
	}
	b.active()
}

// checkRedirector: it answers, with a user of its own that sees no keys.
func (b *booted) checkRedirector() {
	b.t.Helper()
	answer := b.must("bash", "-c", `exec 3<>/dev/tcp/127.0.0.1/80; printf 'GET /x HTTP/1.1\r\nHost: www.example.test\r\nConnection: close\r\n\r\n' >&3; cat <&3`)
	if !strings.HasPrefix(answer, "HTTP/1.1 308") || !strings.Contains(answer, "Location: https://www.example.test/x") {
		b.t.Errorf("the redirector answers:\n%s", answer)
	}
	pid := b.show("certd-redirector.service", "MainPID")
	if owner := b.must("stat", "-c", "%u", "/proc/"+pid); owner == "0" {
		b.t.Error("the redirector runs as root")
	}
	if out, err := b.run("ls", "/proc/"+pid+"/root/var/lib/acme/keys"); err == nil && out != "" {
		b.t.Errorf("the redirector sees keys: %s", out)
	}
}
