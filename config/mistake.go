package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Mistake is one thing that is wrong in a configuration file. A file with
// several mistakes gives all of them at once, joined with errors.Join.
type Mistake struct {
	File string // "conf/certd.yaml", "conf/target", "desired/<file>" or a path as it was given
	Line int    // counted from 1; 0 if the mistake is not in one line
	Key  string // full path, such as "request.key.type"; empty if it concerns no key
	Text string // what is wrong and what to do about it
	Err  error  // why the file could not be read at all; nil for mistakes in its text
}

// Unwrap returns Err.
func (m *Mistake) Unwrap() error { return m.Err }

// Error reads "desired/www:3: request.key.type: ...".
func (m *Mistake) Error() string {
	var b strings.Builder
	b.WriteString(m.File)
	if m.Line > 0 {
		fmt.Fprintf(&b, ":%d", m.Line)
	}
	b.WriteString(": ")
	if m.Key != "" {
		b.WriteString(m.Key)
		b.WriteString(": ")
	}
	b.WriteString(m.Text)
	return b.String()
}

// split takes an error made with errors.Join apart again.
func split(err error) []error {
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// quote shows text from a file in a message: quoted, and at most 64 bytes of it.
func quote(s string) string {
	if len(s) <= 64 {
		return fmt.Sprintf("%q", s)
	}
	cut := 60
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%q...", s[:cut])
}

// plain shows a key in a message: as it is when it is an ordinary word, else quoted.
func plain(s string) string {
	odd := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) || r == ' ' }
	if s == "" || len(s) > 64 || strings.ContainsFunc(s, odd) {
		return quote(s)
	}
	return s
}

// nearest returns the one of known that is most like word, or "" if none is
// near: at most a third of its letters wrong, and always at least one may be.
func nearest(word string, known []string) string {
	if len(word) > 64 {
		return ""
	}
	best, least := "", 1<<30
	for _, k := range known {
		d := distance(strings.ToLower(word), k)
		if d <= max(1, max(len(word), len(k))/3) && d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour to make b of a (optimal string alignment).
func distance(a, b string) int {
	before, above, row := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(above[j+1]+1, row[j]+1, above[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, above, row = above, row, make([]int, len(b)+1)
	}
	return above[len(b)]
}
