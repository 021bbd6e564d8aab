package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"certd/config"
	"certd/daemon"
	"certd/packaging"
)

func (a *app) reconcileCommand() *cobra.Command {
	var force, detailed, next bool
	var format string
	c := &cobra.Command{
		Use:   "reconcile [TARGET...]",
		Short: "Make what is wanted true: resume, order, publish, run hooks",
		Long: `Obtains and renews what is due, publishes it under live/ and runs the hooks. This is
the job for a timer; it sends nothing to the CA when nothing is due. A TARGET is a
file name of desired/ or one of its names; without one all are reconciled.

Exit: 0 done, 1 something failed (the rest was still done), 75 another certd is at
work. With --detailed-exit-code: 0 nothing changed, 2 something changed, 1 failure.`,
		Example: `  certd reconcile
  certd reconcile --force www.example.com     a new certificate now, due or not
  certd reconcile --next-key www.example.com  with the key that certd tlsa shows`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(format); err != nil {
				return err
			}
			return a.reconcileAndReport(cmd.Context(), pass{targets: args, force: force, next: next, format: format, detailed: detailed})
		},
		ValidArgsFunction: a.completeNames(targetNames),
	}
	c.Flags().BoolVar(&force, "force", false, "order even what is not due, and do not wait after failures")
	c.Flags().BoolVar(&next, "next-key", false, "order with the next key, for targets with request.key.reuse; see certd tlsa")
	c.Flags().BoolVar(&detailed, "detailed-exit-code", false, "exit with 2 if something changed")
	outputFlag(c, &format)
	return c
}

// A pass is what one reconcile is asked for.
type pass struct {
	targets  []string // arguments; none means all
	force    bool
	next     bool   // go over to the next key
	format   string // text or json
	detailed bool   // exit with 2 if something changed

	wait time.Duration // for another certd, at least; zero: no longer than lockWait
}

// errInterrupted ends a reconcile that was told to stop. No target has failed by
// that: what is under way is journaled.
func errInterrupted() error {
	return &exitError{exitFailed, errors.New("interrupted; the next reconcile goes on")}
}

// reconcileAndReport runs one pass, prints its report and turns it into the exit
// code.
func (a *app) reconcileAndReport(ctx context.Context, p pass) error {
	report, err := a.reconcile(ctx, p)
	stopped := ctx.Err() != nil
	if err != nil {
		if stopped && errors.Is(err, context.Canceled) {
			return errInterrupted()
		}
		return err
	}
	if p.format == "json" {
		if err := a.printJSON(resultRows(report)); err != nil {
			return err
		}
	} else {
		a.printReport(report, stopped)
	}
	switch {
	case stopped && report.Failed():
		return errInterrupted()
	case report.Failed():
		return &exitError{code: exitFailed}
	case p.detailed && report.Changed():
		return &exitError{code: exitChanged}
	}
	return nil
}

// reconcile runs one pass with progress on a terminal.
func (a *app) reconcile(ctx context.Context, p pass) (*daemon.Report, error) {
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	answers, err := a.answers(store)
	if err != nil {
		return nil, err
	}
	selected := p.targets
	if len(selected) > 0 {
		targets, err := config.LoadTargets(store.Dir())
		if err != nil {
			return nil, &daemon.ConfigError{Err: err}
		}
		selected = targetArgs(targets, selected)
	}
	log := slog.New(quietAfter(ctx, a.log.Handler()))
	defer a.screen.finish()
	return daemon.Reconcile(ctx, daemon.Options{
		Store:     store,
		Hooks:     a.runner(store),
		Targets:   selected,
		Force:     p.force,
		NextKey:   p.next,
		Answers:   answers,
		LockWait:  max(a.lockWait(), p.wait),
		Log:       log,
		Progress:  func(at daemon.Progress) { a.screen.show(log, at) },
		UserAgent: "certd/" + version,
		Trigger:   a.trigger(),
		OneShot:   oneShot(store, packaging.Detect("")),
		Metrics:   newMetrics(),
	})
}

// printReport says on standard output what a person wants to know; why
// something failed is in the log as well, for those who only keep that. What a
// pass that was stopped did not get to is left out: the next one does it.
func (a *app) printReport(r *daemon.Report, stopped bool) {
	counts := make(map[daemon.Outcome]int)
	for _, res := range r.Results {
		if stopped && errors.Is(res.Err, context.Canceled) {
			counts["interrupted"]++
			continue
		}
		counts[res.Outcome]++
		name := title(res.Action.Names, res.Action.Links, res.Action.Target)
		switch res.Outcome {
		case daemon.Issued, daemon.Relinked:
			fmt.Fprintf(a.out, "%s: %s\n", name, res.Outcome)
		case daemon.Failed:
			fmt.Fprintf(a.out, "%s: failed: %v\n", name, res.Err)
		case daemon.Waiting:
			fmt.Fprintf(a.out, "%s: waiting: %s\n", name, res.Action.Reason)
		}
	}
	fmt.Fprintf(a.out, "%s: %d issued, %d relinked, %d unchanged, %d waiting, %d failed", plural(len(r.Results), "target"),
		counts[daemon.Issued], counts[daemon.Relinked], counts[daemon.Unchanged], counts[daemon.Waiting], counts[daemon.Failed])
	if n := counts["interrupted"]; n > 0 {
		fmt.Fprintf(a.out, ", %d interrupted", n)
	}
	fmt.Fprintln(a.out)
	if r.Pending > 0 {
		fmt.Fprintf(a.out, "%s not delivered to every hook; each reconcile tries again\n", plural(r.Pending, "event"))
	}
	if n := len(r.Broken) + len(r.Mistakes) + len(r.Other); n > 0 {
		fmt.Fprintf(a.out, "%s, see the log above\n", plural(n, "other problem"))
	}
}

type resultRow struct {
	Target      string   `json:"target"`
	Names       []string `json:"names"`
	Action      string   `json:"action"`
	Outcome     string   `json:"outcome"`
	Error       *string  `json:"error"`
	TookSeconds float64  `json:"took_seconds"`
}

func resultRows(r *daemon.Report) []resultRow {
	rows := make([]resultRow, 0, len(r.Results))
	for _, res := range r.Results {
		row := resultRow{Target: res.Action.Target, Names: res.Action.Names, Action: string(res.Action.Kind),
			Outcome: string(res.Outcome), TookSeconds: res.Took.Seconds()}
		if res.Err != nil {
			text := res.Err.Error()
			row.Error = &text
		}
		rows = append(rows, row)
	}
	return rows
}
