package hooks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// stateWith is a state directory with one certificate under each name.
func stateWith(t *testing.T, names ...string) string {
	t.Helper()
	dir := hookDir(t)
	for _, sub := range []string{"certs", "live", "keys", "conf"} {
		mkdir(t, filepath.Join(dir, sub), 0o755)
	}
	for i, name := range names {
		publish(t, dir, name, fmt.Sprint(i))
	}
	return dir
}

// publish makes certificate id and points the live name to it.
func publish(t *testing.T, dir, name, id string) {
	t.Helper()
	mkdir(t, filepath.Join(dir, "keys", id), 0o700)
	hook(t, filepath.Join(dir, "keys", id, "privkey"), "KEY "+id+"\n", 0o600)
	cert := mkdir(t, filepath.Join(dir, "certs", id), 0o755)
	symlink(t, "../../keys/"+id+"/privkey", filepath.Join(cert, "privkey"))
	hook(t, filepath.Join(cert, "fullchain"), "CERT "+id+"\nCHAIN "+id, 0o644) // no newline at its end
	link := filepath.Join(dir, "live", name)
	symlink(t, "../certs/"+id, link+".new")
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
}

// combine runs the haproxy hook.
func combine(t *testing.T, g rig, state, names string) Result {
	t.Helper()
	r := &Runner{Dirs: []string{g.dir}, StateDir: state, Environ: []string{"PATH=" + g.bin + ":/usr/bin:/bin"}}
	return one(t, r, Event{Name: "live-updated", Stdin: []byte(names)})
}

func TestHAProxyFiles(t *testing.T) {
	t.Parallel()
	state := stateWith(t, "www.example.com", "*.example.com", "www.example.com:rsa", "other.example.com")
	g := newRig(t, "haproxy", "HAPROXY_ALWAYS_GENERATE=yes\n")
	names := []string{"www.example.com", "*.example.com", "www.example.com:rsa"}
	for range 2 { // the second time over what is there
		if res := combine(t, g, state, strings.Join(names, "\n")+"\n"); res.Outcome != OK {
			t.Fatalf("got %+v", res)
		}
	}
	for i, name := range names {
		want := fmt.Sprintf("KEY %[1]d\nCERT %[1]d\nCHAIN %[1]d\n", i)
		for _, path := range []string{"live/" + name + "/haproxy", "haproxy/" + name} {
			if got := read(t, filepath.Join(state, path)); got != want {
				t.Errorf("%s holds %q, want %q", path, got, want)
			}
		}
		if info, err := os.Stat(filepath.Join(state, "live", name, "haproxy")); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v, want 0600", name, info.Mode())
		}
		if link, _ := os.Readlink(filepath.Join(state, "haproxy", name)); link != "../live/"+name+"/haproxy" {
			t.Errorf("haproxy/%s leads to %q", name, link)
		}
	}
	for _, dir := range []string{"haproxy", "certs/0", "certs/3"} {
		entries, err := os.ReadDir(filepath.Join(state, dir))
		want := map[string]int{"haproxy": 3, "certs/0": 3, "certs/3": 2}[dir]
		if err != nil || len(entries) != want {
			t.Errorf("%s has %v, want %d entries", dir, entries, want)
		}
	}
}

func TestHAProxyExtras(t *testing.T) {
	t.Parallel()
	state := stateWith(t, "a.example.com")
	hook(t, filepath.Join(state, "conf", "dhparams"), "DH\n", 0o644)
	g := newRig(t, "haproxy", "HAPROXY_ALWAYS_GENERATE=yes HAPROXY_UMASK=0027\n")
	if res := combine(t, g, state, "a.example.com\n"); res.Outcome != OK {
		t.Fatalf("got %+v", res)
	}
	path := filepath.Join(state, "live/a.example.com/haproxy")
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o640 || !strings.HasSuffix(read(t, path), "CHAIN 0\nDH\n") {
		t.Errorf("mode %v and %q, want 0640 and DH parameters at the end", info.Mode(), read(t, path))
	}
}

func TestHAProxyNeedsAConsumer(t *testing.T) {
	t.Parallel()
	state := stateWith(t, "a.example.com")
	g := newRig(t, "haproxy", "HAPROXY_DAEMONS='mydaemon'\n")
	if res := combine(t, g, state, "a.example.com\n"); res.Outcome != OK || res.Output != "" || exists(state+"/haproxy") {
		t.Errorf("without a server that needs it: got %+v, want nothing done", res)
	}
	g.fake(t, "mydaemon", "")
	if res := combine(t, g, state, "a.example.com\n"); res.Outcome != OK || !exists(state+"/live/a.example.com/haproxy") {
		t.Errorf("with one: got %+v, want the file", res)
	}
}

// TestHAProxyGoesOn: what cannot be written is reported, and spoils nothing.
func TestHAProxyGoesOn(t *testing.T) {
	t.Parallel()
	state := stateWith(t, "a.example.com", "b.example.com", "c.example.com")
	g := newRig(t, "haproxy", "HAPROXY_ALWAYS_GENERATE=yes\n")
	if res := combine(t, g, state, "a.example.com\n"); res.Outcome != OK {
		t.Fatalf("got %+v", res)
	}
	before := read(t, state+"/haproxy/a.example.com")
	if err := os.Remove(state + "/keys/0/privkey"); err != nil {
		t.Fatal(err)
	}
	hook(t, state+"/certs/1/fullchain", "", 0o644)
	res := combine(t, g, state, "a.example.com\nb.example.com\ngone.example.com\nc.example.com\n")
	if res.Code != 1 {
		t.Errorf("got %+v, want exit status 1", res)
	}
	contains(t, "the output", res.Output, "privkey is missing", "fullchain is missing", "live/gone.example.com is not there", "c.example.com: wrote")
	if read(t, state+"/haproxy/a.example.com") != before || exists(state+"/certs/1/haproxy") || exists(state+"/haproxy/gone.example.com") {
		t.Error("a failure changed or left files")
	}
	for _, dir := range []string{"certs/0", "certs/1", "haproxy"} {
		entries, _ := os.ReadDir(filepath.Join(state, dir))
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") {
				t.Errorf("%s/%s was left behind", dir, e.Name())
			}
		}
	}
}

// TestHAProxyIsAtomic: a reader never finds half a file or a strange pair,
// while certificates change and the hook runs.
func TestHAProxyIsAtomic(t *testing.T) {
	t.Parallel()
	state := stateWith(t, "a.example.com")
	g := newRig(t, "haproxy", "HAPROXY_ALWAYS_GENERATE=yes\n")
	combine(t, g, state, "a.example.com\n")
	path := state + "/certs/0/haproxy"
	want := read(t, path)
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != want {
				t.Errorf("a reader found %q, %v", got, err)
				return
			}
		}
	})
	for i := range 10 {
		if res := combine(t, g, state, "a.example.com\n"); res.Outcome != OK {
			t.Errorf("run %d: %+v", i, res)
		}
	}
	close(stop)
	reader.Wait()
}
