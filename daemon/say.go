package daemon

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"certd/acme"
	"certd/plan"
)

// facts are what a sentence about the daemon needs.
type facts struct {
	known        bool // a pass has ended
	certificates int
	failing      int
	renewal      time.Time // the earliest; zero without
	trouble      string    // what kept the last pass from running; empty if it ran
	unwritten    string    // why its metrics could not be written; empty if they could
}

// gather reads the facts from how a pass ended.
func gather(out outcome) facts {
	f := facts{known: true}
	if out.err != nil {
		f.trouble = acme.Sanitize(out.err.Error())
	}
	if out.report != nil && out.report.unwritten != nil {
		f.unwritten = acme.Sanitize(out.report.unwritten.Error())
	}
	if out.view == nil {
		return f
	}
	in := out.view.input(nil, false)
	in.Busy = nil // the certificates of those that others are at count as well
	for _, a := range plan.Compute(in) {
		if a.CertID != "" {
			f.certificates++
		}
		if a.Kind == plan.Wait && a.Limit == "" {
			f.failing++
		}
		if a.Kind == plan.Keep && a.CertID != "" && (f.renewal.IsZero() || a.At.Before(f.renewal)) {
			f.renewal = a.At
		}
	}
	for _, err := range out.view.Mistakes {
		f.trouble = "the configuration read before stays in force: " + acme.Sanitize(err.Error())
	}
	return f
}

// sentence is how things are, in one line, troubles included.
func (l *loop) sentence(now time.Time) string {
	return strings.Join(append([]string{l.brief(now)}, l.troubles()...), ", ")
}

// brief is how things are without the troubles.
func (l *loop) brief(now time.Time) string {
	var parts []string
	if f := l.facts; f.known {
		parts = append(parts, fmt.Sprintf("%d %s", f.certificates, noun(f.certificates, "certificate")))
		if f.failing > 0 {
			parts = append(parts, fmt.Sprintf("%d failing", f.failing))
		}
		if !f.renewal.IsZero() {
			parts = append(parts, "next renewal in "+span(f.renewal.Sub(now)))
		}
	}
	if len(l.runs) > 0 {
		var triggers []string
		for _, r := range l.runs {
			triggers = append(triggers, r.trigger)
		}
		parts = append(parts, "at work ("+strings.Join(triggers, ", ")+")")
	}
	if len(parts) == 0 {
		return "starting"
	}
	return strings.Join(parts, ", ")
}

// troubles are what a person has to mend.
func (l *loop) troubles() []string {
	var out []string
	if l.reloadErr != nil {
		out = append(out, "not reloaded: "+acme.Sanitize(l.reloadErr.Error()))
	}
	if t := l.facts.trouble; t != "" && (l.reloadErr == nil || !strings.HasSuffix(t, acme.Sanitize(l.reloadErr.Error()))) { // once is enough
		out = append(out, t)
	}
	if l.facts.unwritten != "" {
		out = append(out, "metrics not written: "+l.facts.unwritten)
	}
	return out
}

// describe is what /healthz shows.
func (l *loop) describe(now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", l.brief(now))
	if l.facts.known {
		fmt.Fprintf(&b, "last pass: %s\n", stamp(l.ended))
	}
	fmt.Fprintf(&b, "next pass: %s\n", stamp(l.nextPass()))
	for _, trouble := range l.troubles() {
		fmt.Fprintf(&b, "trouble: %s\n", trouble)
	}
	return b.String()
}

// nextPass is when the next pass comes by itself: by schedule, or because
// something is due.
func (l *loop) nextPass() time.Time {
	var next time.Time
	if l.setup.ticker != nil {
		next = l.setup.ticker.next()
	}
	if due := l.wakeTime(); next.IsZero() || !due.IsZero() && due.Before(next) {
		next = due
	}
	return next
}

// span is a time as a person would say it. It does not change every second, as
// it is told to the service manager whenever it does.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return "less than 2 minutes"
}

func noun(n int, one string) string {
	if n == 1 {
		return one
	}
	return one + "s"
}

// firstLine keeps a joined error to one line.
func firstLine(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
}
