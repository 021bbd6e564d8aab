package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"certd/acme"
	"certd/daemon"
)

// Bounds of what the plugin prints: Nagios cuts at 4 to 8 KiB.
const (
	checkLine  = 300 // characters of a text
	checkLines = 20  // further lines of -v
)

// A checkReport is what the plugin found.
type checkReport struct {
	findings []finding
	counts   map[daemon.State]int
	total    int
	pending  int       // undelivered hook events
	soonest  remaining // of the certificates that were looked at
	last     time.Time // the newest sign of a reconcile; zero if there is none
	now      time.Time
	stale    time.Duration
}

// A finding is one problem.
type finding struct {
	status checkStatus
	text   string
}

// A remaining is how long a certificate still lasts, and how long it should.
type remaining struct {
	name                    string
	left, warning, critical time.Duration
}

func (r *checkReport) add(status checkStatus, format string, args ...any) {
	r.findings = append(r.findings, finding{status, checkText(fmt.Sprintf(format, args...))})
}

// checkText makes one line of s that Nagios takes for text: the bar begins perfdata.
func checkText(s string) string {
	return shorten(strings.ReplaceAll(acme.Sanitize(s), "|", "/"), checkLine)
}

// print writes the line, perhaps those of -v, and returns the state.
func (r *checkReport) print(w io.Writer, verbose bool) checkStatus {
	slices.SortStableFunc(r.findings, func(a, b finding) int {
		switch {
		case worse(a.status, b.status):
			return -1
		case worse(b.status, a.status):
			return 1
		}
		return 0
	})
	status, text := checkOK, r.fine()
	if len(r.findings) > 0 {
		status, text = r.findings[0].status, r.findings[0].text
		if n := len(r.findings) - 1; n > 0 {
			text += ", and " + plural(n, "more problem")
		}
	}
	line := fmt.Sprintf("CERTD %s: %s", status, text)
	if r.counts != nil {
		line += " | " + r.perfdata()
	}
	fmt.Fprintln(w, line)
	if verbose {
		for i, f := range r.findings {
			if i == checkLines {
				fmt.Fprintf(w, "and %d more\n", len(r.findings)-i)
				break
			}
			fmt.Fprintf(w, "%s: %s\n", f.status, f.text)
		}
	}
	return status
}

// fine is the text of a report without findings.
func (r *checkReport) fine() string {
	text := plural(r.total, "name")
	if r.soonest.name != "" {
		text += fmt.Sprintf(", the first to expire is %s in %s", r.soonest.name, duration(r.soonest.left))
	}
	return text
}

// perfdata is 'label'=value[UOM];warn;crit;min;max, with a fixed set of labels
// however many names there are.
func (r *checkReport) perfdata() string {
	items := []string{"soonest=U"}
	if s := r.soonest; s.name != "" {
		items[0] = fmt.Sprintf("soonest=%ss;%s:;%s:", seconds(s.left), seconds(s.warning), seconds(s.critical))
	}
	for _, item := range []struct {
		state  daemon.State
		limits string
	}{
		{daemon.Ready, ""}, {daemon.Due, ""}, {daemon.Issuing, ""}, {daemon.Failing, ";0"}, {daemon.Missing, ";;0"}, {daemon.Expired, ";;0"},
	} {
		items = append(items, withLimits(string(item.state), strconv.Itoa(r.counts[item.state]), item.limits))
	}
	items = append(items, withLimits("hooks_pending", strconv.Itoa(r.pending), ""))
	last := "last_reconcile=U"
	if !r.last.IsZero() {
		last = withLimits("last_reconcile", seconds(max(r.now.Sub(r.last), 0))+"s", ";"+seconds(r.stale))
	}
	return strings.Join(append(items, last), " ")
}

// withLimits is one item whose value is never negative.
func withLimits(label, value, limits string) string {
	return label + "=" + value + limits + strings.Repeat(";", 3-strings.Count(limits, ";")) + "0"
}

// seconds are whole seconds of d, as perfdata wants numbers.
func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// A checkLimit is one of -w and -c: what must be left of a certificate.
type checkLimit struct {
	share  float64       // of the lifetime; 0 if days are given
	fixed  time.Duration // days
	margin float64       // share of the time between renewal and expiry that it never exceeds; 0 means as it is
}

// checkLimits are all limits of a check.
type checkLimits struct {
	warning, critical checkLimit
	stale             time.Duration
}

func parseLimits(f checkFlags) (l checkLimits, err error) {
	if f.seconds < 1 || f.seconds > 3600 {
		return l, usage("-t %d: want seconds, 1 to 3600", f.seconds)
	}
	if f.stale <= 0 {
		return l, usage("--stale %s: want a time such as 25h", f.stale)
	}
	l.stale = f.stale
	l.warning, l.critical = checkLimit{share: 0.25, margin: 0.75}, checkLimit{share: 0.10, margin: 0.30}
	if f.warning != "" {
		if l.warning, err = parseLimit("-w", f.warning); err != nil {
			return l, err
		}
	}
	if f.critical != "" {
		if l.critical, err = parseLimit("-c", f.critical); err != nil {
			return l, err
		}
	}
	if w, c := l.warning, l.critical; (w.fixed == 0) == (c.fixed == 0) && (w.share < c.share || w.fixed < c.fixed) {
		return l, usage("-w %s is less than -c %s: the warning comes first, with more left", f.warning, f.critical)
	}
	return l, nil
}

// parseLimit reads "33%" or "20", with the colon of Nagios' ranges or without.
func parseLimit(flag, s string) (checkLimit, error) {
	text := strings.TrimSuffix(s, ":")
	number, percent := strings.CutSuffix(text, "%")
	n, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil || math.IsNaN(n) || n < 0 || strings.ContainsAny(number, "xX_pPeE+"):
	case percent && n <= 100:
		return checkLimit{share: n / 100}, nil
	case !percent && n <= 36500:
		return checkLimit{fixed: time.Duration(n * 24 * float64(time.Hour))}, nil
	}
	return checkLimit{}, usage("%s %s: want a share of the lifetime such as 25%%, or days such as 20", flag, shorten(s, 40))
}

// of is the limit for one certificate.
func (l checkLimit) of(notBefore, notAfter, renewAt time.Time) time.Duration {
	if l.fixed > 0 {
		return l.fixed
	}
	d := time.Duration(l.share * float64(notAfter.Sub(notBefore)))
	if l.margin > 0 && !renewAt.IsZero() {
		d = min(d, time.Duration(l.margin*float64(notAfter.Sub(renewAt))))
	}
	return max(d, 0)
}
