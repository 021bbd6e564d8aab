package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const (
	notMine     = 42          // the exit status that says: this event is not mine
	waitDelay   = time.Second // how long pipes that a hook leaves open are waited for
	pollGroup   = 20 * time.Millisecond
	startTries  = 8 // of a file that is still open for writing
	errLastLine = 200
)

var errDeadline = errors.New("its deadline passed")

// run tells ev to one vetted hook.
func (r *Runner) run(ctx context.Context, c candidate, ev Event, env []string) Result {
	began := time.Now()
	var out excerpt
	res := Result{Hook: c.path, Code: -1}
	cmd, err := start(ctx, func() *exec.Cmd {
		cmd := command(c, ev)
		cmd.Env = env
		cmd.Dir = "/"
		cmd.Stdout, cmd.Stderr = &out, &out
		// A session of its own is a process group of its own, and no terminal
		// at which a hook could stop to ask for a password.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.WaitDelay = waitDelay
		return cmd
	})
	if err != nil {
		res.Outcome, res.Err = Failed, fmt.Errorf("hook %s: %w", c.path, explain(c.path, err))
	} else {
		ended, err := r.wait(ctx, cmd)
		res.Output = out.String()
		res.Outcome, res.Code, res.Err = judge(c.path, cmd, ended, err, res.Output)
	}
	res.Took = time.Since(began)
	return res
}

// command is the hook with the event's arguments and input, under sudo if need be.
func command(c candidate, ev Event) *exec.Cmd {
	argv := append([]string{c.path, ev.Name}, ev.Args...)
	if c.sudo {
		argv = append([]string{"sudo", "-n", "--"}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	if len(ev.Stdin) > 0 {
		cmd.Stdin = bytes.NewReader(ev.Stdin) // a hook that does not read it is fine
	}
	if ev.Hold != nil {
		cmd.ExtraFiles = []*os.File{ev.Hold}
	}
	return cmd
}

// start starts a command. A file that was written a moment ago cannot be
// executed as long as any process, such as a child that was just forked, holds
// it open for writing; that passes, so it is tried again for about a second.
func start(ctx context.Context, command func() *exec.Cmd) (*exec.Cmd, error) {
	for try := 1; ; try++ {
		cmd := command()
		err := cmd.Start()
		if !errors.Is(err, syscall.ETXTBSY) || try == startTries {
			return cmd, err
		}
		pause := time.NewTimer(5 * time.Millisecond << try)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// explain adds to what the kernel says about a file that it does not start.
func explain(path string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("neither a program for this machine nor a script; does its first line begin with #!? %w", err)
	case errors.Is(err, fs.ErrNotExist):
		if _, e := os.Stat(path); e == nil {
			return fmt.Errorf("the interpreter its first line names is not there: %w", err)
		}
	case errors.Is(err, syscall.ETXTBSY):
		return fmt.Errorf("another process keeps the file open for writing: %w", err)
	}
	return err
}

// wait waits for a started hook and ends it when its time is over or ctx is:
// SIGTERM to its process group, then SIGKILL. What moved to a session of its
// own is out of reach; it holds up nobody, as pipes are closed waitDelay after
// the hook itself is gone.
//
// ended is why the hook was ended, nil if it was not. An error means that it
// could not be: sudo's children, for one, do not obey a lesser user. Its
// process is left to itself then, and with it the goroutine that will reap it.
func (r *Runner) wait(ctx context.Context, cmd *exec.Cmd) (ended, err error) {
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		cmd.Wait() // its outcome is in cmd.ProcessState
	}()
	deadline := time.NewTimer(or(r.Timeout, defaultTimeout))
	defer deadline.Stop()
	select {
	case <-exited:
		return nil, nil
	case <-deadline.C:
		ended = errDeadline
	case <-ctx.Done():
		ended = context.Cause(ctx)
	}
	group := -cmd.Process.Pid
	syscall.Kill(group, syscall.SIGTERM)
	if !emptied(group, exited, or(r.Grace, defaultGrace)) {
		err = syscall.Kill(group, syscall.SIGKILL)
	}
	last := time.NewTimer(3 * waitDelay)
	defer last.Stop()
	select {
	case <-exited:
		return ended, nil
	case <-last.C:
		return ended, fmt.Errorf("process %d does not end: %w", cmd.Process.Pid, errors.Join(err, os.ErrDeadlineExceeded))
	}
}

// emptied waits up to grace for the leader of a process group to be reaped and
// for the rest of the group to be gone. As long as the group has a member the
// kernel does not give its number to another.
func emptied(group int, exited <-chan struct{}, grace time.Duration) bool {
	over := time.NewTimer(grace)
	defer over.Stop()
	select {
	case <-exited:
	case <-over.C:
		return false
	}
	tick := time.NewTicker(pollGroup)
	defer tick.Stop()
	for syscall.Kill(group, 0) != syscall.ESRCH {
		select {
		case <-tick.C:
		case <-over.C:
			return false
		}
	}
	return true
}

// judge turns the end of a hook into its result.
func judge(path string, cmd *exec.Cmd, ended, err error, output string) (Outcome, int, error) {
	if ended != nil {
		outcome := Failed
		if errors.Is(ended, errDeadline) || errors.Is(ended, context.DeadlineExceeded) {
			outcome = Timeout
		}
		if err != nil {
			return outcome, -1, fmt.Errorf("hook %s: was to be ended (%w), but %w", path, ended, err)
		}
		return outcome, code(cmd), fmt.Errorf("hook %s: ended: %w%s", path, ended, lastLine(output))
	}
	switch exit := code(cmd); exit {
	case 0:
		return OK, 0, nil
	case notMine:
		return Skipped, notMine, nil
	case 126, 127:
		return Failed, exit, fmt.Errorf("hook %s: exit status %d, a command it uses was not found or may not be run%s", path, exit, lastLine(output))
	default:
		return Failed, exit, fmt.Errorf("hook %s: %s%s", path, cmd.ProcessState, lastLine(output))
	}
}

// code is the exit status of a hook that was reaped; -1 if a signal ended it.
func code(cmd *exec.Cmd) int {
	if cmd.ProcessState == nil {
		return -1
	}
	return cmd.ProcessState.ExitCode()
}

func or(d, zero time.Duration) time.Duration {
	if d <= 0 {
		return zero
	}
	return d
}
