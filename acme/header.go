package acme

import (
	"math"
	"net/http"
	"strings"
	"time"
)

// maxLinks is how many targets of one relation are read from an answer.
const maxLinks = 20

// retryAfter returns how long an answer asks us to stay away (RFC 9110 §10.2.3):
// seconds or an HTTP date, relative to now, the time at the CA. Of several
// headers the longest wait counts. The result is never negative and not clamped
// otherwise; ok is false if there is no readable header.
func retryAfter(h http.Header, now time.Time) (wait time.Duration, ok bool) {
	for _, v := range h.Values("Retry-After") {
		if d, good := parseRetryAfter(v, now); good {
			wait, ok = max(wait, d), true
		}
	}
	return wait, ok
}

// parseRetryAfter reads one header value. Fractions of a second are rounded up,
// negative numbers and past dates are zero, and numbers beyond the range of
// time.Duration are its end.
func parseRetryAfter(v string, now time.Time) (time.Duration, bool) {
	v = strings.TrimSpace(v)
	if seconds, ok := parseSeconds(v); ok {
		return seconds, true
	}
	t, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	return max(t.Sub(now), 0), true // Sub saturates
}

// parseSeconds reads an optionally signed decimal number of seconds.
func parseSeconds(v string) (time.Duration, bool) {
	digits, negative := strings.CutPrefix(v, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if !allDigits(whole) || point && !allDigits(fraction) {
		return 0, false
	}
	if negative {
		return 0, true
	}
	const most = int64(math.MaxInt64 / time.Second)
	var n int64
	for _, c := range []byte(whole) {
		n = n*10 + int64(c-'0')
		if n >= most {
			return math.MaxInt64, true
		}
	}
	if strings.Trim(fraction, "0") != "" {
		n++
	}
	return time.Duration(n) * time.Second, true
}

// allDigits reports whether s is one or more decimal digits.
func allDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// links returns the targets of the Link headers of h with this relation
// (RFC 8288), at most maxLinks. What cannot be parsed ends its header value.
func links(h http.Header, relation string) []string {
	var targets []string
	for _, v := range h.Values("Link") {
		for v != "" && len(targets) < maxLinks {
			var target, rel string
			target, rel, v = nextLink(v)
			if target == "" {
				continue
			}
			for _, r := range strings.Fields(rel) {
				if strings.EqualFold(r, relation) {
					targets = append(targets, target)
					break
				}
			}
		}
	}
	return targets
}

// nextLink takes the first link off a header value: `<target>; rel="relation"; ...`.
// The first rel counts (RFC 8288 §3.3). An empty target means that v is no link.
func nextLink(v string) (target, rel, rest string) {
	v = strings.TrimLeft(v, " \t,")
	if !strings.HasPrefix(v, "<") {
		return "", "", ""
	}
	target, v, ok := strings.Cut(v[1:], ">")
	if !ok {
		return "", "", ""
	}
	seen := false
	for {
		v = strings.TrimLeft(v, " \t")
		if !strings.HasPrefix(v, ";") {
			break
		}
		var name, value string
		name, value, v = nextParameter(v[1:])
		if !seen && strings.EqualFold(name, "rel") {
			rel, seen = value, true
		}
	}
	if !strings.HasPrefix(v, ",") {
		v = ""
	}
	return target, rel, v
}

// nextParameter takes `name=value` or `name="value"` off v.
func nextParameter(v string) (name, value, rest string) {
	end := strings.IndexAny(v, "=;,")
	if end < 0 {
		return strings.TrimSpace(v), "", ""
	}
	name, rest = strings.TrimSpace(v[:end]), v[end:]
	if rest[0] != '=' {
		return name, "", rest
	}
	rest = strings.TrimLeft(rest[1:], " \t")
	if !strings.HasPrefix(rest, `"`) {
		end = strings.IndexAny(rest, ";,")
		if end < 0 {
			end = len(rest)
		}
		return name, strings.TrimSpace(rest[:end]), rest[end:]
	}
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '"':
			return name, b.String(), rest[i+1:]
		case '\\':
			i++
			if i < len(rest) {
				b.WriteByte(rest[i])
			}
		default:
			b.WriteByte(rest[i])
		}
	}
	return name, b.String(), ""
}
