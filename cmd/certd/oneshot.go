package main

import (
	"fmt"
	"slices"
	"time"

	"certd/daemon"
	"certd/packaging"
	"certd/plan"
	"certd/state"
)

// oneShot reports whether, as far as can be seen, no daemon of ours runs, or is set
// up, that wakes at the moments that CAs suggest. What found does not know, such as a
// container, shows by running.
func oneShot(store *state.Store, found []packaging.Found) bool {
	_, running := store.Daemon()
	return !running && !starts(found, packaging.Daemon)
}

// starts reports whether certd is started in one of these ways.
func starts(found []packaging.Found, kinds ...packaging.Kind) bool {
	return slices.ContainsFunc(found, func(f packaging.Found) bool {
		return f.Program == "certd" && f.Enabled && slices.Contains(kinds, f.Kind)
	})
}

// tooSeldom says for which targets a timer is too coarse, where a timer or cron is
// all there is: those whose CA suggests a window that is shorter than the time
// between two runs, and those whose certificate does not outlast two of them
// after it is due. It is empty if there are none.
func tooSeldom(view *daemon.View, actions []plan.Action, found []packaging.Found) string {
	pause := view.Interval()
	if pause == 0 || starts(found, packaging.Daemon) || !starts(found, packaging.Timer, packaging.Cron) {
		return ""
	}
	var first string
	n := 0
	for _, act := range actions {
		c := view.Snapshot.Certificates[act.CertID]
		if c == nil {
			continue
		}
		why := ""
		r := view.Snapshot.Renewals[c.ID]
		switch window := r.End.Sub(r.Start); {
		case window > 0 && window < pause:
			why = "its CA wants it renewed within a window of " + duration(window)
		case c.NotAfter.Sub(plan.RenewAt(c.NotBefore, c.NotAfter, 0)) < 2*pause:
			why = "its certificate lasts " + duration(c.NotAfter.Sub(c.NotBefore))
		default:
			continue
		}
		if n++; n == 1 {
			first = fmt.Sprintf("%s: %s", title(act.Names, act.Links, act.Target), why)
		}
	}
	if n == 0 {
		return ""
	}
	if n > 1 {
		first += fmt.Sprintf(", and %d more", n-1)
	}
	return fmt.Sprintf("certd is only started every %s, which is too seldom for %s. The daemon wakes at the very moment: certd quickstart sets it up.",
		duration(pause.Round(time.Minute)), first)
}
