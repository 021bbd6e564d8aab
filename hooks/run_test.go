package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestOutcomes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text string
		outcome    Outcome
		code       int
		err        string // a part of the error; empty for none
	}{
		{"success", "#!/bin/sh\nexit 0\n", OK, 0, ""},
		{"not mine", "#!/bin/sh\nexit 42\n", Skipped, 42, ""},
		{"failure", "#!/bin/sh\necho no nginx here >&2\nexit 1\n", Failed, 1, "exit status 1: no nginx here"},
		{"other failure", "#!/bin/sh\nexit 41\n", Failed, 41, "exit status 41"},
		{"unknown command", "#!/bin/sh\nno-such-command-here\n", Failed, 127, "command it uses was not found"},
		{"not allowed", "#!/bin/sh\n/\n", Failed, 126, "may not be run"},
		{"killed", "#!/bin/sh\nkill -9 $$\n", Failed, -1, "signal: killed"},
		{"interpreter missing", "#!/no/such/sh\nexit 0\n", Failed, -1, "interpreter"},
		{"interpreter with DOS line end", "#!/bin/sh\r\nexit 0\n", Failed, -1, "interpreter"},
		{"no interpreter", "echo hello\n", Failed, -1, "first line begin with #!"},
		{"binary garbage", "\x7fELF\x00\x01\x02", Failed, -1, "hook"},
		{"deletes itself", "#!/bin/sh\nrm \"$0\"\nexit 0\n", OK, 0, ""},
		{"closes everything", "#!/bin/sh\nexec <&- >&- 2>&-\nexit 0\n", OK, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := hookDir(t)
			path := hook(t, filepath.Join(dir, "h"), tt.text, 0o755)
			res := one(t, &Runner{Dirs: []string{dir}}, Event{Name: "live-updated", Stdin: []byte("a.example.com\n")})
			if res.Hook != path || res.Outcome != tt.outcome || res.Code != tt.code {
				t.Errorf("got %+v, want outcome %s and code %d", res, tt.outcome, tt.code)
			}
			if (res.Err == nil) != (tt.err == "") || res.Err != nil && !strings.Contains(res.Err.Error(), tt.err) {
				t.Errorf("error is %v, want %q in it", res.Err, tt.err)
			}
			if res.Took <= 0 {
				t.Error("it took no time")
			}
		})
	}
}

// What an event holds is open in the hook, and nothing else.
func TestHold(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	script(t, filepath.Join(dir, "h"), `readlink /proc/$$/fd/3 || echo nothing`)
	path := filepath.Join(t.TempDir(), "entry")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for want, hold := range map[string]*os.File{path: f, "nothing": nil} {
		if res := one(t, &Runner{Dirs: []string{dir}}, Event{Name: "challenge-dns-start", Hold: hold}); strings.TrimSpace(res.Output) != want {
			t.Errorf("descriptor 3 is %q, want %q: %v", res.Output, want, res.Err)
		}
	}
}

func TestArgumentsInputAndDirectory(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	script(t, filepath.Join(dir, "h"), `printf '<%s>' "$@"; pwd; cat`)
	res := one(t, &Runner{Dirs: []string{dir}}, Event{
		Name:  "challenge-http-start",
		Args:  []string{"www.example.com", "", "$(touch /x); `id` *"},
		Stdin: []byte("key\nauthorization"),
	})
	want := "<challenge-http-start><www.example.com><><$(touch /x); `id` *>/\nkey\nauthorization"
	if res.Output != want {
		t.Errorf("the hook saw %q, want %q", res.Output, want)
	}
}

// TestNoTerminal: a hook must not be able to stop and ask.
func TestNoTerminal(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	script(t, filepath.Join(dir, "h"), "if (: </dev/tty) 2>/dev/null; then echo terminal; fi; cat; echo end")
	if res := one(t, &Runner{Dirs: []string{dir}}, Event{Name: "failed"}); res.Output != "end\n" {
		t.Errorf("got %q, want no terminal and an empty stdin", res.Output)
	}
}

