package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// deadline for child processes.
const childTimeout = 5 * time.Minute

// child runs this test binary again, as the one test named, with some variables
// for it. It returns what the child printed and how it ended.
func child(t testing.TB, test string, env ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), childTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+test+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestChildReconcile is no test of its own: TestKill runs it as a child that
// kills itself at a step.
func TestChildReconcile(t *testing.T) {
	dir := os.Getenv("CERTD_CHILD_DIR")
	if dir == "" {
		t.Skip("a helper of TestKill")
	}
	kill, err := strconv.Atoi(os.Getenv("CERTD_CHILD_KILL"))
	if err != nil {
		t.Fatal(err)
	}
	if mask, err := strconv.ParseInt(os.Getenv("CERTD_CHILD_UMASK"), 8, 32); err == nil {
		unix.Umask(int(mask))
	}
	steps := 0
	err = openWorld(t, dir).reconcile(t, func(op, path string) error {
		steps++
		if steps == kill {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it arrives
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// killed reports whether the child was ended by SIGKILL.
func killed(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// stepsOf counts the steps of an undisturbed run.
func stepsOf(t *testing.T) int {
	t.Helper()
	w := newWorld(t)
	steps := 0
	if err := w.reconcile(t, func(op, path string) error { steps++; return nil }); err != nil {
		t.Fatal(err)
	}
	w.settled(t, "undisturbed")
	return steps
}

// TestKill kills a run before each of its durable steps, and the run after it at
// some other step. Nothing acknowledged is lost, nothing partial is seen, and the
// next run completes.
func TestKill(t *testing.T) {
	t.Parallel()
	steps := stepsOf(t)
	stride := 1
	if testing.Short() {
		stride = 9
	}
	var g errgroup.Group
	g.SetLimit(4)
	var kills atomic.Int64
	for n := 1; n <= steps; n += stride {
		g.Go(func() error {
			w := newWorld(t)
			for run, at := range []int{n, 1 + n*7%(steps-n+5)} {
				out, err := child(t, "TestChildReconcile", "CERTD_CHILD_DIR="+w.dir, "CERTD_CHILD_KILL="+strconv.Itoa(at))
				if killed(err) {
					kills.Add(1)
				} else if err != nil || run == 0 {
					t.Errorf("kill at step %d: the child was to die and ended with %v:\n%s", at, err, out)
				}
				w.check(t, fmt.Sprintf("killed at step %d, run %d at %d", n, run+1, at))
			}
			w.settled(t, fmt.Sprintf("killed at step %d", n))
			return nil
		})
	}
	_ = g.Wait() // always nil
	t.Logf("%d steps, %d kills", steps, kills.Load())
}

// TestFailure lets each durable step fail, once and from then on.
func TestFailure(t *testing.T) {
	t.Parallel()
	steps := stepsOf(t)
	stride := 2
	if testing.Short() {
		stride = 9
	}
	var g errgroup.Group
	g.SetLimit(8) // nearly all of the time goes into fsync
	for n := 1; n <= steps; n += stride {
		g.Go(func() error { failAt(t, n, false); return nil })
		if n%4 == 1 {
			g.Go(func() error { failAt(t, n, true); return nil })
		}
	}
	_ = g.Wait() // always nil
}

// failAt lets the n-th step of a run fail, and with lasting all after it.
func failAt(t *testing.T, n int, lasting bool) {
	w := newWorld(t)
	what := fmt.Sprintf("failure of step %d (lasting %v)", n, lasting)
	count, failed := 0, ""
	err := w.reconcile(t, func(op, path string) error {
		count++
		if count == n || (lasting && count > n) {
			failed = op
			return syscall.EIO
		}
		return nil
	})
	if failed == "" || !errors.Is(err, syscall.EIO) {
		t.Errorf("%s (%s): got error %v, want EIO", what, failed, err)
	}
	w.check(t, what)
	w.settled(t, what)
}

// TestUmask: files get the modes of the table whatever the umask was.
func TestUmask(t *testing.T) {
	t.Parallel()
	for _, umask := range []string{"000", "022", "077", "777"} {
		w := newWorld(t)
		out, err := child(t, "TestChildReconcile", "CERTD_CHILD_DIR="+w.dir, "CERTD_CHILD_KILL=0", "CERTD_CHILD_UMASK="+umask)
		if umask == "777" && os.Getuid() != 0 {
			continue // the child's own log cannot be written
		}
		if err != nil {
			t.Errorf("umask %s: %v\n%s", umask, err, out)
		}
		w.check(t, "umask "+umask)
	}
}

// TestProtocol checks the order of steps that a power cut demands: a file is
// complete and durable before its name is, and a name before the method returns.
func TestProtocol(t *testing.T) {
	t.Parallel()
	p := &protocol{t: t, files: make(map[string]string), pending: make(map[string]bool)}
	if err := newWorld(t).reconcile(t, p.step); err != nil {
		t.Fatal(err)
	}
	p.quiet("the end")
	if p.renames < 20 {
		t.Errorf("only %d renames were seen", p.renames)
	}
}

// A protocol follows the steps of writes.
type protocol struct {
	t       *testing.T
	files   map[string]string // temporary file or directory to its last step
	pending map[string]bool   // directories with a new name in them, not yet synced
	renames int
}

// quiet fails if a name is not durable when something new begins.
func (p *protocol) quiet(what string) {
	for dir := range p.pending {
		p.t.Errorf("%s/ is not synced before %s", dir, what)
	}
	clear(p.pending)
}

func (p *protocol) step(op, name string) error {
	last := func(want ...string) {
		for _, w := range want {
			if p.files[name] == w {
				return
			}
		}
		p.t.Errorf("%s %s follows %q, want one of %q", op, name, p.files[name], want)
	}
	switch op {
	case "mkdir", "create":
		p.quiet(op + " " + name)
		hidden := strings.HasPrefix(name, "desired/"+hiddenPrefix)
		if parent := path.Dir(name); parent != "tmp" && !hidden && p.files[parent] == "" {
			p.t.Errorf("%s %s outside of tmp/, and not hidden", op, name)
		}
		p.files[name] = op
	case "symlink":
		if path.Dir(name) == "tmp" {
			p.quiet(op + " " + name)
		}
		p.files[name] = "fsync" // a link has no content; its directory makes it durable
	case "chmod":
		last("create", "mkdir", "chmod", "filled")
		p.files[name] = op
	case "write":
		last("chmod")
		p.files[name] = op
	case "fsync":
		last("write")
		p.files[name] = op
		if p.files[path.Dir(name)] != "" {
			p.files[path.Dir(name)] = "filled"
		}
	case "syncdir":
		delete(p.pending, name)
		if p.files[name] != "" {
			last("chmod")
			p.files[name] = "fsync"
		}
	case "rename", "link":
		p.rename(name)
	case "unlink":
		p.pending[path.Dir(name)] = true
	default:
		p.t.Errorf("unknown step %s %s", op, name)
	}
	return nil
}

func (p *protocol) rename(name string) {
	from, to, _ := strings.Cut(name, " -> ")
	p.renames++
	if strings.HasPrefix(from, "tmp/") && p.files[from] != "fsync" {
		p.t.Errorf("rename of %s to %s follows %q, want fsync", from, to, p.files[from])
	}
	p.pending[path.Dir(to)] = true
}
