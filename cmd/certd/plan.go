package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"certd/config"
	"certd/daemon"
	"certd/hooks"
	"certd/packaging"
	"certd/plan"
	"certd/state"
)

type planRow struct {
	Target string   `json:"target"`
	Names  []string `json:"names"`
	Action string   `json:"action"`
	Reason string   `json:"reason"`
	At     *string  `json:"at"`
}

func (a *app) planCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "plan [TARGET...]",
		Short: "Show what reconcile would do now, what is due next, and why",
		Long: `Shows for each target what reconcile would do now: keep, order, resume, relink or
wait; when the next thing is due; and why. Changes nothing and asks no CA.`,
		Example: `  certd plan
  certd plan -o json www.example.com`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(format); err != nil {
				return err
			}
			view, err := a.lookOrSay(format, args)
			if view == nil {
				return err
			}
			selected, err := view.Select(targetArgs(view.Targets, args))
			if err != nil {
				return err
			}
			actions, err := a.planned(view, selected)
			if err != nil {
				return err
			}
			if format == "json" {
				err = a.printJSON(planRows(actions))
			} else {
				a.printPlan(actions, view)
			}
			if err != nil {
				return err
			}
			return a.broken(view)
		},
		ValidArgsFunction: a.completeNames(targetNames),
	}
	outputFlag(c, &format)
	return c
}

// planned are the actions of the next run, and warns if runs come too seldom.
func (a *app) planned(view *daemon.View, selected func(*config.Target) bool) ([]plan.Action, error) {
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	found := packaging.Detect("")
	if !oneShot(store, found) {
		return view.Plan(selected, false), nil
	}
	view.NextRun = view.Now.Add(view.Interval())
	actions := view.Plan(selected, false)
	if warning := tooSeldom(view, actions, found); warning != "" {
		fmt.Fprintf(a.err, "certd: %s\n", warning)
	}
	return actions, nil
}

// look reads the state directory for a command that only shows it.
func (a *app) look() (*daemon.View, error) {
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	return daemon.Look(store)
}

// missing reports whether there is no state directory yet.
func missing(store *state.Store) bool {
	_, err := os.Stat(store.Dir())
	return errors.Is(err, fs.ErrNotExist)
}

// lookOrSay is look for those who tell that there is no state directory: --state
// may be mistyped. View and error are nil if that is all there is to say.
func (a *app) lookOrSay(format string, args []string) (*daemon.View, error) {
	return a.lookBy(daemon.Look, format, args)
}

// lookBy is lookOrSay by daemon.Look or daemon.LookAnyway.
func (a *app) lookBy(look func(*state.Store) (*daemon.View, error), format string, args []string) (*daemon.View, error) {
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	if missing(store) {
		text := fmt.Sprintf("state directory %s does not exist yet; certd want NAME creates it", store.Dir())
		if format == "text" && len(args) == 0 {
			fmt.Fprintln(a.out, text)
			return nil, nil
		}
		fmt.Fprintf(a.err, "certd: %s\n", text)
	}
	return look(store)
}

// broken reports what could not be read, which makes the exit code 1.
func (a *app) broken(view *daemon.View) error {
	for _, b := range view.Snapshot.Broken {
		fmt.Fprintf(a.err, "certd: broken entry left alone: %s: %v\n", b.Path, b.Err)
	}
	for _, err := range view.Targets.Errors {
		fmt.Fprintf(a.err, "certd: target file not used: %v\n", err)
	}
	if len(view.Snapshot.Broken)+len(view.Targets.Errors) > 0 {
		return &exitError{code: exitFailed}
	}
	return nil
}

func planRows(actions []plan.Action) []planRow {
	rows := make([]planRow, 0, len(actions))
	for _, act := range actions {
		rows = append(rows, planRow{act.Target, act.Names, string(act.Kind), act.Reason, timeOrNull(act.At)})
	}
	return rows
}

// printPlan is made for 80 columns: the names, what happens and when, and why,
// below it if there is no room; and below that how what is ordered is proven.
func (a *app) printPlan(actions []plan.Action, view *daemon.View) {
	if len(actions) == 0 {
		fmt.Fprintln(a.out, "nothing is wanted; certd want NAME adds the first target")
		return
	}
	rows := [][]string{{"NAMES", "DO", "WHEN", "WHY"}}
	targets := make(map[string]*config.Target)
	for _, t := range view.Targets.Targets {
		targets[t.File] = t
	}
	ways := view.Ways(&hooks.Runner{Dirs: a.hookDirs})
	for _, act := range actions {
		why := act.Reason
		if t := targets[act.Target]; t != nil && act.Kind != plan.Keep && act.Kind != plan.Relink {
			why += "\nproven by: " + ways(t).Say(t.RequestNames)
		}
		rows = append(rows, []string{title(act.Names, act.Links, act.Target), string(act.Kind), when(act.At, view.Now), why})
	}
	a.table(rows, 36, func(cell string, room int) (here string, below []string) {
		cell, more, _ := strings.Cut(cell, "\n")
		here, below = wrapCell(cell, room)
		return here, append(below, wrap("    "+more, "    ")...)
	})
}

// when says an instant as seen from now, such as "now", "in 12 days", "never".
func when(at, now time.Time) string {
	switch {
	case at.IsZero():
		return "never"
	case !at.After(now):
		return "now"
	}
	return "in " + duration(at.Sub(now))
}
