package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"certd/config"
	"certd/daemon"
	"certd/plan"
)

type statusRow struct {
	Name         string  `json:"name"`
	Label        *string `json:"label"`
	State        string  `json:"state"`
	CA           *string `json:"ca"`
	KeyType      *string `json:"key_type"`
	Profile      *string `json:"profile"`
	NotBefore    *string `json:"not_before"`
	NotAfter     *string `json:"not_after"`
	RenewAt      *string `json:"renew_at"`
	Reason       string  `json:"reason"`
	LastAttempt  *string `json:"last_attempt"`
	LastError    *string `json:"last_error"`
	Failures     int     `json:"failures"`
	NextAttempt  *string `json:"next_attempt"`
	HooksPending int     `json:"hooks_pending"`
}

func (a *app) statusCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "status [NAME...]",
		Short: "Show names, days left, what happens next, and the last error",
		Long: `Shows every wanted name and every name in live/: whether its certificate is good, how
long it still lasts, what happens next and why, the last error and undelivered hook
events. Only reads; works as any user who may read the state directory. With a mistake
in conf/ it shows what there is, and exits with 78.`,
		Example: `  certd status
  certd status -o json www.example.com`,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkOutput(format); err != nil {
				return err
			}
			view, err := a.lookBy(daemon.LookAnyway, format, args)
			if view == nil {
				return err
			}
			rows, err := selectNames(view.Status(), args)
			if err != nil {
				return err
			}
			if format == "json" {
				err = a.printJSON(statusRows(rows))
			} else {
				a.printStatus(rows, view)
			}
			if err != nil {
				return err
			}
			if err := a.broken(view); len(view.Mistakes) == 0 {
				return err
			}
			return errors.Join(view.Mistakes...)
		},
		ValidArgsFunction: a.completeNames(liveTargetNames),
	}
	outputFlag(c, &format)
	return c
}

// selectNames keeps the rows of the names on the command line, each row once. A
// NAME stands for all its labels, NAME:LABEL for one.
func selectNames(rows []daemon.NameStatus, args []string) ([]daemon.NameStatus, error) {
	if len(args) == 0 {
		return rows, nil
	}
	chosen := make([]bool, len(rows))
	for _, arg := range args {
		name, label, err := parseLive(arg)
		if err != nil {
			return nil, err
		}
		found := false
		for i, r := range rows {
			if r.Name == name && (label == "" || r.Label == label) {
				chosen[i], found = true, true
			}
		}
		if !found {
			return nil, usage("%s is neither wanted nor in live/; certd want %s adds it", live(name, label), name)
		}
	}
	var out []daemon.NameStatus
	for i, r := range rows {
		if chosen[i] {
			out = append(out, r)
		}
	}
	return out, nil
}

func statusRows(rows []daemon.NameStatus) []statusRow {
	out := make([]statusRow, 0, len(rows))
	for _, r := range rows {
		row := statusRow{
			Name: r.Name, Label: textOrNull(r.Label), State: string(r.State), CA: textOrNull(r.CA), RenewAt: timeOrNull(r.RenewAt),
			Reason: r.Reason, LastAttempt: timeOrNull(r.Attempt.LastAttempt), LastError: textOrNull(r.LastError),
			Failures: r.Attempt.Failures, NextAttempt: timeOrNull(r.Attempt.NextAttempt), HooksPending: r.Pending,
		}
		if c := r.Certificate; c != nil {
			row.KeyType, row.Profile = textOrNull(c.KeyType), textOrNull(c.Profile)
			row.NotBefore, row.NotAfter = timeOrNull(c.NotBefore), timeOrNull(c.NotAfter)
		}
		out = append(out, row)
	}
	return out
}

// printStatus is made for 80 columns: one line a name, and below them the last
// errors in full, once for each target.
func (a *app) printStatus(rows []daemon.NameStatus, view *daemon.View) {
	if len(rows) == 0 {
		fmt.Fprintln(a.out, "nothing is wanted; certd want NAME adds the first target")
		return
	}
	actions := make(map[string]plan.Action) // by live name
	for _, act := range view.Plan(func(*config.Target) bool { return true }, false) {
		for _, link := range act.Links {
			actions[link] = act
		}
	}
	table := [][]string{{"NAME", "STATE", "LEFT", "NEXT"}}
	var order []string // of the targets with an error
	failed := make(map[string][]string)
	for _, r := range rows {
		name := live(r.Name, r.Label)
		table = append(table, []string{name, string(r.State), left(r, view.Now), next(r, actions[name], view)})
		if r.LastError == "" {
			continue
		}
		key := r.Attempt.Target
		if failed[key] == nil {
			order = append(order, key)
		}
		failed[key] = append(failed[key], name)
	}
	a.table(table, 31, cutCell)
	for _, target := range order {
		a.paragraph("%s: %s", title(failed[target], nil, target), view.Snapshot.Attempts[target].LastError)
		if paused := view.Snapshot.Attempts[target].Paused; paused != "" { // in one piece, to be copied
			fmt.Fprintf(a.out, "    the CA has paused it until somebody acts: %s\n", paused)
		}
	}
	if n := len(view.Snapshot.Pending); n > 0 {
		e := view.Snapshot.Pending[0]
		why := cmp.Or(e.LastError, "not tried yet, which is done at the end of each reconcile")
		a.paragraph("%s not delivered to every hook, the oldest %s: %s", plural(n, "event"), e.Event, why)
	}
}

// next says what happens next, and begins with what is done or when: what does
// not fit is cut.
func next(r daemon.NameStatus, act plan.Action, view *daemon.View) string {
	switch act.Kind {
	case plan.Order:
		if r.Certificate == nil {
			return "the next reconcile orders it"
		}
		return "order now: " + act.Reason
	case plan.Resume:
		return "resume now: " + act.Reason
	case plan.Relink:
		return "relink now: " + act.Reason
	case plan.Wait:
		if view.Stopped {
			return act.Reason
		}
		return "tries again " + clock(act.At, view.Now) + ": " + act.Reason
	}
	return r.Reason
}

// clock writes an instant in UTC, without the date if that is today's.
func clock(at, now time.Time) string {
	at = at.UTC()
	if at.Format(time.DateOnly) == now.UTC().Format(time.DateOnly) {
		return at.Format("15:04Z")
	}
	return at.Format("2006-01-02 15:04Z")
}

// left says how long a certificate still lasts.
func left(r daemon.NameStatus, now time.Time) string {
	if r.Certificate == nil {
		return "-"
	}
	if !r.Certificate.NotAfter.After(now) {
		return "0"
	}
	return duration(r.Certificate.NotAfter.Sub(now))
}
