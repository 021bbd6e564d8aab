package packaging

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// write is a ReplaceFile for tests.
func write(path string, data []byte, perm fs.FileMode) error { return os.WriteFile(path, data, perm) }

// install installs and returns what was done by path below the root.
func install(t *testing.T, o Options) map[string]string {
	t.Helper()
	changes, err := Install(o, write)
	if err != nil {
		t.Fatal(err)
	}
	done := make(map[string]string)
	for _, c := range changes {
		done[strings.TrimPrefix(c.Path, o.Root)] = c.Action
	}
	return done
}

// rooted are the golden options in a root of their own.
func rooted(t *testing.T, kind Kind) Options {
	t.Helper()
	o := options(kind)
	o.Root = t.TempDir()
	return o
}

func actions(done map[string]string) []string {
	return slices.Compact(slices.Sorted(maps.Values(done)))
}

func TestInstallIsIdempotent(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{Timer, Daemon, Cron, None} {
		o := rooted(t, kind)
		o.Redirector = true
		if got := actions(install(t, o)); !slices.Equal(got, []string{Written}) {
			t.Errorf("%s, first time: %v", kind, got)
		}
		for _, f := range plan(t, o) {
			if info, err := os.Stat(f.Path); err != nil || info.Mode() != f.Mode {
				t.Errorf("%s: %s: %v %v", kind, f.Path, info, err)
			}
		}
		if got := actions(install(t, o)); !slices.Equal(got, []string{Unchanged}) {
			t.Errorf("%s, second time: %v", kind, got)
		}
	}
}

func TestInstallUpdatesWhatItWroteAndKeepsTheRest(t *testing.T) {
	t.Parallel()
	o := rooted(t, Timer)
	install(t, o)
	timer := filepath.Join(o.Root, "etc/systemd/system/certd.timer")
	put(t, timer, "# mine\n[Timer]\nOnCalendar=hourly\n")
	o.StateDir = "/srv/acme"
	done := install(t, o)
	if done["/etc/systemd/system/certd.timer"] != Kept || done["/etc/systemd/system/certd-reconcile.service"] != Updated {
		t.Errorf("an edited timer, another state directory: %v", done)
	}
	if data, _ := os.ReadFile(timer); !strings.HasPrefix(string(data), "# mine") {
		t.Errorf("the administrator's timer is gone: %q", data)
	}
	if err := os.Remove(timer); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", timer); err != nil {
		t.Fatal(err)
	}
	if done := install(t, o); done["/etc/systemd/system/certd.timer"] != Kept {
		t.Errorf("a masked timer: %v", done)
	}
}

// TestOneKindAtATime: whatever order kinds are chosen in, only the last one's
// files are left, and nothing that an administrator wrote is removed.
func TestOneKindAtATime(t *testing.T) {
	t.Parallel()
	o := rooted(t, Timer)
	own := filepath.Join(o.Root, "etc/systemd/system/certd-local.service")
	put(t, own, "[Service]\n")
	for _, kind := range []Kind{Timer, Daemon, Cron, Daemon, Timer, None, Cron, Timer} {
		o.Kind = kind
		o.Redirector = kind == Daemon
		install(t, o)
		want := []string{own}
		for _, f := range plan(t, o) {
			want = append(want, f.Path)
		}
		var have []string
		filepath.WalkDir(o.Root, func(path string, d fs.DirEntry, _ error) error {
			if !d.IsDir() {
				have = append(have, path)
			}
			return nil
		})
		slices.Sort(want)
		if !slices.Equal(have, want) {
			t.Fatalf("after %s there are\n%q, want\n%q", kind, have, want)
		}
	}
	put(t, filepath.Join(o.Root, cronFile), "# mine\n")
	if done := install(t, o); done[cronFile] != Kept {
		t.Errorf("an administrator's own %s: %v", cronFile, done)
	}
}

func TestInstallLeavesThePackagesUnits(t *testing.T) {
	t.Parallel()
	o := rooted(t, Timer)
	packaged := o
	packaged.UnitDir = "/usr/lib/systemd/system"
	install(t, packaged)
	if got := actions(install(t, o)); !slices.Equal(got, []string{Unchanged}) {
		t.Errorf("the package has the same units: %v", got)
	}
	if _, err := os.Stat(filepath.Join(o.Root, "etc/systemd/system/certd.timer")); err == nil {
		t.Error("the package's timer was copied to /etc")
	}
	o.StateDir = "/srv/acme"
	done := install(t, o)
	if done["/etc/systemd/system/certd-reconcile.service"] != Written || done["/etc/systemd/system/certd.timer"] != Unchanged {
		t.Errorf("another state directory than the package's: %v", done)
	}
	o.Kind = Cron
	install(t, o)
	if _, err := os.Stat(filepath.Join(o.Root, "usr/lib/systemd/system/certd.timer")); err != nil {
		t.Errorf("a package's file was removed: %v", err)
	}
}

