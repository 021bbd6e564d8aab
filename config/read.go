package config

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// into makes a schema entry that stores what read returns.
func into[T any](dst *T, read func(value) (T, bool)) func(value) {
	return func(v value) {
		if x, ok := read(v); ok {
			*dst = x
		}
	}
}

// refuse records a mistake about the value.
func (v value) refuse(format string, args ...any) { v.complain(v.node.Line, v.key, format, args...) }

// scalar returns the text of the value if it is one, as the file has it: 0640
// stays "0640".
func (v value) scalar(want string) (string, bool) {
	switch {
	case isNull(v.node):
		v.refuse("has no value; want %s, or remove the line", want)
	case v.node.Kind != yaml.ScalarNode:
		v.refuse("want %s, found %s", want, describe(v.node))
	default:
		return v.node.Value, true
	}
	return "", false
}

// text returns a single line without control characters.
func text(v value) (string, bool) {
	s, ok := v.scalar("text")
	if !ok {
		return "", false
	}
	if len(s) > 4096 || strings.ContainsFunc(s, unicode.IsControl) {
		v.refuse("want one line of text without control characters, at most 4096 bytes, found %s", quote(s))
		return "", false
	}
	return s, true
}

// checked returns a reader of text that passes check. Empty text means "not
// set" and is not checked.
func checked[T any](check func(string) (T, error)) func(value) (T, bool) {
	return func(v value) (T, bool) {
		var x T
		s, ok := text(v)
		if !ok || s == "" {
			return x, ok
		}
		x, err := check(s)
		if err != nil {
			v.refuse("%v", err)
		}
		return x, err == nil
	}
}

// between returns a reader of a whole number from low to high.
func between(low, high int) func(value) (int, bool) {
	return func(v value) (int, bool) {
		want := fmt.Sprintf("a whole number from %d to %d", low, high)
		s, ok := v.scalar(want)
		if !ok {
			return 0, false
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high || v.node.Tag != "!!int" {
			v.refuse("want %s, found %s", want, quote(s))
			return 0, false
		}
		return n, true
	}
}

// boolean accepts the words of YAML 1.1, which acmetool accepted, too.
func boolean(v value) (bool, bool) {
	s, ok := v.scalar("true or false")
	if !ok {
		return false, false
	}
	if v.node.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		v.refuse("want true or false, found the text %s; remove the quotes", quote(s))
		return false, false
	}
	switch strings.ToLower(s) {
	case "true", "yes", "on", "y":
		return true, true
	case "false", "no", "off", "n":
		return false, true
	}
	v.refuse("want true or false, found %s", quote(s))
	return false, false
}

// items returns the entries of a list of at most limit.
func (v value) items(limit int) ([]value, bool) {
	switch {
	case isNull(v.node):
		v.refuse("has no value; want a list, [] for an empty one, or remove the line")
		return nil, false
	case v.node.Kind != yaml.SequenceNode:
		v.refuse("want a list (lines that begin with \"- \"), found %s", describe(v.node))
		return nil, false
	case len(v.node.Content) > limit:
		v.refuse("has %d entries; at most %d are accepted", len(v.node.Content), limit)
		return nil, false
	}
	var out []value
	for _, n := range v.node.Content {
		if n.Kind != yaml.AliasNode {
			out = append(out, value{decoder: v.decoder, node: n, key: v.key})
		}
	}
	return out, true
}

// list returns a reader of a list whose entries are read by read. Empty
// entries are refused, all bad entries are reported.
func list[T any](limit int, read func(value) (T, bool)) func(value) ([]T, bool) {
	return func(v value) ([]T, bool) {
		entries, ok := v.items(limit)
		if !ok {
			return nil, false
		}
		out := []T{}
		for _, e := range entries {
			if e.node.Kind == yaml.ScalarNode && e.node.Value == "" && !isNull(e.node) {
				e.refuse("an entry is empty; remove it")
				ok = false
				continue
			}
			x, good := read(e)
			if ok = ok && good; good {
				out = append(out, x)
			}
		}
		return out, ok
	}
}

// duration reads a length of time from low to high, such as "30m".
func duration(low, high time.Duration) func(value) (time.Duration, bool) {
	return func(v value) (time.Duration, bool) {
		want := fmt.Sprintf("a time from %s to %s, such as 30m or 1h30m", brief(low), brief(high))
		s, ok := v.scalar(want)
		if !ok {
			return 0, false
		}
		d, err := time.ParseDuration(s)
		if err != nil || d < low || d > high {
			v.refuse("want %s, found %s", want, quote(s))
			return 0, false
		}
		return d, true
	}
}

// brief writes a duration without trailing zero units: 24h, not 24h0m0s.
func brief(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// absolute accepts an absolute path and cleans it.
func absolute(s string) (string, error) {
	if !filepath.IsAbs(s) {
		return "", fmt.Errorf("path %s is not absolute; begin it with \"/\"", quote(s))
	}
	return filepath.Clean(s), nil
}

// hostPort accepts "host:port" with a port from 1 to 65535 and any host.
func hostPort(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("%s is no address; want host:port, such as 127.0.0.1:8080 or [::1]:8080", quote(s))
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || port != strconv.Itoa(n) {
		return "", fmt.Errorf("%s: want a port from 1 to 65535, found %s", quote(s), quote(port))
	}
	if strings.ContainsFunc(host, func(r rune) bool { return !letterOrDigit(r) && !strings.ContainsRune(".-_:%", r) }) {
		return "", fmt.Errorf("%s: host %s has characters that no host has", quote(s), quote(host))
	}
	return net.JoinHostPort(host, port), nil
}

// remote accepts "host:port" of something to connect to.
func remote(s string) (string, error) {
	s, err := hostPort(s)
	if err == nil && strings.HasPrefix(s, ":") {
		return "", fmt.Errorf("%s names no host; want host:port", quote(s))
	}
	return s, err
}

// httpsURL accepts what a CA's directory may be (RFC 8555 §6.1).
func httpsURL(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return "", fmt.Errorf("%s is no URL; want one that begins with https://", quote(s))
	case u.Scheme != "https":
		return "", fmt.Errorf("%s is not https; ACME is spoken over https only (RFC 8555 section 6.1)", quote(s))
	case u.User != nil || u.Fragment != "":
		return "", fmt.Errorf("%s has a user name or a fragment; remove it", quote(s))
	case len(s) > 2048 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", fmt.Errorf("%s is too long or has characters that no URL has", quote(s))
	}
	return s, nil
}

func letterOrDigit(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
