package hooks

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// helper serves the hooks of r at a socket, as certd-hooks.socket does, until
// the test ends. Errors of Serve are sent to the channel it returns.
func helper(t *testing.T, r *Runner) (*Remote, <-chan error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "certd") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "hooks.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			served <- Serve(context.Background(), conn, r)
			conn.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done; os.RemoveAll(dir) })
	return &Remote{Socket: socket}, served
}

func TestRemoteSaysWhatTheRunnerSays(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	script(t, filepath.Join(dir, "a-ok"), `echo "$1 $2 $CERTD_DETAIL $CERTD_STATE_DIR $(cat)"`)
	script(t, filepath.Join(dir, "b-skips"), "exit 42\n")
	script(t, filepath.Join(dir, "c-fails"), "echo broken >&2; exit 3\n")
	script(t, filepath.Join(dir, "d-had-it"), "exit 9\n")
	script(t, filepath.Join(dir, "e-refused"), "exit 0\n")
	chmod(t, filepath.Join(dir, "e-refused"), 0o777)
	runner := &Runner{Dirs: []string{dir}, StateDir: "/var/lib/acme"}
	remote, served := helper(t, runner)
	ev := Event{Name: "live-updated", Args: []string{"x"}, Stdin: []byte("www.example.com\n"), Env: map[string]string{"CERTD_DETAIL": "d"}}
	skip := func(path string) bool { return filepath.Base(path) == "d-had-it" }

	near, nearErr := runner.Run(t.Context(), ev, skip)
	far, farErr := remote.Run(t.Context(), ev, skip)
	if err := <-served; err != nil {
		t.Errorf("the helper says %v", err)
	}
	if nearErr != nil || farErr != nil {
		t.Fatalf("run: %v here, %v there", nearErr, farErr)
	}
	if len(near) != 4 || len(far) != len(near) {
		t.Fatalf("%d results here, %d there, want 4", len(near), len(far))
	}
	for i := range near {
		n, f := near[i], far[i]
		if n.Hook != f.Hook || n.Outcome != f.Outcome || n.Code != f.Code || n.Output != f.Output || fmt.Sprint(n.Err) != fmt.Sprint(f.Err) {
			t.Errorf("here %+v\nthere %+v", n, f)
		}
	}
	contains(t, "output", far[0].Output, "live-updated x d /var/lib/acme www.example.com")
}

func TestRemoteTellsOfUnusableDirectories(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	chmod(t, dir, 0o777)
	remote, _ := helper(t, &Runner{Dirs: []string{dir}})
	results, err := remote.Run(t.Context(), Event{Name: "live-updated"}, nil)
	if err == nil || !strings.Contains(err.Error(), dir) || len(results) != 0 {
		t.Errorf("a directory that everybody may change: %v, error %v", results, err)
	}
}

// TestRemoteKeepsVariablesOut: whoever can choose PATH or a hook's settings can
// have root do anything.
func TestRemoteKeepsVariablesOut(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	ran := filepath.Join(dir, "ran")
	script(t, filepath.Join(dir, "hook"), "touch "+ran)
	remote, _ := helper(t, &Runner{Dirs: []string{dir}})
	for _, name := range []string{"PATH", "LD_PRELOAD", "NGINX", "BASH_ENV", "certd_detail", "XCERTD_"} {
		ev := Event{Name: "live-updated", Env: map[string]string{name: "/tmp/evil"}}
		if _, err := remote.Run(t.Context(), ev, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want a refusal that names it", name, err)
		}
		said := rawTalk(t, remote.Socket, `{"name":"live-updated","env":{"`+name+`":"/tmp/evil"}}`, `{"skip":[]}`)
		if len(said) != 2 || !strings.Contains(said[1], name) || strings.Contains(said[1], ran) {
			t.Errorf("%s, asked past our own check: %q", name, said)
		}
	}
	if exists(ran) {
		t.Error("a hook ran with such a variable")
	}
}

// rawTalk says lines to a helper and returns what it answered.
func rawTalk(t *testing.T, socket string, lines ...string) []string {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var said []string
	in := bufio.NewScanner(conn)
	for _, line := range lines {
		if _, err := fmt.Fprintln(conn, line); err != nil {
			break
		}
		if !in.Scan() {
			break
		}
		said = append(said, in.Text())
	}
	return said
}

func TestServeRefusesWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	ran := filepath.Join(dir, "ran")
	script(t, filepath.Join(dir, "hook"), "touch "+ran)
	remote, served := helper(t, &Runner{Dirs: []string{dir}})
	for _, line := range []string{
		"", "x", "[]", `{"name":""}`, `{"name":"../x"}`, `{"name":"-x"}`, `{"name":"live-updated","stdin":"Li4vLi4vZXRjCg=="}`, // ../../etc
		`{"name":"live-updated","args":["a\u0000b"]}`, `{"name":7}`,
	} {
		rawTalk(t, remote.Socket, line, `{"skip":[]}`)
		if err := <-served; err == nil {
			t.Errorf("%q was taken for an event", line)
		}
	}
	if exists(ran) {
		t.Error("a hook ran for something that is no event")
	}
}

func TestHooksEndWithWhoeverAsked(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	started, ended := filepath.Join(dir, "started"), filepath.Join(dir, "ended")
	script(t, filepath.Join(dir, "slow"), "trap 'touch "+ended+"; exit 1' TERM\ntouch "+started+"\nwhile :; do sleep 0.05; done\n")
	remote, served := helper(t, &Runner{Dirs: []string{dir}})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := remote.Run(ctx, Event{Name: "live-updated"}, nil)
		failed <- err
	}()
	eventually(t, "the hook's start", func() bool { return exists(started) })
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	<-served
	eventually(t, "the hook's end", func() bool { return exists(ended) })
}

func TestRemoteWithoutHelper(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	_, err := (&Remote{Socket: socket}).Run(t.Context(), Event{Name: "live-updated"}, nil)
	if err == nil || !strings.Contains(err.Error(), "certd-hooks.socket") {
		t.Errorf("no socket: %v, want an error that names the unit", err)
	}
}

// TestRemoteSurvivesAnyAnswer: the helper may be another version, or break off.
func TestRemoteSurvivesAnyAnswer(t *testing.T) {
	t.Parallel()
	for _, answers := range [][]string{nil, {"x"}, {`{"hooks":null}`}, {`{"hooks":[]}`, "x"}, {`{"hooks":["/a"]}`, `{"results":[{"hook":"/a"`}} {
		near, far := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer far.Close()
			in := bufio.NewScanner(far)
			for _, a := range answers {
				if in.Scan(); in.Err() != nil {
					return
				}
				fmt.Fprintln(far, a)
			}
			in.Scan()
		}()
		if _, err := talk(near, Event{Name: "live-updated"}, nil); err == nil && !slices.Contains(answers, `{"results":[]}`) {
			t.Errorf("answers %q: no error", answers)
		}
		near.Close()
		<-done
	}
}

func FuzzServe(f *testing.F) {
	f.Add([]byte(`{"name":"live-updated","stdin":"YQo="}` + "\n" + `{"skip":[]}` + "\n"))
	f.Add([]byte(`{"name":"x","env":{"PATH":"/"}}` + "\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		near, far := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			Serve(t.Context(), far, &Runner{})
			far.Close()
		}()
		go func() { near.Write(data); near.Close() }()
		decoder := json.NewDecoder(near)
		for {
			var v any
			if decoder.Decode(&v) != nil {
				break
			}
		}
		<-done
	})
}
