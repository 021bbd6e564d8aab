package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"certd/config"
	"certd/daemon"
	"certd/state"
)

// A checkStatus is a plugin's exit code (Nagios plugin development guidelines).
type checkStatus int

// The four states of a service.
const (
	checkOK checkStatus = iota
	checkWarning
	checkCritical
	checkUnknown
)

func (s checkStatus) String() string {
	switch s {
	case checkOK:
		return "OK"
	case checkWarning:
		return "WARNING"
	case checkCritical:
		return "CRITICAL"
	}
	return "UNKNOWN"
}

// worse orders the states by what must not be hidden: that nothing can be said
// comes after a known outage, before a warning.
func worse(a, b checkStatus) bool {
	rank := [...]int{checkOK: 0, checkWarning: 1, checkUnknown: 2, checkCritical: 3}
	return rank[a] > rank[b]
}

// checkFlags are the flags of certd check.
type checkFlags struct {
	warning, critical string
	seconds           int
	stale             time.Duration
	verbose, version  bool
}

func (a *app) checkCommand() *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "check [NAME...]",
		Short: "Nagios plugin: one line with perfdata, exit 0, 1, 2 or 3",
		Long: `A plugin for Nagios, Icinga, NRPE and the like. Reads the state directory and nothing
else, without the daemon, as any user who may read it. Looks at every wanted name, or
those given: expired and expiring certificates (-w, -c), damaged, revoked, mismatched,
missing and unlinked ones, failed attempts, undelivered hook events, files that cannot
be used, and whether anything reconciles at all (--stale).

-w and -c are what must be left: a share of the lifetime ("33%") or days ("20", also
"20:"). By default 25% and 10%, but at most three quarters and three tenths of the time
from the renewal point to the expiry, so that what is not due yet is no alarm.

Exit: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, also for wrong usage and --help.`,
		Example: `  certd check
  certd check -w 33% -c 10% www.example.com`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.version {
				fmt.Fprintf(a.out, "certd %s\n", version)
				return &exitError{code: int(checkUnknown)}
			}
			return a.check(cmd.Context(), f, args)
		},
	}
	flags := c.Flags()
	flags.StringVarP(&f.warning, "warning", "w", "", "`LEFT` of a certificate below which it is a warning; default 25%")
	flags.StringVarP(&f.critical, "critical", "c", "", "`LEFT` of a certificate below which it is critical; default 10%")
	flags.IntVarP(&f.seconds, "timeout", "t", 10, "give up after `SECONDS`, which is critical")
	flags.DurationVar(&f.stale, "stale", 25*time.Hour, "a warning if nothing has reconciled for this long")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "one more line for each problem, at most 20")
	flags.BoolVarP(&f.version, "version", "V", false, "print the version and exit with 3")
	return c
}

// check looks, within its timeout, and prints its line.
func (a *app) check(ctx context.Context, f checkFlags, args []string) error {
	limits, err := parseLimits(f)
	if err != nil {
		return err
	}
	names, err := checkNames(args)
	if err != nil {
		return err
	}
	report := within(ctx, time.Duration(f.seconds)*time.Second, a.stateDir, func() *checkReport { return a.examine(limits, names) })
	status := report.print(a.out, f.verbose)
	if status == checkOK {
		return nil
	}
	return &exitError{code: int(status)}
}

// within calls examine and gives up after a time. A file system that hangs cannot
// be called back: its goroutine ends with the process, which ends now.
func within(ctx context.Context, limit time.Duration, dir string, examine func() *checkReport) *checkReport {
	done := make(chan *checkReport, 1)
	go func() { done <- examine() }()
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	r := &checkReport{}
	select {
	case r = <-done:
	case <-timeout.C:
		r.add(checkCritical, "%s could not be read within %s", dir, duration(limit))
	case <-ctx.Done():
		r.add(checkUnknown, "interrupted")
	}
	return r
}

// checkNames reads the arguments.
func checkNames(args []string) (map[string]bool, error) {
	names := map[string]bool{}
	for _, arg := range args {
		name, err := config.ParseName(arg)
		if err != nil {
			return nil, usage("%w", err)
		}
		names[name] = true
	}
	return names, nil
}

// examine reads the state directory and judges it.
func (a *app) examine(limits checkLimits, names map[string]bool) *checkReport {
	r := &checkReport{}
	if _, err := os.Stat(a.stateDir); err != nil {
		r.add(checkUnknown, "state directory: %v", err)
		return r
	}
	store, err := a.store()
	if _, unsafe := errors.AsType[*state.UnsafeError](err); unsafe {
		r.add(checkCritical, "%v", err)
		return r
	}
	if err != nil {
		r.add(checkUnknown, "%v", err)
		return r
	}
	view, err := daemon.LookAnyway(store)
	if err != nil {
		r.add(checkUnknown, "%v", err)
		return r
	}
	for _, err := range view.Mistakes {
		if errors.Is(err, fs.ErrPermission) {
			r.add(checkUnknown, "%v", err)
		} else {
			r.add(checkWarning, "nothing is renewed, the configuration cannot be used: %v", err)
		}
	}
	if _, err := os.ReadDir(store.Path("live")); errors.Is(err, os.ErrPermission) {
		r.add(checkUnknown, "%v", err)
		return r
	}
	x := &examination{checkReport: r, view: view, store: store, limits: limits, names: names}
	x.run()
	return r
}

// checkExit is what a run of certd check exits with: usage errors, and --help,
// are UNKNOWN for Nagios, and their text is on standard output.
func (a *app) checkExit(c *cobra.Command, err error) int {
	help, _ := c.Flags().GetBool("help") // false if it is not defined yet
	switch {
	case err == nil && help:
		return int(checkUnknown)
	case err == nil:
		return exitOK
	}
	if e, ok := errors.AsType[*exitError](err); ok && e.err == nil {
		return e.code
	}
	fmt.Fprintf(a.out, "CERTD UNKNOWN: %s\n", checkText(strings.TrimSpace(err.Error())))
	return int(checkUnknown)
}
