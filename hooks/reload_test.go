package hooks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rig is a hook directory with the reload hook and its reload.conf, and a
// directory of fake programs that comes first in PATH.
type rig struct {
	dir, bin string
}

// aloof keeps the hook from looking for servers that run on this machine.
const aloof = "NGINX_PID=/nonexistent APACHE_PID=/nonexistent HAPROXY_PID=/nonexistent\n"

func newRig(t *testing.T, name, conf string) rig {
	t.Helper()
	g := rig{dir: hookDir(t), bin: hookDir(t)}
	install(t, g.dir)
	for _, other := range []string{"haproxy", "reload"} {
		if other != name {
			if err := os.Truncate(filepath.Join(g.dir, other), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	hook(t, filepath.Join(g.dir, name+".conf"), aloof+strings.ReplaceAll(conf, "BIN", g.bin), 0o644)
	return g
}

// fake puts a program into PATH that writes down how it was called.
func (g rig) fake(t *testing.T, name, text string) {
	t.Helper()
	script(t, filepath.Join(g.bin, name), "cd "+g.bin+"\necho "+name+" \"$@\" >>calls\n"+text)
}

// calls returns what was called since the last time, but for questions.
func (g rig) calls(t *testing.T) string {
	t.Helper()
	path := filepath.Join(g.bin, "calls")
	if !exists(path) {
		return ""
	}
	var acts []string
	for line := range strings.Lines(read(t, path)) {
		if !strings.Contains(line, "is-active") && !strings.Contains(line, " status") && !strings.Contains(line, " show ") && !strings.Contains(line, " -V") {
			acts = append(acts, strings.TrimSpace(line))
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	return strings.Join(acts, "; ")
}

func (g rig) run(t *testing.T, names string) Result {
	t.Helper()
	r := &Runner{Dirs: []string{g.dir}, Environ: []string{"PATH=" + g.bin + ":/usr/bin:/bin", "HOME=/"}}
	return one(t, r, Event{Name: "live-updated", Stdin: []byte(names)})
}

// systemctl knows the units that have a file here: running, norestart or broken.
const systemctl = `case $1 in
is-active) [ -e "unit-$3" ] ;;
show) if [ -e "noreload-$4" ]; then echo no; else echo yes; fi ;;
--no-ask-password) if [ -e "fails-$3" ]; then echo "Job for $3 failed." >&2; exit 1; fi ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac
`

func TestReloadWithSystemd(t *testing.T) {
	t.Parallel()
	const nginxTest = "nginx -t; "
	tested := nginxTest
	if os.Geteuid() != 0 {
		tested = "" // only root can read the keys that a test reads
	}
	for _, tt := range []struct {
		name   string
		files  string // in the directory of the fakes
		conf   string
		code   int
		calls  string
		output string
	}{
		{"nothing runs", "", "SERVICES='nginx apache2 postfix'", 0, "", "none is running of: nginx apache2 postfix"},
		{"one runs", "unit-nginx.service", "SERVICES='apache2 nginx postfix'", 0,
			tested + "systemctl --no-ask-password reload nginx.service", "reload: nginx: reloaded"},
		{"written in full", "unit-nginx.service", "SERVICES=nginx.service", 0,
			tested + "systemctl --no-ask-password reload nginx.service", "reload: nginx: reloaded"},
		{"nginx called in its own way", "unit-nginx.service", "SERVICES=nginx NGINX='nginx -p /srv -c n*.conf'", 0,
			strings.Replace(tested, "-t", "-p /srv -c n*.conf -t", 1) + "systemctl --no-ask-password reload nginx.service", "reloaded"},
		{"reload fails, the next goes on", "unit-nginx.service fails-nginx.service unit-mydaemon.service", "SERVICES='nginx mydaemon'", 1,
			tested + "systemctl --no-ask-password reload nginx.service; systemctl --no-ask-password reload mydaemon.service", "Job for nginx.service failed."},
		{"cannot reload", "unit-mydaemon.service noreload-mydaemon.service", "SERVICES=mydaemon", 1, "", "mydaemon: cannot reload; take it out of SERVICES"},
		{"cannot reload, but nobody asked for it", "unit-quassel.service noreload-quassel.service", "defaults=quassel SERVICES=quassel", 0, "", "quassel: runs, but cannot reload"},
		{"not a name", "", "SERVICES='-x;id nginx'", 1, "", "-x;id: not a name of a service"},
		{"none wanted", "unit-nginx.service", "SERVICES=", 0, "", "nothing to reload"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, "reload", "RELOAD_MANAGER=systemd\n"+tt.conf+"\n")
			g.fake(t, "systemctl", systemctl)
			g.fake(t, "nginx", "[ ! -e broken ] || { echo 'nginx: [emerg] no such thing'; exit 1; }\n")
			g.fake(t, "postfix", "exit 1\n")
			for file := range strings.FieldsSeq(tt.files) {
				hook(t, filepath.Join(g.bin, file), "", 0o644)
			}
			res := g.run(t, "www.example.com\n")
			if res.Code != tt.code {
				t.Errorf("exit status %d, want %d:\n%s", res.Code, tt.code, res.Output)
			}
			contains(t, "the output", res.Output, tt.output)
			if got := g.calls(t); got != tt.calls {
				t.Errorf("called %q, want %q", got, tt.calls)
			}
		})
	}
}

func TestReloadTestsFirst(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("configurations of system services are tested by root only")
	}
	g := newRig(t, "reload", "RELOAD_MANAGER=systemd\nSERVICES='nginx mydaemon'\n")
	g.fake(t, "systemctl", systemctl)
	g.fake(t, "nginx", "echo 'nginx: [emerg] no such thing'; exit 1\n")
	hook(t, filepath.Join(g.bin, "unit-nginx.service"), "", 0o644)
	hook(t, filepath.Join(g.bin, "unit-mydaemon.service"), "", 0o644)
	res := g.run(t, "www.example.com\n")
	if res.Code != 1 {
		t.Errorf("exit status %d with a broken configuration, want 1", res.Code)
	}
	contains(t, "the output", res.Output, "nginx: not reloaded", "nginx: [emerg] no such thing", "mydaemon: reloaded (not tested; ")
	if got := g.calls(t); got != "nginx -t; systemctl --no-ask-password reload mydaemon.service" {
		t.Errorf("called %q, want nginx tested but not reloaded", got)
	}
}

func TestReloadWithInitScripts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ manager, program string }{{"sysv", "service"}, {"openrc", "rc-service"}} {
		t.Run(tt.manager, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, "reload", "RELOAD_MANAGER="+tt.manager+"\nSERVICES='one two three'\n")
			g.fake(t, tt.program, "case \"$1 $2\" in one*|'three status') ;; *) echo \"$1 says no\"; exit 3 ;; esac\n")
			res := g.run(t, "www.example.com\n")
			contains(t, "the output", res.Output, "one: reloaded", "three: could not be reloaded", "three says no")
			want := fmt.Sprintf("%[1]s one reload; %[1]s three reload", tt.program)
			if got := g.calls(t); res.Code != 1 || got != want {
				t.Errorf("exit status %d, called %q; want 1 and %q", res.Code, got, want)
			}
		})
	}
}

