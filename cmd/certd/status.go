package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"certd/config"
	"certd/daemon"
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
events. Only reads; works as any user who may read the state directory.`,
		Example: `  certd status
  certd status -o json www.example.com`,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkOutput(format); err != nil {
				return err
			}
			view, err := a.look()
			if err != nil {
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
			return a.broken(view)
		},
	}
	outputFlag(c, &format)
	return c
}

// selectNames keeps the rows of the names on the command line.
func selectNames(rows []daemon.NameStatus, args []string) ([]daemon.NameStatus, error) {
	if len(args) == 0 {
		return rows, nil
	}
	var out []daemon.NameStatus
	for _, arg := range args {
		name, err := config.ParseName(arg)
		if err != nil {
			return nil, usage("%w", err)
		}
		if !slices.ContainsFunc(rows, func(r daemon.NameStatus) bool { return r.Name == name }) {
			return nil, usage("%s is neither wanted nor in live/; certd want %s adds it", name, name)
		}
		for _, r := range rows {
			if r.Name == name {
				out = append(out, r)
			}
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

// printStatus is made for 80 columns: one line a name, and one more for its
// last error.
func (a *app) printStatus(rows []daemon.NameStatus, view *daemon.View) {
	if len(rows) == 0 {
		fmt.Fprintln(a.out, "nothing is wanted; certd want NAME adds the first target")
		return
	}
	table := [][]string{{"NAME", "STATE", "LEFT", "NEXT"}}
	for _, r := range rows {
		name := r.Name
		if r.Label != "" {
			name += ":" + r.Label
		}
		table = append(table, []string{shorten(name, 34), string(r.State), left(r, view.Now), r.Reason})
	}
	a.table(fit(table))
	for _, r := range rows {
		if r.LastError != "" {
			fmt.Fprintln(a.out, shorten(fmt.Sprintf("%s: %s", r.Name, r.LastError), 160))
		}
	}
	if n := len(view.Snapshot.Pending); n > 0 {
		e := view.Snapshot.Pending[0]
		fmt.Fprintln(a.out, shorten(fmt.Sprintf("%s not delivered to every hook, the oldest %s: %s", plural(n, "event"), e.Event, e.LastError), 160))
	}
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
