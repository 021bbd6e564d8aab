package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	maxLimits = 32
	maxBurst  = 1_000_000
	maxWindow = 366 * 24 * time.Hour
)

// ParseLimits reads a document with the key limits, written as in an entry of
// cas; path is its name in messages. Without the key the result is nil. The
// error holds every Mistake of the file.
func ParseLimits(path string, data []byte) ([]Limit, error) {
	var limits []Limit
	d := decode(path, data, schema{"limits": into(&limits, readLimits)})
	if err := d.err(); err != nil {
		return nil, err
	}
	return limits, nil
}

// readLimits reads the list limits. Every entry needs all four keys.
func readLimits(v value) ([]Limit, bool) {
	entries, ok := v.items(maxLimits)
	if !ok {
		return nil, false
	}
	before := len(v.mistakes)
	lines := map[string]int{}
	out := []Limit{}
	for i, e := range entries {
		l := e.readLimit(fmt.Sprintf("%s[%d]", v.key, i))
		if first := lines[l.Name]; first > 0 {
			v.complain(e.node.Line, v.key, "name %s is given twice, first in line %d; names are unique", l.Name, first)
		}
		if l.Name != "" {
			lines[l.Name] = e.node.Line
		}
		out = append(out, l)
	}
	return out, len(v.mistakes) == before
}

// readLimit reads one entry of limits, called key in messages.
func (v value) readLimit(key string) Limit {
	var l Limit
	before := len(v.mistakes)
	v.mapping(v.node, key+".", "", schema{
		"name":   into(&l.Name, checked(limitName)),
		"per":    into(&l.Per, checked(limitPer)),
		"burst":  into(&l.Burst, between(1, maxBurst)),
		"window": into(&l.Window, checked(limitWindow)),
	})
	if len(v.mistakes) > before {
		return l
	}
	var missing []string
	for _, k := range []struct {
		name  string
		given bool
	}{{"name", l.Name != ""}, {"per", l.Per != ""}, {"burst", l.Burst > 0}, {"window", l.Window > 0}} {
		if !k.given {
			missing = append(missing, k.name)
		}
	}
	if len(missing) > 0 {
		v.complain(v.node.Line, key, "has no %s; a limit is such as {name: orders, per: account, burst: 300, window: 3h}", strings.Join(missing, ", "))
	}
	return l
}

// limitName accepts the name of a limit.
func limitName(s string) (string, error) {
	if _, err := label(s); err != nil || s != strings.ToLower(s) {
		return "", fmt.Errorf("limit name %s: want at most 63 lower-case letters, digits, \"-\", \"_\" or \".\"", quote(s))
	}
	return s, nil
}

// limitPer accepts what a limit may count by.
func limitPer(s string) (string, error) {
	known := []string{PerAccount, PerDomain, PerNames, PerFailure}
	for _, k := range known {
		if s == k {
			return s, nil
		}
	}
	if word := nearest(s, known); word != "" {
		return "", fmt.Errorf("%s is nothing to count by; did you mean %s?", quote(s), word)
	}
	return "", fmt.Errorf("%s is nothing to count by; want one of %s", quote(s), strings.Join(known, ", "))
}

// limitWindow accepts a length of time for a bucket to fill.
func limitWindow(s string) (time.Duration, error) {
	d, err := ParseDays(s)
	if err != nil || d < time.Second || d > maxWindow {
		return 0, fmt.Errorf("want a time from 1s to 366d, such as 3h or 7d, found %s", quote(s))
	}
	return d, nil
}

// ParseDays reads a length of time as time.ParseDuration does, or whole days:
// "47d", "160h", "10m".
func ParseDays(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%s is no time; want one such as 47d, 160h or 30m", quote(s))
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%s is no time; want one such as 47d, 160h or 30m", quote(s))
	}
	return d, nil
}
