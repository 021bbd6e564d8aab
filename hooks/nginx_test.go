package hooks

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"certd/test/ports"
)

const nginxConf = `# pid /not/this/one;
daemon off; pid "run/my.pid";
error_log stderr;
events { }
http {
	access_log off;
	client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
	server { listen 127.0.0.1:%d; location / { return 200 "%s"; } }
}
`

// nginx is a real one, running in a directory of its own.
type nginx struct {
	prefix string
	port   int
	cmd    *exec.Cmd
}

func startNginx(t *testing.T) *nginx {
	t.Helper()
	program := need(t, "nginx")
	n := &nginx{prefix: hookDir(t), port: ports.Free(t)}
	mkdir(t, filepath.Join(n.prefix, "run"), 0o755)
	n.configure(t, "one")
	n.cmd = exec.Command(program, "-p", n.prefix, "-c", "my.conf", "-e", "stderr")
	var log excerpt
	n.cmd.Stderr = &log
	n.cmd.WaitDelay = time.Second
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.cmd.Process.Signal(syscall.SIGTERM)
		n.cmd.Wait()
		if t.Failed() {
			t.Logf("nginx said:\n%s", log.String())
		}
	})
	eventually(t, "nginx at work", func() bool { return n.get() == "one" })
	return n
}

// configure writes the configuration that serves a text.
func (n *nginx) configure(t *testing.T, text string) {
	t.Helper()
	hook(t, filepath.Join(n.prefix, "my.conf"), fmt.Sprintf(nginxConf, n.port, text), 0o644)
}

// get returns what nginx serves; nothing if it does not.
func (n *nginx) get() string {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", n.port))
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}

func TestReloadRealNginx(t *testing.T) {
	t.Parallel()
	n := startNginx(t)
	for _, conf := range []string{
		"NGINX='nginx -p " + n.prefix + " -c my.conf'",
		"NGINX='nginx -p " + n.prefix + "/ -c " + n.prefix + "/my.conf'",
		"NGINX='nginx -p " + n.prefix + " -c my.conf' NGINX_PID=" + n.prefix + "/run/my.pid",
		"NGINX='nginx -p " + n.prefix + " -c my.conf' RELOAD_MANAGER=systemd",
	} {
		g := newRig(t, "reload", "RELOAD_MANAGER=none NGINX_PID=\nSERVICES='nginx nginx'\n"+conf+"\n")
		n.configure(t, conf2text(conf))
		res := g.run(t, "www.example.com\n")
		if res.Outcome != OK {
			t.Fatalf("%s: got %+v, want it reloaded", conf, res)
		}
		if got := strings.Count(res.Output, "nginx: reloaded"); got != 1 {
			t.Errorf("%s: reloaded %d times, want once:\n%s", conf, got, res.Output)
		}
		contains(t, "the output", res.Output, "-t; kill -s HUP "+fmt.Sprint(n.cmd.Process.Pid))
		eventually(t, "the new configuration being served", func() bool { return n.get() == conf2text(conf) })
	}
}

// conf2text makes a text for each configuration that nginx can return.
func conf2text(conf string) string { return fmt.Sprintf("%x", conf) }

func TestReloadLeavesBrokenNginxAlone(t *testing.T) {
	t.Parallel()
	n := startNginx(t)
	g := newRig(t, "reload", "RELOAD_MANAGER=none NGINX_PID=\nSERVICES=nginx\nNGINX='nginx -p "+n.prefix+" -c my.conf'\n")
	hook(t, filepath.Join(n.prefix, "my.conf"), fmt.Sprintf(nginxConf, n.port, "two")+"no_such_directive on;\n", 0o644)
	res := g.run(t, "www.example.com\n")
	if res.Outcome != Failed || res.Code != 1 {
		t.Errorf("got %+v, want exit status 1", res)
	}
	contains(t, "the output", res.Output, "nginx: not reloaded", `unknown directive "no_such_directive"`, "-c my.conf -t")
	if got := n.get(); got != "one" {
		t.Errorf("nginx serves %q, want what it served before", got)
	}
	if err := os.Remove(filepath.Join(n.prefix, "my.conf")); err != nil {
		t.Fatal(err)
	}
	hook(t, filepath.Join(g.dir, "reload.conf"), "RELOAD_MANAGER=none SERVICES=nginx NGINX='nginx -p "+n.prefix+" -c my.conf' NGINX_PID="+n.prefix+"/run/my.pid\n", 0o644)
	if res = g.run(t, "www.example.com\n"); res.Code != 1 {
		t.Errorf("without a configuration: got %+v, want exit status 1", res)
	}
}

func TestReloadStartsNothing(t *testing.T) {
	t.Parallel()
	need(t, "nginx")
	n := &nginx{prefix: hookDir(t), port: ports.Free(t)}
	mkdir(t, filepath.Join(n.prefix, "run"), 0o755)
	n.configure(t, "one")
	for _, pid := range []string{"", "\n", "no number\n", "999999999\n", fmt.Sprintln(os.Getpid()), "-1\n"} {
		hook(t, filepath.Join(n.prefix, "run/my.pid"), pid, 0o644)
		g := newRig(t, "reload", "RELOAD_MANAGER=none NGINX_PID=\nSERVICES=nginx\nNGINX='nginx -p "+n.prefix+" -c my.conf'\n")
		res := g.run(t, "www.example.com\n")
		if res.Outcome != OK || !strings.Contains(res.Output, "nothing to reload") {
			t.Errorf("with %q in its pid file: got %+v, want nothing done", pid, res)
		}
		if got := n.get(); got != "" {
			t.Errorf("somebody started nginx; it serves %q", got)
		}
	}
}
