package hooks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"certd/test/ports"
)

// TestReloadFindsNginxByItself starts nginx as a container does, without a pid
// file, in a process namespace where it is the only one.
func TestReloadFindsNginxByItself(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a process namespace")
	}
	unshare, program := need(t, "unshare"), need(t, "nginx")
	if out, err := exec.CommandContext(t.Context(), unshare, "-p", "-f", "--mount-proc", "true").CombinedOutput(); err != nil {
		t.Skipf("no process namespaces here: %v: %s", err, out)
	}
	n := &nginx{prefix: hookDir(t), port: ports.Free(t)}
	mkdir(t, filepath.Join(n.prefix, "run"), 0o755)
	n.configure(t, "one")
	g := newRig(t, "reload", "RELOAD_MANAGER=none NGINX_PID= SERVICES='nginx tengine'\n")
	g.fake(t, "nginx", "exec "+program+" -p "+n.prefix+" -c my.conf -e stderr \"$@\"\n")
	inside := script(t, filepath.Join(n.prefix, "inside"), `nginx & pid=$!
i=0; while ! [ -s run/my.pid ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done
rm run/my.pid
`+filepath.Join(g.dir, "reload")+` live-updated </dev/null; code=$?
kill $pid; wait; exit $code
`)
	cmd := exec.CommandContext(t.Context(), unshare, "-p", "-f", "--mount-proc", inside)
	cmd.Dir = n.prefix
	cmd.Env = []string{"PATH=" + g.bin + ":/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	contains(t, "the output", string(out), "nginx: reloaded (nginx -t; kill -s HUP ")
	if got := strings.Count(string(out), "reload: "); got != 1 {
		t.Errorf("%d things were reported, want one:\n%s", got, out)
	}
}

const haproxyConf = `defaults
	mode http
	timeout connect 5s
	timeout client 5s
	timeout server 5s
frontend f
	bind 127.0.0.1:%d
	http-request return status 200 content-type text/plain string %s
`

// TestReloadRealHAProxy: in master-worker mode it is reloaded, else that is
// an error and it is left alone.
func TestReloadRealHAProxy(t *testing.T) {
	t.Parallel()
	program := need(t, "haproxy")
	for _, mode := range []string{"-W", "-db"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			dir := hookDir(t)
			n := &nginx{port: ports.Free(t)} // for get
			conf := hook(t, filepath.Join(dir, "my.cfg"), fmt.Sprintf(haproxyConf, n.port, "one"), 0o644)
			cmd := exec.Command(program, mode, "-f", conf, "-p", dir+"/pid")
			cmd.WaitDelay = time.Second
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				cmd.Process.Signal(syscall.SIGTERM)
				cmd.Wait()
			})
			eventually(t, "haproxy at work", func() bool { return n.get() == "one" })
			pid := hook(t, dir+"/my.pid", fmt.Sprintln(cmd.Process.Pid), 0o644)
			g := newRig(t, "reload", "RELOAD_MANAGER=none SERVICES=haproxy\nHAPROXY='haproxy -f "+conf+"' HAPROXY_PID="+pid+"\n")

			hook(t, conf, "no such section\n", 0o644)
			res := g.run(t, "www.example.com\n")
			want := "haproxy: not reloaded"
			if mode == "-db" {
				want = "was started without -W"
			}
			if res.Code != 1 || !strings.Contains(res.Output, want) || n.get() != "one" {
				t.Errorf("with a broken configuration: got %+v, want %q and nothing changed", res, want)
			}
			hook(t, conf, fmt.Sprintf(haproxyConf, n.port, "two"), 0o644)
			res = g.run(t, "www.example.com\n")
			if mode == "-db" {
				if res.Code != 1 || n.get() != "one" {
					t.Errorf("got %+v, want it left alone", res)
				}
				return
			}
			if res.Outcome != OK {
				t.Errorf("got %+v, want it reloaded", res)
			}
			eventually(t, "the new configuration being served", func() bool { return n.get() == "two" })
		})
	}
}
