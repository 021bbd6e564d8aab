package main

import (
	"errors"
	"fmt"
	"io/fs"

	"certd/daemon"
	"certd/state"
)

// Exit codes, as README.md lists them.
const (
	exitOK         = 0
	exitFailed     = 1  // something failed; the rest was still done
	exitChanged    = 2  // reconcile --detailed-exit-code: something changed
	exitUsage      = 64 // the command line is wrong
	exitLocked     = 75 // another certd holds the lock
	exitPermission = 77
	exitConfig     = 78
)

// An exitError carries an exit code; its text may be empty where the command has
// already said what is wrong.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

// Unwrap returns what went wrong, or nil.
func (e *exitError) Unwrap() error { return e.err }

// exitCode maps errors to the exit codes of the contract, in this one place.
// Permission comes before the kinds of error that it may be wrapped in.
func exitCode(err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if errors.Is(err, fs.ErrPermission) {
		return exitPermission
	}
	if _, ok := errors.AsType[*state.LockedError](err); ok {
		return exitLocked
	}
	if _, ok := errors.AsType[*daemon.ConfigError](err); ok {
		return exitConfig
	}
	if _, ok := errors.AsType[*state.UnsafeError](err); ok {
		return exitConfig
	}
	if _, ok := errors.AsType[*state.PermError](err); ok {
		return exitConfig
	}
	if _, ok := errors.AsType[*daemon.UnknownTargetError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*daemon.NoReuseError](err); ok {
		return exitUsage
	}
	return exitFailed
}

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}
