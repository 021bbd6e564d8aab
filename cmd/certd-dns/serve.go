package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// grace is for a provider that is late: to end, and then to clean up.
const grace = 15 * time.Second

const maxError = 1000 // bytes of an error's text

// lockFile is the descriptor of the record's lock, if there is one: it is held as
// long as this process lives, so that a certd that is started anew waits for it.
// What a provider starts does not inherit it.
const lockFile = 3

// serve answers one request. Whatever the provider does, there is one answer on
// stdout and nothing else: its own output goes to stderr, a panic becomes an
// error, and time is limited. A record that is set too late, or when nobody
// waits for it any more, is removed again.
func serve(stdin, stdout, stderr *os.File) int {
	unix.CloseOnExec(lockFile)
	out, err := divert(stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "certd-dns: divert stdout: %v\n", err)
		return exitFailed
	}
	req, err := readRequest(stdin)
	if err != nil {
		return reply(out, answer{Malformed: true, Error: err.Error()})
	}
	gone := make(chan string, 2)
	var alone atomic.Bool
	if req.Watch {
		go func() {
			_, _ = io.Copy(io.Discard, stdin) // how it ends does not matter
			alone.Store(true)
			gone <- "nobody waits for the answer any more"
		}()
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() { gone <- "ended by a signal: " + (<-stop).String() }()
	// Providers log to stderr, which nobody reads any more if certd was killed:
	// that must not end us before the record is removed.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	code := reply(out, bounded(req, newWorker, req.timeout(), gone))
	if alone.Load() && unix.Getpgrp() == os.Getpid() {
		_ = unix.Kill(0, unix.SIGKILL) // what the provider has started: certd cannot any more
	}
	return code
}

// divert returns a file that writes to where stdout went, and has everything
// else that is written to stdout go to stderr.
func divert(stdout, stderr *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(stdout.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	if err := unix.Dup3(int(stderr.Fd()), int(stdout.Fd()), 0); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "answer"), nil
}

func reply(out io.Writer, a answer) int {
	a.Error = oneLine(hide(a.Error, os.Environ()))
	if err := a.write(out); err != nil || !a.OK {
		return exitFailed
	}
	return exitOK
}

// bounded does what req says within limit and grace, or says why not.
func bounded(req request, start func(request) (worker, error), limit time.Duration, gone <-chan string) answer {
	done := make(chan answer, 1)
	var w worker
	go func() {
		done <- contained(req.Provider, func() (a answer, err error) {
			if w, err = start(req); err != nil {
				return answer{}, err
			}
			return w.do()
		})
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	why := ""
	select {
	case a := <-done:
		return a
	case <-timer.C:
		why = fmt.Sprintf("it took more than %v", limit)
	case why = <-gone:
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case a := <-done:
		return undone(req, w, a, why)
	case <-late.C:
		return answer{Perhaps: true, Error: fmt.Sprintf("%s: %s, and it still hangs; the request may have come through", req.Provider, why)}
	}
}

// undone removes a record that was set too late.
func undone(req request, w worker, a answer, why string) answer {
	if !a.OK || req.Action != actionPresent {
		if a.OK {
			return a
		}
		a.Error = fmt.Sprintf("%s: %s, and ended with: %s", req.Provider, why, a.Error)
		return a
	}
	removed := make(chan answer, 1)
	go func() {
		removed <- contained(req.Provider, func() (answer, error) { return answer{OK: true}, w.cleanUp() })
	}()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case r := <-removed:
		if r.OK {
			return answer{Error: fmt.Sprintf("%s: %s; the record was removed again", req.Provider, why)}
		}
		a.Error = fmt.Sprintf("%s: %s, and the record could not be removed again: %s", req.Provider, why, r.Error)
	case <-timer.C:
		a.Error = fmt.Sprintf("%s: %s, and removing the record hangs", req.Provider, why)
	}
	a.OK, a.Perhaps = false, true
	return a
}

// contained makes an answer of what f returns, also of its panic.
func contained(provider string, f func() (answer, error)) (a answer) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", p, debug.Stack())
			a = answer{Perhaps: true, Error: fmt.Sprintf("%s: the provider's code panicked: %v", provider, p)}
		}
	}()
	a, err := f()
	if err != nil {
		var missing *settingError
		if errors.As(err, &missing) {
			a.Variable = strings.Join(missing.variables, ",")
		}
		a.OK, a.Error, a.Perhaps = false, err.Error(), unanswered(err)
		if !strings.HasPrefix(a.Error, provider+":") {
			a.Error = provider + ": " + a.Error
		}
	}
	return a
}

// unanswered reports whether err is of a request that may have arrived, and whose
// answer did not.
func unanswered(err error) bool {
	var slow interface{ Timeout() bool }
	return errors.As(err, &slow) && slow.Timeout() || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// oneLine makes text fit for one line of a log.
func oneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if len(text) > maxError {
		text = strings.ToValidUTF8(text[:maxError], "") + "..."
	}
	return text
}
