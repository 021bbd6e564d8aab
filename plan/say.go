package plan

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"certd/acme"
	"certd/state"
)

// sayExpires says when a certificate ends: "expires in 12 days".
func (p *planner) sayExpires(notAfter time.Time) string {
	if left := notAfter.Sub(p.Now); left > 0 {
		return "expires in " + span(left)
	}
	return "expired " + span(p.Now.Sub(notAfter)) + " ago"
}

// sayDue says why a certificate is to be renewed now.
func (p *planner) sayDue(c *state.Certificate, n need) string {
	text := "renewal due since " + minute(n.due)
	if chosen := p.State.Renewals[c.ID].Chosen; n.by == CauseARI {
		text = "the CA suggested renewal at " + minute(chosen)
		if chosen.After(p.Now) {
			text += ", before the next run"
		}
	}
	return p.sayExpires(c.NotAfter) + "; " + text + p.sayExplained(c)
}

// sayRenews says when a certificate will be renewed: "renews 2026-12-20".
func (p *planner) sayRenews(c *state.Certificate, n need) string {
	s := "renews " + p.moment(n.due)
	if c.NotAfter.Sub(c.NotBefore) < shortLifetime {
		s = "renews " + minute(n.due)
	}
	if n.by == CauseARI {
		s += ", as the CA suggested"
	}
	if n.held {
		s += "; rolled back, a newer certificate is set aside"
	}
	return s + p.sayExplained(c)
}

// explanation is the URL by which the CA explains when it suggests renewal.
func (p *planner) explanation(c *state.Certificate) string {
	return oneLine(acme.Sanitize(p.State.Renewals[c.ID].Explanation))
}

// sayExplained points to the explanation, if there is one.
func (p *planner) sayExplained(c *state.Certificate) string {
	if url := p.explanation(c); url != "" {
		return "; see " + url
	}
	return ""
}

// sayRelink says which links are to be switched.
func sayRelink(stale []string) string {
	if len(stale) == 1 {
		return "live/" + stale[0] + " does not point to the best certificate"
	}
	return fmt.Sprintf("%d links in live/ do not point to the best certificate, such as %s", len(stale), stale[0])
}

// sayAgain says why what was obtained a short time ago is not obtained anew.
func (p *planner) sayAgain(w *want, cause Cause) string {
	switch {
	case cause == CauseNew, cause == CauseDamaged && p.nearest(w) == nil:
		return "; one was obtained a short time ago, and is gone: does a hook remove it? next attempt "
	case cause == CauseDamaged:
		return "; so was the one before it: does a hook edit files in live/? next attempt "
	}
	return "; was obtained like this a short time ago, next attempt "
}

// sayUnowned says who owns the names of a target that owns none.
func (p *planner) sayUnowned(w *want) string {
	var others []string
	for _, n := range w.Names {
		others = append(others, p.owner[w.LiveName(n)])
	}
	slices.Sort(others)
	others = slices.Compact(others)
	switch len(others) {
	case 0:
		return "it has no names"
	case 1:
		return "all its names belong to target " + others[0]
	}
	return fmt.Sprintf("all its names belong to %d other targets, such as %s", len(others), others[0])
}

// sayWaiting says why a target is not tried now.
func (p *planner) sayWaiting(last state.Attempt, until time.Time) string {
	failed := "failed once"
	if last.Failures > 1 {
		failed = fmt.Sprintf("failed %d times", last.Failures)
	}
	if last.Paused != "" {
		return "the CA has paused " + cmp.Or(last.Name, "it") + " until somebody acts: " + oneLine(last.Paused) + "; next look " + p.clock(until)
	}
	switch acme.Class(last.Class) {
	case acme.ClassWait:
		return "the CA asked to wait until " + p.clock(until)
	case acme.ClassName:
		failed += " (name refused or not validated)"
		if last.Name != "" {
			failed = strings.Replace(failed, "name", last.Name, 1)
		}
	case acme.ClassOperator:
		failed += " (somebody must act)"
	}
	return failed + ", next attempt " + p.clock(until)
}

// sayNames says how wanted names differ from those there are: "+a -b".
func sayNames(want, have []string) string {
	without := func(a, b []string) []string {
		return slices.DeleteFunc(slices.Clone(a), func(n string) bool { return slices.Contains(b, n) })
	}
	const shown = 4
	var out []string
	for _, n := range without(want, have) {
		out = append(out, "+"+n)
	}
	for _, n := range without(have, want) {
		out = append(out, "-"+n)
	}
	if len(out) > shown+1 {
		out = append(out[:shown], fmt.Sprintf("and %d more", len(out)-shown))
	}
	return strings.Join(out, " ")
}

// span writes a length of time in its largest sensible unit.
func span(d time.Duration) string {
	for _, unit := range []struct {
		d    time.Duration
		name string
	}{{day, "days"}, {time.Hour, "hours"}} {
		if d >= 2*unit.d {
			return fmt.Sprintf("%d %s", d/unit.d, unit.name)
		}
	}
	if m := d / time.Minute; m != 1 {
		return fmt.Sprintf("%d minutes", m)
	}
	return "1 minute"
}

// moment writes a time as exactly as somebody wants to know it: the day, and
// the minute too within two days of now.
func (p *planner) moment(t time.Time) string {
	if d := t.Sub(p.Now); -2*day < d && d < 2*day {
		return minute(t)
	}
	return t.UTC().Format(time.DateOnly)
}

// clock writes a time near now: without the date if it is today.
func (p *planner) clock(t time.Time) string {
	if t.UTC().Format(time.DateOnly) == p.Now.Format(time.DateOnly) {
		return t.UTC().Format("15:04:05Z")
	}
	return minute(t)
}

// minute writes date and time in UTC.
func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04Z") }

// host shows a directory URL by its host.
func host(directory string) string {
	if u, err := url.Parse(directory); err == nil {
		return cmp.Or(u.Host, directory)
	}
	return directory
}

// oneLine keeps what was read from disk to a line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
