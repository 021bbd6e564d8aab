package packaging

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// enable makes the link that systemctl enable would.
func enable(t *testing.T, root, target, unit, at string) {
	t.Helper()
	dir := filepath.Join(root, "etc/systemd/system", target+".wants")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at, filepath.Join(dir, unit)); err != nil {
		t.Fatal(err)
	}
}

func TestDetect(t *testing.T) {
	t.Parallel()
	const unit, line = "[Service]\nExecStart=/bin/true\n", "0 3 * * * root /usr/bin/acmetool --batch reconcile\n"
	for _, tt := range []struct {
		name   string
		make   func(root string)
		want   string // kind, program, enabled, managed, path; empty for nothing
		advice string
	}{
		{"nothing", func(string) {}, "", ""},
		{"Debian's acmetool.timer, as installed", func(root string) { put(t, root+"/lib/systemd/system/acmetool.timer", unit) },
			"timer acmetool off other /lib/systemd/system/acmetool.timer", ""},
		{"Debian's acmetool.timer, enabled", func(root string) {
			put(t, root+"/usr/lib/systemd/system/acmetool.timer", unit)
			enable(t, root, "timers.target", "acmetool.timer", "/lib/systemd/system/acmetool.timer")
		}, "timer acmetool on other /usr/lib/systemd/system/acmetool.timer", "systemctl disable --now acmetool.timer"},
		{"acmetool's redirector", func(root string) {
			put(t, root+"/etc/systemd/system/acmetool-redirector.service", unit)
			enable(t, root, "multi-user.target", "acmetool-redirector.service", "/etc/systemd/system/acmetool-redirector.service")
		}, "redirector acmetool on other /etc/systemd/system/acmetool-redirector.service", "systemctl disable --now acmetool-redirector.service"},
		{"a masked unit", func(root string) {
			put(t, root+"/lib/systemd/system/acmetool.timer", unit)
			put(t, root+"/etc/systemd/system/x", "")
			if err := os.Symlink("/dev/null", root+"/etc/systemd/system/acmetool.timer"); err != nil {
				t.Error(err)
			}
		}, "", ""},
		{"acmetool's cron file", func(root string) { put(t, root+"/etc/cron.d/acmetool", "SHELL=/bin/sh\n"+line) },
			"cron acmetool on other /etc/cron.d/acmetool", "rm /etc/cron.d/acmetool"},
		{"a cron file of another name", func(root string) { put(t, root+"/etc/cron.d/renewal", line) },
			"cron acmetool on other /etc/cron.d/renewal", "remove the line from /etc/cron.d/renewal"},
		{"a user's crontab", func(root string) {
			put(t, root+"/var/spool/cron/crontabs/acme", "7 1 * * * cd /tmp && acmetool reconcile >/dev/null 2>&1\n")
		},
			"cron acmetool on other /var/spool/cron/crontabs/acme", "crontab -u acme -e"},
		{"a script in cron.daily", func(root string) { put(t, root+"/etc/cron.daily/acme", "#!/bin/sh\nexec /opt/certd reconcile\n") },
			"cron certd on other /etc/cron.daily/acme", "remove the line from /etc/cron.daily/acme"},
		{"a check by cron", func(root string) {
			put(t, root+"/etc/cron.d/nagios", "*/5 * * * * nagios /usr/bin/certd check >/run/certd.check\n")
		}, "", ""},
		{"a daemon of make install", func(root string) {
			put(t, root+"/usr/local/lib/systemd/system/certd.service", unit)
			enable(t, root, "multi-user.target", "certd.service", "/usr/local/lib/systemd/system/certd.service")
		}, "daemon certd on other /usr/local/lib/systemd/system/certd.service", "systemctl disable --now certd.service"},
		{"/etc/crontab", func(root string) { put(t, root+"/etc/crontab", "# certd?\n1 2 * * * root certd reconcile\n") },
			"cron certd on other /etc/crontab", "remove the line from /etc/crontab"},
		{"a line that is commented out", func(root string) { put(t, root+"/etc/cron.d/acmetool", "# "+line) }, "", ""},
		{"words that only look like it", func(root string) {
			put(t, root+"/etc/cron.d/x", "1 1 * * * root /usr/bin/certdump acmetool-old; ls certd.d not-acmetool /etc/acmetool/x\n")
		}, "", ""},
		{"bytes that are no text", func(root string) { put(t, root+"/etc/cron.d/x", "\xff\x00 /certd reconcile \x1b[31m\n") },
			"cron certd on other /etc/cron.d/x", ""},
	} {
		root := filepath.Join(t.TempDir(), "a[b]*") // no pattern
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		tt.make(root)
		checkFound(t, tt.name, root, tt.want, tt.advice)
	}
}

