package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"certd/acme/acmetest"
	"certd/test/ports"
)

// An nginx is a real server of a site: challenges from the webroot over HTTP,
// TLS from live/.
type nginx struct {
	s       *site
	binary  string
	prefix  string
	http    int
	tls     int
	command *exec.Cmd
}

const nginxConf = `daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path %[1]s/tmp; proxy_temp_path %[1]s/tmp; fastcgi_temp_path %[1]s/tmp; uwsgi_temp_path %[1]s/tmp; scgi_temp_path %[1]s/tmp;
	server {
		listen 127.0.0.1:%[2]d;
		location /.well-known/acme-challenge/ { alias %[1]s/webroot/; }
	}
	%[3]s
}
`

func startNginx(t testing.TB, s *site, httpPort int) *nginx {
	t.Helper()
	n := &nginx{s: s, binary: needProgram(t, "nginx"), prefix: filepath.Join(s.dir, "nginx"), http: httpPort, tls: ports.Free(t)}
	if err := os.MkdirAll(filepath.Join(n.prefix, "webroot"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.dir, 0o755); err != nil { // nginx's workers are another user
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(s.dir), 0o755); err != nil {
		t.Fatal(err)
	}
	n.configure("")
	n.command = exec.Command(n.binary, "-p", n.prefix, "-c", "nginx.conf")
	n.command.Stderr = os.Stderr
	if err := n.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = n.command.Process.Signal(os.Interrupt)
		_ = n.command.Wait()
	})
	waitFor(t, "nginx listens", func() bool { return n.reachable(n.http) })
	return n
}

// configure writes nginx.conf with more directives in its http section.
func (n *nginx) configure(more string) {
	n.s.write("nginx/nginx.conf", fmt.Sprintf(nginxConf, n.prefix, n.http, more))
}

// tlsServer is the section of a server that uses live/<name>.
func (n *nginx) tlsServer(name string) string {
	live := filepath.Join(n.s.state, "live", name)
	return fmt.Sprintf("server { listen 127.0.0.1:%d ssl; ssl_certificate %s/fullchain; ssl_certificate_key %s/privkey; }", n.tls, live, live)
}

func (n *nginx) reachable(port int) bool {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// served returns the serial number of the certificate nginx serves, or "".
func (n *nginx) served() string {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 30 * time.Second}, "tcp", fmt.Sprintf("127.0.0.1:%d", n.tls),
		&tls.Config{InsecureSkipVerify: true}) // whose serial it is, is the question
	if err != nil {
		return ""
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// waitServed waits until nginx serves what is live and no worker of an earlier
// configuration answers any more.
func (n *nginx) waitServed(what, name string) {
	n.s.t.Helper()
	in := 0
	waitFor(n.s.t, "nginx serves "+what, func() bool {
		if n.served() == n.s.leaf(name).SerialNumber.String() {
			in++
		} else {
			in = 0
		}
		return in >= 5
	})
}

// TestNginxServesWhatCertdPublishes is the main job: obtain, serve, renew, and
// nothing lost when nginx cannot be reloaded.
func TestNginxServesWhatCertdPublishes(t *testing.T) {
	t.Parallel()
	const name = "www.example.test"
	ca := acmetest.StartT(t, acmetest.Options{Profiles: map[string]time.Duration{"short": 20 * time.Second}})
	s := newSite(t, ca, fmt.Sprintf("challenge: {http-port: %d, resolver: %q}\n", ca.HTTPPort(), ca.Resolver()))
	n := startNginx(t, s, ca.HTTPPort())
	s.write("acme/conf/target", fmt.Sprintf("request: {profile: short, challenge: {method: webroot, webroot-paths: [%q]}}\n", n.prefix+"/webroot"))
	s.must(0, "hooks", "install")
	s.write("hooks/reload.conf", fmt.Sprintf("SERVICES=nginx\nRELOAD_MANAGER=none\nNGINX='%s -p %s -c nginx.conf'\n", n.binary, n.prefix))

	s.must(0, "want", name)
	n.configure(n.tlsServer(name))
	s.must(0, "hooks", "test", name) // the operator's first reload goes through the hook as well
	n.waitServed("the first certificate", name)

	renew := func(code int) {
		old := s.leaf(name).SerialNumber
		waitFor(t, "the certificate is due", func() bool { return s.rows(0, "plan")[0]["action"] == "order" })
		s.must(code, "reconcile")
		if s.leaf(name).SerialNumber.Cmp(old) == 0 {
			t.Fatal("reconcile of a due certificate left the old one live")
		}
	}
	renew(0)
	n.waitServed("the renewed certificate", name)

	before := s.leaf(name).SerialNumber.String()
	n.configure(n.tlsServer(name) + " nonsense;")
	renew(1)
	for range 20 {
		if got := n.served(); got != before {
			t.Errorf("with a broken configuration nginx serves %s, want the old certificate %s", got, before)
		}
	}
	if pending := s.rows(0, "status")[0]["hooks_pending"]; pending != 1.0 {
		t.Errorf("hooks_pending is %v after a failed reload, want 1", pending)
	}

	n.configure(n.tlsServer(name))
	s.must(0, "reconcile")
	n.waitServed("the new certificate once it can be reloaded", name)
	if pending := s.rows(0, "status")[0]["hooks_pending"]; pending != 0.0 {
		t.Errorf("hooks_pending is %v after the reload, want 0", pending)
	}
}