func TestTenThousandNames(t *testing.T) {
	t.Parallel()
	var names bytes.Buffer
	for i := range 10000 {
		fmt.Fprintf(&names, "host-%05d.some-rather-long-subdomain.example.com\n", i)
	}
	dir := hookDir(t)
	script(t, filepath.Join(dir, "a"), "exit 0 # without reading them\n")
	script(t, filepath.Join(dir, "b"), "cat >"+dir+"/got; wc -l <"+dir+"/got")
	results, err := (&Runner{Dirs: []string{dir}}).Run(t.Context(), Event{Name: "live-updated", Stdin: names.Bytes()}, nil)
	if err != nil || len(results) != 2 || results[0].Outcome != OK || results[1].Outcome != OK {
		t.Fatalf("got %+v, %v; want both hooks fine", results, err)
	}
	if got := strings.TrimSpace(results[1].Output); got != "10000" || read(t, dir+"/got") != names.String() {
		t.Errorf("the hook got %s names, want all 10000 as they were", got)
	}
}

func TestHundredMebibytesOfOutput(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	script(t, filepath.Join(dir, "h"), "printf first; head -c 104857600 /dev/zero | tr '\\0' x; printf last >&2; exit 3")
	res := one(t, &Runner{Dirs: []string{dir}}, Event{Name: "failed"})
	if res.Code != 3 || len(res.Output) > 2*keep+100 {
		t.Fatalf("exit status %d with %d bytes of output, want 3 and little more than 32 KiB", res.Code, len(res.Output))
	}
	if !strings.HasPrefix(res.Output, "firstxxx") || !strings.HasSuffix(res.Output, "xxxlast") {
		t.Errorf("the ends of the output are %q and %q", res.Output[:10], res.Output[len(res.Output)-10:])
	}
	contains(t, "the output", res.Output, "\n[104824841 bytes left out]\n")
}

func TestBinaryOutputIsMadeSafe(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	script(t, filepath.Join(dir, "h"), `printf '\033]0;title\007\033[31mred\033[0m\r\n\000\377\b\342\200\256ok\n'; exit 1`)
	res := one(t, &Runner{Dirs: []string{dir}}, Event{Name: "failed"})
	if res.Output != "red\n?ok\n" {
		t.Errorf("got %q, want the text without its control characters", res.Output)
	}
	if !strings.HasSuffix(res.Err.Error(), "exit status 1: ?ok") {
		t.Errorf("got %q, want the last line at the end", res.Err)
	}
}

// TestHangs: whatever a hook does to go on, it is ended, its process group is
// empty afterwards, and the next hook runs.
func TestHangs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text string }{
		{"sleeps", "sleep 1000\n"},
		{"ignores TERM", "trap '' TERM\nwhile :; do sleep 1000; done\n"},
		{"child ignores TERM", "(trap '' TERM; while :; do sleep 1000; done) &\nwait\n"},
		{"stops itself", "kill -STOP $$\n"},
		{"success at the last moment", "trap 'exit 0' TERM\nwhile :; do sleep 0.1; done\n"},
		{"reads on", "sleep 1000 </dev/zero | cat\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := hookDir(t)
			pid := filepath.Join(dir, "pid")
			script(t, filepath.Join(dir, "a"), "echo $$ >"+pid+"\n"+tt.text)
			script(t, filepath.Join(dir, "b"), "exit 0\n")
			r := &Runner{Dirs: []string{dir}, Timeout: 500 * time.Millisecond, Grace: 50 * time.Millisecond}
			results, err := r.Run(t.Context(), Event{Name: "failed"}, nil)
			if err != nil || len(results) != 2 || results[0].Outcome != Timeout || results[0].Err == nil {
				t.Fatalf("got %+v, %v; want the first ended by its deadline", results, err)
			}
			if results[1].Outcome == Failed {
				t.Errorf("the hook after it: %v", results[1].Err)
			}
			groupIsGone(t, pid)
		})
	}
}

// groupIsGone waits for the process group named in a file to be empty.
func groupIsGone(t *testing.T, file string) {
	t.Helper()
	if !exists(file) {
		return // it was ended before its first line
	}
	pid, err := strconv.Atoi(strings.TrimSpace(read(t, file)))
	if err != nil {
		return
	}
	eventually(t, "the end of the process group", func() bool { return syscall.Kill(-pid, 0) == syscall.ESRCH })
}