func TestReloadPostfixWithoutManager(t *testing.T) {
	t.Parallel()
	g := newRig(t, "reload", "RELOAD_MANAGER=none\nSERVICES='postfix unknown'\n")
	g.fake(t, "postfix", "case $1 in check) [ ! -e broken ] || { echo fatal: bad main.cf >&2; exit 1; } ;; esac\n")
	res := g.run(t, "mail.example.com\n")
	if got := g.calls(t); res.Code != 0 || got != "postfix check; postfix reload" {
		t.Errorf("exit status %d, called %q:\n%s", res.Code, got, res.Output)
	}
	hook(t, filepath.Join(g.bin, "broken"), "", 0o644)
	res = g.run(t, "mail.example.com\n")
	if got := g.calls(t); res.Code != 1 || got != "postfix check" {
		t.Errorf("broken: exit status %d, called %q; want 1 and no reload", res.Code, got)
	}
	contains(t, "the output", res.Output, "fatal: bad main.cf")
}

func TestReloadDoesNotReadWhatOthersWrite(t *testing.T) {
	t.Parallel()
	g := newRig(t, "reload", "RELOAD_MANAGER=none\nSERVICES=\ntouch BIN/read\n")
	chmod(t, filepath.Join(g.dir, "reload.conf"), 0o666)
	r := &Runner{Dirs: []string{g.dir}, Environ: []string{"PATH=" + g.bin + ":/usr/bin:/bin", "SERVICES="}}
	res := one(t, r, Event{Name: "live-updated"})
	if res.Code != 1 || exists(filepath.Join(g.bin, "read")) {
		t.Errorf("got %+v, want exit status 1 and the file not read", res)
	}
	contains(t, "the output", res.Output, "reload.conf is not read, for others may write it")
}