// TestFailedInstallRemovesNothing: certificates go on being renewed.
func TestFailedInstallRemovesNothing(t *testing.T) {
	t.Parallel()
	o := rooted(t, Cron)
	install(t, o)
	o.Kind = Daemon
	full := errors.New("no space left on device")
	changes, err := Install(o, func(path string, data []byte, perm fs.FileMode) error {
		if strings.HasSuffix(path, "certd.service") {
			return full
		}
		return write(path, data, perm)
	})
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "certd.service") || len(changes) != 5 {
		t.Errorf("%v, %v", changes, err)
	}
	if _, err := os.Stat(filepath.Join(o.Root, cronFile)); err != nil {
		t.Errorf("the cron entry is gone: %v", err)
	}
}

// spoken joins commands for comparison.
func spoken(commands [][]string) string {
	var lines []string
	for _, c := range commands {
		lines = append(lines, strings.Join(c, " "))
	}
	return strings.Join(lines, "\n")
}

func TestCommands(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		had           Kind
		edit          func(*Options)
		before, after string
	}{
		{"timer", None, func(o *Options) { o.Kind = Timer }, "",
			"systemctl daemon-reload\nsystemctl enable certd.timer\nsystemctl restart certd.timer"},
		{"daemon after timer", Timer, func(o *Options) { o.Kind, o.Sockets = Daemon, []string{SocketProxy} }, "systemctl disable --now certd.timer",
			"systemd-sysusers /etc/sysusers.d/certd.conf\nsystemctl daemon-reload\n" +
				"systemctl enable certd-hooks.socket certd-proxy.socket certd.service\nsystemctl stop certd.service\n" +
				"systemctl restart certd-hooks.socket certd-proxy.socket\nsystemctl start certd.service"},
		{"daemon elsewhere", None, func(o *Options) { o.Kind, o.StateDir = Daemon, "/srv/acme" }, "",
			"systemd-sysusers /etc/sysusers.d/certd.conf\nmkdir -p -m 0755 /srv/acme\nchown -R certd:certd /srv/acme\nsystemctl daemon-reload\n" +
				"systemctl enable certd-hooks.socket certd.service\nsystemctl stop certd.service\nsystemctl restart certd-hooks.socket\nsystemctl start certd.service"},
		{"daemon with a webroot", None, func(o *Options) {
			o.Kind, o.WritePaths = Daemon, []string{"/var/www/.well-known/acme-challenge", "/var/lib/prometheus/node-exporter"}
		}, "", "systemd-sysusers /etc/sysusers.d/certd.conf\nchown certd:certd /var/www/.well-known/acme-challenge\nsystemctl daemon-reload\n" +
			"systemctl enable certd-hooks.socket certd.service\nsystemctl stop certd.service\nsystemctl restart certd-hooks.socket\nsystemctl start certd.service"},
		{"cron after daemon", Daemon, func(o *Options) { o.Kind = Cron },
			"systemctl disable --now certd.service certd-hooks.socket certd-http.socket certd-proxy.socket", "systemctl daemon-reload"},
		{"redirector alone", None, func(o *Options) { o.Redirector = true }, "",
			"systemd-tmpfiles --create /etc/tmpfiles.d/certd.conf\nsystemctl daemon-reload\nsystemctl enable certd-redirector.socket certd-redirector.service\n" +
				"systemctl stop certd-redirector.service\nsystemctl restart certd-redirector.socket\nsystemctl start certd-redirector.service"},
		{"nothing, had nothing", None, func(*Options) {}, "", "systemctl daemon-reload"},
	} {
		o := rooted(t, tt.had)
		if got := spoken(Before(o)) + spoken(After(o)); got != "" {
			t.Errorf("%s: without systemd:\n%s", tt.name, got)
		}
		put(t, filepath.Join(o.Root, "run/systemd/system/.keep"), "")
		install(t, o)
		tt.edit(&o)
		if got := spoken(Before(o)); got != tt.before {
			t.Errorf("%s, before:\n%s\nwant\n%s", tt.name, got, tt.before)
		}
		install(t, o)
		if got := spoken(After(o)); got != tt.after {
			t.Errorf("%s, after:\n%s\nwant\n%s", tt.name, got, tt.after)
		}
	}
}