// TestHookMayCleanUp: SIGTERM comes first, and what the hook says then is kept.
func TestHookMayCleanUp(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	ready := filepath.Join(dir, "ready")
	script(t, filepath.Join(dir, "h"), "trap 'echo cleaned up; exit 0' TERM\n: >"+ready+"\nwhile :; do sleep 0.05; done\n")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		eventually(t, "the start of the hook", func() bool { return exists(ready) })
		cancel()
	}()
	results, err := (&Runner{Dirs: []string{dir}, Grace: time.Minute}).Run(ctx, Event{Name: "failed"}, nil)
	<-done
	if err != nil || len(results) != 1 {
		t.Fatalf("got %+v, %v; want one result", results, err)
	}
	res := results[0]
	if res.Outcome != Failed || res.Code != 0 || !errors.Is(res.Err, context.Canceled) || !strings.HasSuffix(res.Output, "cleaned up\n") {
		t.Errorf("got %+v, want the hook's last words and the cancellation", res)
	}
}

func TestContextDeadlineIsATimeout(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	script(t, filepath.Join(dir, "h"), "sleep 1000\n")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	results, _ := (&Runner{Dirs: []string{dir}}).Run(ctx, Event{Name: "failed"}, nil)
	if len(results) != 1 || results[0].Outcome != Timeout || !errors.Is(results[0].Err, context.DeadlineExceeded) {
		t.Errorf("got %+v, want a timeout", results)
	}
}

// TestDaemonHoldsPipes: a process left behind, even in a session of its own,
// delays nobody, and the hook that left it did well.
func TestDaemonHoldsPipes(t *testing.T) {
	t.Parallel()
	setsid := need(t, "setsid")
	for _, tt := range []struct{ name, left string }{
		{"in the group", "sleep 1000 &\necho $! >PID\n"},
		{"in a session of its own", setsid + " sh -c 'echo $$ >PID; exec sleep 1000' &\nwhile ! [ -s PID ]; do sleep 0.01; done\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := hookDir(t)
			file := filepath.Join(dir, "pid")
			script(t, filepath.Join(dir, "h"), strings.ReplaceAll(tt.left, "PID", file)+"echo done\n")
			res := one(t, &Runner{Dirs: []string{dir}}, Event{Name: "live-updated", Stdin: []byte("a.example.com\n")})
			if res.Outcome != OK || res.Output != "done\n" {
				t.Errorf("got %+v, want it to be fine", res)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(read(t, file)))
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Errorf("what it left behind was ended with it: %v", err)
			}
		})
	}
}

func TestFileStillOpenForWriting(t *testing.T) {
	t.Parallel()
	for _, forever := range []bool{false, true} {
		t.Run(fmt.Sprintf("forever %v", forever), func(t *testing.T) {
			t.Parallel()
			dir := hookDir(t)
			path := script(t, filepath.Join(dir, "h"), "exit 0\n")
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if !forever {
				timer := time.AfterFunc(30*time.Millisecond, func() { f.Close() })
				defer timer.Stop()
			}
			res := one(t, &Runner{Dirs: []string{dir}}, Event{Name: "failed"})
			switch {
			case !forever && res.Outcome != OK:
				t.Errorf("closed a moment later: got %v, want the hook run", res.Err)
			case forever && res.Outcome == OK:
				t.Skip("this kernel runs files that are open for writing")
			case forever && !errors.Is(res.Err, syscall.ETXTBSY):
				t.Errorf("got %v, want ETXTBSY in the end", res.Err)
			}
		})
	}
}

func TestConcurrentRuns(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	script(t, filepath.Join(dir, "h"), "cat\n")
	r := &Runner{Dirs: []string{dir}}
	outputs := make(chan string, 8)
	for i := range cap(outputs) {
		go func() {
			results, err := r.Run(t.Context(), Event{Name: "failed", Stdin: fmt.Append(nil, i)}, nil)
			outputs <- fmt.Sprint(i, err, len(results) == 1 && results[0].Output == strconv.Itoa(i))
		}()
	}
	for range cap(outputs) {
		if got := <-outputs; !strings.HasSuffix(got, "<nil> true") {
			t.Errorf("one of several runs at once went wrong: %s", got)
		}
	}
}