// checkFound compares what Detect finds with one line.
func checkFound(t *testing.T, name, root, want, advice string) {
	t.Helper()
	var have []string
	for _, f := range Detect(root) {
		have = append(have, describe(f, root))
		if !strings.Contains(f.Advice, advice) {
			t.Errorf("%s: advice %q, want %q in it", name, f.Advice, advice)
		}
		if f.What == "" || f.Enabled == (f.Advice == "") || strings.ContainsAny(f.What, "\n\x1b") || strings.Contains(f.Advice, root) {
			t.Errorf("%s: unfit to be shown: %+v", name, f)
		}
		if f.Kind != Cron && f.Enabled != (len(f.Commands) == 1) {
			t.Errorf("%s: commands %v", name, f.Commands)
		}
	}
	if got := strings.Join(have, "; "); got != want {
		t.Errorf("%s: found %q, want %q", name, got, want)
	}
}

func describe(f Found, root string) string {
	on, ours := "off", "other"
	if f.Enabled {
		on = "on"
	}
	if f.Managed {
		ours = "managed"
	}
	return strings.Join([]string{string(f.Kind), f.Program, on, ours, strings.TrimPrefix(f.Path, root)}, " ")
}

// TestDetectSeesWhatInstallDid closes the circle.
func TestDetectSeesWhatInstallDid(t *testing.T) {
	t.Parallel()
	for kind, want := range map[Kind]string{
		Timer:  "timer certd on managed /etc/systemd/system/certd.timer",
		Daemon: "daemon certd on managed /etc/systemd/system/certd.service",
		Cron:   "cron certd on managed /etc/cron.d/certd",
		None:   "",
	} {
		o := rooted(t, kind)
		install(t, o)
		switch kind {
		case Timer:
			enable(t, o.Root, "timers.target", "certd.timer", "/etc/systemd/system/certd.timer")
		case Daemon:
			enable(t, o.Root, "multi-user.target", "certd.service", "/etc/systemd/system/certd.service")
		}
		checkFound(t, string(kind), o.Root, want, "")
	}
}

func TestDetectSurvivesOddFiles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	put(t, root+"/etc/cron.d/directory/x", "certd")
	put(t, root+"/etc/cron.d/huge", strings.Repeat("x", maxFile+10)+"\ncertd\n")
	if err := os.Symlink("loop", root+"/etc/cron.d/loop"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", root+"/etc/cron.d/endless"); err != nil {
		t.Fatal(err)
	}
	if found := Detect(root); len(found) != 0 {
		t.Errorf("found %+v", found)
	}
}

func TestOneCrontabByTwoNames(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	put(t, root+"/var/spool/cron/crontabs/root", "1 1 * * * certd reconcile\n2 2 * * * certd cull\n")
	if err := os.Symlink("cron/crontabs", root+"/var/spool/tabs"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("crontabs", root+"/var/spool/cron/tabs"); err != nil {
		t.Fatal(err)
	}
	if found := Detect(root); len(found) != 1 {
		t.Errorf("found %+v, want one", found)
	}
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, step := range []struct {
		dir  string
		want Kind
	}{{"etc", None}, {"etc/cron.d", Cron}, {"usr/lib/systemd/systemd", Timer}, {"run/systemd/system", Timer}} {
		if err := os.MkdirAll(filepath.Join(root, step.dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if got := Suggest(root); got != step.want {
			t.Errorf("with %s: %s, want %s", step.dir, got, step.want)
		}
	}
}

// TestOffline: what is found in an image is turned off from outside.
func TestOffline(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	put(t, filepath.Join(root, "usr/lib/systemd/system/acmetool.timer"), "")
	put(t, filepath.Join(root, "etc/systemd/system/timers.target.wants/acmetool.timer"), "")
	put(t, filepath.Join(root, "etc/systemd/system/certd.timer"), "")
	put(t, filepath.Join(root, "var/spool/cron/crontabs/acme"), "1 2 * * * acmetool reconcile\n")
	put(t, filepath.Join(root, "etc/cron.d/certd"), "1 2 * * * root certd reconcile\n#!certd-managed!#\n")
	want := []string{"", "twice: systemctl --root " + root + " disable acmetool.timer", "quickstart removes it", "twice: remove the line from " + root + "/var/spool/cron/crontabs/acme"}
	found := Detect(root)
	if len(found) != len(want) {
		t.Fatalf("%d things found, want %d: %+v", len(found), len(want), found)
	}
	for i, f := range found {
		if got := f.Offline(root).Advice; !strings.HasSuffix(got, want[i]) || want[i] == "" && got != "" {
			t.Errorf("%s: advice %q, want %q at its end", f.Path, got, want[i])
		}
	}
	o := options(Daemon)
	o.Root, o.Sockets = root, []string{SocketProxy}
	if got := fmt.Sprint(Enable(o)); got != "[[systemctl --root "+root+" enable certd-hooks.socket certd-proxy.socket certd.service]]" {
		t.Errorf("Enable: %s", got)
	}
	if got := Enable(options(Cron)); got != nil {
		t.Errorf("cron needs nothing enabled: %v", got)
	}
}

func FuzzCronLines(f *testing.F) {
	f.Add("0 3 * * * root /usr/bin/acmetool --batch reconcile\n")
	f.Add("@daily certd reconcile;\"certd\"\n#certd\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, found := range cronLines("", "/etc/cron.d/x", text) {
			if strings.ContainsAny(found.What, "\n\r\x1b\x00") || len(found.What) > 300 {
				t.Errorf("unfit to be shown: %q", found.What)
			}
		}
	})
}
