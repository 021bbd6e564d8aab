package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"certd/acme/acmetest"
	"certd/challenge"
	"certd/test/ports"
)

// needProgram finds a server that a test cannot do without.
func needProgram(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/local/sbin", "/usr/sbin", "/sbin") {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	if os.Getenv("CERTD_TEST_REQUIRE") == "1" {
		t.Fatalf("%s is not installed; build/packages.sh installs it", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// A served is a state directory with certificates that certd got and published.
type served struct {
	dir, state, settings string
	http, tls            int
}

// newServed wants names of every kind: two for one certificate, one with two
// certificates, an address. A wildcard is added by hand, for http-01 has none.
func newServed(t *testing.T) *served {
	t.Helper()
	ca := acmetest.StartT(t, acmetest.Options{})
	s := &served{dir: t.TempDir(), http: ports.Free(t), tls: ports.Free(t)}
	s.state = filepath.Join(s.dir, "acme")
	s.settings = fmt.Sprintf("cas:\n  - {name: testca, directory: %q, ca-bundle: %q}\n", ca.URL(), filepath.Join(s.dir, "ca.pem"))
	s.write(t, "ca.pem", string(ca.RootsPEM()))
	s.write(t, "acme/conf/certd.yaml", s.settings+fmt.Sprintf("challenge: {http-port: %d, resolver: %q}\n", ca.HTTPPort(), ca.Resolver()))
	s.method(t, challenge.MethodListen)
	s.certd(t, "want", "shop.example.test", "www.example.test")
	s.certd(t, "want", "--label", "rsa", "--key-type", "rsa", "mail.example.test")
	s.certd(t, "want", "--key-type", "ecdsa", "mail.example.test")
	s.certd(t, "want", "--no-reconcile", "soon.example.test")
	for alias, name := range map[string]string{"*.wild.test": "shop.example.test", "2001:db8::1": "mail.example.test"} {
		link, err := os.Readlink(filepath.Join(s.state, "live", name))
		if err == nil {
			err = os.Symlink(link, filepath.Join(s.state, "live", alias))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.write(t, "acme/conf/certd.yaml", s.settings+fmt.Sprintf("challenge: {http-port: %d, tls-port: %d}\n", s.http, s.tls))
	s.write(t, "hooks/haproxy.conf", "HAPROXY_ALWAYS_GENERATE=yes\n")
	s.certd(t, "hooks", "install")
	return s
}

func (s *served) write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(s.dir, name)
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func (s *served) method(t *testing.T, method string) {
	t.Helper()
	s.write(t, "acme/conf/target", "request: {challenge: {method: "+method+"}}\n")
}

// certd runs a command that has to succeed, and returns what it prints.
func (s *served) certd(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs strings.Builder
	args = append([]string{"--state", s.state, "--hooks", filepath.Join(s.dir, "hooks")}, args...)
	if code := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &errs}); code != exitOK {
		t.Fatalf("certd %q: exit %d: %s%s", args, code, out.String(), errs.String())
	}
	return out.String()
}

// TestSnippetServers: the real servers take what is printed, for each method they
// can do and with the certificates that certd published.
func TestSnippetServers(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	for _, test := range []func(*testing.T, *served){testHAProxy, testNginx, testApache, testCaddy} {
		test(t, s)
	}
}

// each prints the snippet for every method the server can do, and has it checked.
func (s *served) each(t *testing.T, server, program string, check func(t *testing.T, method, text string) *exec.Cmd) {
	t.Run(server, func(t *testing.T) {
		needProgram(t, program)
		for _, m := range methods() {
			way := way{method: m.value}
			if rule, _ := ruleOf(server, m.value); rule == "" && way.needsPort80() {
				continue
			}
			s.method(t, m.value)
			text := s.certd(t, "snippet", server)
			for _, want := range []string{"mail.example.test:rsa", "*.wild.test", "2001:db8::1", "/live/shop.example.test/"} {
				if !strings.Contains(text, want) {
					t.Errorf("%s %s: it does not have %s:\n%s", server, m.value, want, text)
				}
			}
			if strings.Contains(text, "live/soon.example.test") || strings.Contains(text, "live/www.example.test") {
				t.Errorf("%s %s: not one block for each certificate that is there:\n%s", server, m.value, text)
			}
			cmd := check(t, m.value, text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s %s: %v: %v\n%s\n%s", server, m.value, cmd.Args, err, out, text)
			}
		}
	})
}

func testNginx(t *testing.T, s *served) {
	s.each(t, serverNginx, "nginx", func(t *testing.T, method, text string) *exec.Cmd {
		conf := s.write(t, "nginx.conf", "pid nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\nserver_names_hash_bucket_size 512;\n"+text+"}\n")
		return exec.CommandContext(t.Context(), needProgram(t, "nginx"), "-t", "-q", "-p", s.dir, "-c", conf)
	})
}

func testApache(t *testing.T, s *served) {
	s.each(t, serverApache, "apachectl", func(t *testing.T, method, text string) *exec.Cmd {
		var conf strings.Builder
		fmt.Fprintf(&conf, "ServerRoot %q\nServerName localhost\nPidFile %q\nErrorLog %q\n", s.dir, filepath.Join(s.dir, "apache.pid"), filepath.Join(s.dir, "apache.log"))
		for _, m := range []string{"mpm_event", "authz_core", "alias", "socache_shmcb", "ssl", "rewrite", "proxy", "proxy_http"} {
			fmt.Fprintf(&conf, "LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n", m, m)
		}
		fmt.Fprintf(&conf, "Listen %d\nListen %d\n%s", s.http, s.tls, text)
		file := s.write(t, "apache.conf", conf.String())
		return exec.CommandContext(t.Context(), needProgram(t, "apachectl"), "-t", "-f", file)
	})
}

func testHAProxy(t *testing.T, s *served) {
	for _, event := range []string{"shop.example.test", "mail.example.test", "mail.example.test:rsa", "*.wild.test", "2001:db8::1"} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(s.dir, "hooks", "haproxy"), "live-updated")
		cmd.Stdin, cmd.Env = strings.NewReader(event+"\n"), append(os.Environ(), "ACME_STATE_DIR="+s.state)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("the hook haproxy for %s: %v\n%s", event, err, out)
		}
	}
	s.each(t, serverHAProxy, "haproxy", func(t *testing.T, method, text string) *exec.Cmd {
		conf := s.write(t, "haproxy.cfg", "defaults\n    timeout connect 5s\n    timeout client 5s\n    timeout server 5s\n\n"+text)
		return exec.CommandContext(t.Context(), needProgram(t, "haproxy"), "-c", "-q", "-f", conf)
	})
}

func testCaddy(t *testing.T, s *served) {
	s.each(t, serverCaddy, "caddy", func(t *testing.T, method, text string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), needProgram(t, "caddy"), "validate", "--adapter", "caddyfile", "--config", s.write(t, "Caddyfile", text))
		cmd.Env = append(os.Environ(), "HOME="+s.dir, "XDG_DATA_HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir)
		return cmd
	})
}
