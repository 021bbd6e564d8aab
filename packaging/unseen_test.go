package packaging

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFindUnseen: what a unit hides is told, once for each path, with the units
// and a remedy; what it sees is not.
func TestFindUnseen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*Options)
		want   []string // the beginnings of what is said
	}{
		{"all in its place", func(o *Options) { o.ReadPaths, o.HookDirs = []string{"/etc/ssl/ca.pem"}, []string{"/etc/acme/hooks"} }, nil},
		{"the program in a home, daemon", func(o *Options) { o.Binary = "/home/me/bin/certd" },
			[]string{"certd.service does not see the program /home/me/bin/certd: put it"}},
		{"the program in a home, timer", func(o *Options) { o.Kind, o.Binary = Timer, "/root/certd" }, nil},
		{"the program in a home, cron", func(o *Options) { o.Kind, o.Binary = Cron, "/tmp/certd" }, nil},
		{"the program in a home, timer and redirector", func(o *Options) { o.Kind, o.Binary, o.Redirector = Timer, "/root/certd", true },
			[]string{"certd-redirector.service does not see the program /root/certd"}},
		{"the program in /tmp, daemon and redirector", func(o *Options) { o.Binary, o.Redirector = "/tmp/certd", true },
			[]string{"certd-hooks@.service and certd-redirector.service and certd.service do not see the program /tmp/certd"}},
		{"the program in /var/tmp, timer", func(o *Options) { o.Kind, o.Binary = Timer, "/var/tmp/certd" },
			[]string{"certd-reconcile.service does not see the program /var/tmp/certd"}},
		{"files of the CA", func(o *Options) { o.ReadPaths = []string{"/run/user/0/ca.pem", "/root/hmac", "/rooted/hmac"} },
			[]string{"certd.service does not see the file /run/user/0/ca.pem: move it", "certd.service does not see the file /root/hmac"}},
		{"a webroot in a home, which is let through", func(o *Options) { o.WritePaths = []string{"/home/www/acme-challenge"} }, nil},
		{"a CA's roots in such a webroot", func(o *Options) {
			o.WritePaths, o.ReadPaths = []string{"/home/www"}, []string{"/home/www/ca.pem", "/home/www2/ca.pem"}
		},
			[]string{"certd.service does not see the file /home/www2/ca.pem"}},
		{"a webroot in /tmp", func(o *Options) { o.WritePaths = []string{"/tmp/www"} }, []string{"certd.service does not see the directory /tmp/www: choose"}},
		{"a state directory in a home", func(o *Options) { o.StateDir, o.Redirector = "/home/me/acme", true }, nil},
		{"a state directory in /tmp", func(o *Options) { o.Kind, o.StateDir = Timer, "/tmp/acme" },
			[]string{"certd-reconcile.service does not see the state directory /tmp/acme: move it"}},
		{"hooks in a home, which root's helper sees", func(o *Options) { o.HookDirs = []string{"/home/me/hooks"} }, nil},
		{"hooks in /tmp", func(o *Options) { o.HookDirs = []string{"/etc/acme/hooks", "/tmp/hooks"} },
			[]string{"certd-hooks@.service does not see the hook directory /tmp/hooks: use another"}},
		{"nothing runs", func(o *Options) { o.Kind, o.Binary = None, "/tmp/certd" }, nil},
	} {
		o := options(Daemon)
		tt.change(&o)
		found := FindUnseen(o)
		if len(found) != len(tt.want) {
			t.Errorf("%s: %v, want %d of them", tt.name, found, len(tt.want))
			continue
		}
		for i, u := range found {
			if !strings.HasPrefix(u.String(), tt.want[i]) {
				t.Errorf("%s: %q, want %q", tt.name, u, tt.want[i])
			}
		}
	}
}

// TestFindUnseenFollowsLinks: what counts is where a path leads to.
func TestFindUnseenFollowsLinks(t *testing.T) {
	t.Parallel()
	target := filepath.Join(t.TempDir(), "certd") // below /tmp
	if !strings.HasPrefix(target, "/tmp/") {
		t.Skip("temporary files are not in /tmp")
	}
	put(t, target, "")
	link := filepath.Join("/dev/shm", filepath.Base(filepath.Dir(filepath.Dir(target))))
	if err := os.Symlink(target, link); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.Remove(link) })
	o := options(Timer)
	o.Binary = link
	if found := FindUnseen(o); len(found) != 1 || found[0].Path != link {
		t.Errorf("a link into /tmp: %v, want it found", found)
	}
}
