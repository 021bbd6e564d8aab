package simulate

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteText writes the result for people.
func (r *Result) WriteText(out io.Writer) error {
	o := r.Options
	plan := "no renewal information"
	if o.ARI {
		plan = "renewal information (ARI)"
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("simulated", "%s days, %s names in %s certificates of %s", number(int(o.Days)), number(o.Names), number(o.Certificates), length(o.Lifetime))
	row("CA", "%s, %s", o.CA, plan)
	row("orders", "%s sent, %s issued; %s in outages, %s refused for a limit, %s not authorized", number(r.Orders.Sent), number(r.Orders.Issued),
		number(r.Orders.Unreachable), number(r.Orders.Refused), number(r.Orders.Failed))
	row("sent for", "%s", causes(r.Orders.Causes))
	row("per hour", "peak %s (day %.1f), mean %.1f, median %s", number(r.Orders.PeakHour), r.Orders.PeakDay, r.Orders.MeanHour, number(r.Orders.MedianHour))
	row("ever expired", "%s", r.expired())
	if r.Complete != nil {
		row("all certified", "after %s", length(*r.Complete))
	} else {
		row("all certified", "never")
	}
	if r.LeastLeft != nil {
		row("least left", "%.1f %% of the lifetime, when a certificate was replaced", 100**r.LeastLeft)
	}
	if len(r.Limits) == 0 {
		row("limit waits", "none")
	}
	for _, l := range r.Limits {
		row("limit waits", "%s: %s waited, mean %s, longest %s", l.Limit, number(l.Waits), length(l.Mean), length(l.Longest))
	}
	for _, d := range r.Recalls {
		became := "not all were replaced"
		if d.Replaced != nil {
			became = "all replaced within " + length(*d.Replaced)
		}
		row("recalled", "day %.1f: %s certificates, %s", d.Day, number(d.Certificates), became)
	}
	return w.Flush()
}

// expired says how many names expired.
func (r *Result) expired() string {
	if r.Expired.Names == 0 {
		return "0 names"
	}
	return fmt.Sprintf("%s names (%s certificates), for %s at most", number(r.Expired.Names), number(r.Expired.Times), length(r.Expired.Longest))
}

// causes lists what orders were sent for, the most first.
func causes(by map[string]int) string {
	names := slices.SortedStableFunc(maps.Keys(by), func(a, b string) int {
		if by[a] != by[b] {
			return by[b] - by[a]
		}
		return strings.Compare(a, b)
	})
	if len(names) == 0 {
		return "nothing"
	}
	for i, n := range names {
		names[i] = n + " " + number(by[n])
	}
	return strings.Join(names, ", ")
}

// number writes a number with separators: 100,000.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// length writes seconds in the unit that fits.
func length(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d >= 2*day:
		return strconv.FormatFloat(float64(int(d.Hours()/2.4))/10, 'f', -1, 64) + " days"
	case d >= 2*time.Hour:
		return strconv.FormatFloat(float64(int(d.Minutes()/6))/10, 'f', -1, 64) + " hours"
	case d >= 2*time.Minute:
		return fmt.Sprintf("%.0f minutes", d.Minutes())
	}
	return fmt.Sprintf("%.0f seconds", d.Seconds())
}
