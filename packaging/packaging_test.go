package packaging

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// options are those of the golden files.
func options(kind Kind) Options {
	return Options{Kind: kind, Binary: "/usr/bin/certd", StateDir: "/var/lib/acme", Seed: "0123456789abcdef"}
}

func plan(t *testing.T, o Options) []File {
	t.Helper()
	files, err := Plan(o)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// planned is the text of one planned file, by its base name.
func planned(t *testing.T, o Options, name string) string {
	t.Helper()
	for _, f := range plan(t, o) {
		if filepath.Base(f.Path) == name {
			return string(f.Data)
		}
	}
	t.Fatalf("%s is not planned for %+v", name, o)
	return ""
}

// TestGolden shows every file as it is installed. After a change:
// go test ./packaging -run Golden -update, and read the difference.
func TestGolden(t *testing.T) {
	for name, o := range map[string]Options{
		"timer":      options(Timer),
		"daemon":     options(Daemon),
		"cron":       options(Cron),
		"redirector": {Kind: None, Redirector: true, Binary: "/usr/bin/certd", StateDir: "/var/lib/acme"},
		"elsewhere": {Kind: Daemon, Redirector: true, Binary: "/opt/certd/bin/certd", StateDir: "/srv/tls/state", UnitDir: "/usr/lib/systemd/system",
			HookDirs: []string{"/opt/certd/hooks", "/etc/acme/hooks"}, Sockets: []string{SocketProxy}, WritePaths: []string{"/var/www/acme", "/home/www/acme"}},
	} {
		dir := filepath.Join("testdata", name)
		var want []string
		for _, f := range plan(t, o) {
			golden := filepath.Join(dir, f.Path)
			want = append(want, golden)
			if f.Mode != 0o644 {
				t.Errorf("%s: mode %v", f.Path, f.Mode)
			}
			if flag.Lookup("update").Value.String() == "true" {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, f.Data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			have, err := os.ReadFile(golden)
			if err != nil {
				t.Errorf("no golden file: %v", err)
			} else if string(have) != string(f.Data) {
				t.Errorf("%s is not what %s says:\n%s", f.Path, golden, f.Data)
			}
		}
		filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !slices.Contains(want, path) {
				t.Errorf("%s is not planned any more", path)
			}
			return err
		})
	}
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files")
	os.Exit(m.Run())
}

func TestPlanFillsInEverything(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{Timer, Daemon, Cron, None} {
		o := options(kind)
		o.Redirector = true
		for _, f := range plan(t, o) {
			for line := range strings.Lines(string(f.Data)) {
				if !strings.HasPrefix(line, "SystemCallFilter=") && strings.Count(line, "@") > 1 && !strings.Contains(line, "certd-hooks@.service") {
					t.Errorf("%s: something is not filled in: %s", f.Path, line)
				}
			}
			if !managed(f.Data) {
				t.Errorf("%s has no marker", f.Path)
			}
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*Options){
		`kind ""`:                 func(o *Options) { o.Kind = "" },
		`kind "redirector"`:       func(o *Options) { o.Kind = Redirector },
		`socket "https"`:          func(o *Options) { o.Sockets = []string{"https"} },
		"not to both":             func(o *Options) { o.Sockets, o.Redirector = []string{SocketHTTP}, true },
		`path ""`:                 func(o *Options) { o.Binary = "" },
		`path "certd"`:            func(o *Options) { o.Binary = "certd" },
		`path "/"`:                func(o *Options) { o.StateDir = "/" },
		`path "/var/lib/../etc"`:  func(o *Options) { o.StateDir = "/var/lib/../etc" },
		`path "/var/lib/a b"`:     func(o *Options) { o.StateDir = "/var/lib/a b" },
		`path "/var/lib/%h"`:      func(o *Options) { o.StateDir = "/var/lib/%h" },
		`path "/x\nUser=root"`:    func(o *Options) { o.HookDirs = []string{"/x\nUser=root"} },
		`path "/srv/$(reboot)"`:   func(o *Options) { o.HookDirs = []string{"/srv/$(reboot)"} },
		`path "/srv/www;reboot"`:  func(o *Options) { o.WritePaths = []string{"/srv/www;reboot"} },
		`path "/srv/\"quoted\""`:  func(o *Options) { o.WritePaths = []string{`/srv/"quoted"`} },
		`path "/srv/back\\slash"`: func(o *Options) { o.WritePaths = []string{`/srv/back\slash`} },
	} {
		o := options(Daemon)
		edit(&o)
		for what, err := range map[string]error{"Plan": second(Plan(o)), "CronLine": second(CronLine(o)), "Install": second(Install(o, nil))} {
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v, want an error about %s", what, err, name)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestHomesStayHiddenButForWebroots(t *testing.T) {
	t.Parallel()
	o := options(Daemon)
	if text := planned(t, o, "certd.service"); !strings.Contains(text, "\nProtectHome=yes\n") || strings.Contains(text, "ReadWritePaths") {
		t.Errorf("nothing in /home:\n%s", text)
	}
	o.WritePaths = []string{"/var/www", "/home/www"}
	text := planned(t, o, "certd.service")
	for _, line := range []string{"ReadWritePaths=-/home/www -/var/www", "ProtectHome=tmpfs", "BindPaths=-/home/www", "StateDirectory=acme"} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("a webroot in /home: no line %q:\n%s", line, text)
		}
	}
}

func TestRedirectorSeesNoSecret(t *testing.T) {
	t.Parallel()
	o := options(None)
	o.Redirector = true
	text := planned(t, o, "certd-redirector.service")
	for _, dir := range []string{"keys", "accounts", "certs"} {
		if !strings.Contains(text, "-/var/lib/acme/"+dir) {
			t.Errorf("the redirector may look into %s:\n%s", dir, text)
		}
	}
}

func TestCronLine(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	o := options(Cron)
	o.Root, o.Seed = root, ""
	lines := make(map[string]bool)
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		put(t, filepath.Join(root, "etc/machine-id"), id+"\n")
		first, err := CronLine(o)
		again, err2 := CronLine(o)
		if err != nil || err2 != nil || first != again {
			t.Fatalf("%q, then %q; %v %v", first, again, err, err2)
		}
		lines[first] = true
		if !strings.HasSuffix(first, " * * * /usr/bin/certd --state /var/lib/acme --batch --log-level warn reconcile >/dev/null") {
			t.Errorf("crontab line %q", first)
		}
	}
	if len(lines) < 5 {
		t.Errorf("6 machines share %d moments", len(lines))
	}
	if err := os.Remove(filepath.Join(root, "etc/machine-id")); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(root, "etc/hostname"), "www1\n")
	here := o.when()
	put(t, filepath.Join(root, "etc/hostname"), "www2\n")
	if o.when() == here {
		t.Error("without a machine-id the host name makes no difference")
	}
}

// put writes a file of a test's root.
func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
