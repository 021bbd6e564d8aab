package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// printJSON prints one document per run (DESIGN: times are RFC 3339 in UTC,
// what is absent is null).
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// timeOrNull returns t in UTC to the second, or nil if it is zero.
func timeOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.UTC().Format(time.RFC3339)
	return &s
}

func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// shorten cuts s to width characters, with an ellipsis where something is missing.
func shorten(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

// duration says a span as a person would: "12 days", "5 hours", "3 minutes".
func duration(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return plural(int(d/(24*time.Hour)), "day")
	case d >= 2*time.Hour:
		return plural(int(d/time.Hour), "hour")
	case d >= 2*time.Minute:
		return plural(int(d/time.Minute), "minute")
	}
	return plural(int(max(d, 0)/time.Second), "second")
}

// screenWidth is what text is made for, in characters.
const screenWidth = 80

// A writer remembers the first error, so that printing need not be checked line
// by line; run looks at it in the end.
type writer struct {
	w   io.Writer
	err error
}

func (w *writer) Write(b []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.w.Write(b)
	w.err = err
	return n, err
}

// table prints rows in columns two spaces apart. A first cell that is longer than
// most gets a line of its own, so that names are never cut; what becomes of
// a last cell that does not fit is up to last.
func (a *app) table(rows [][]string, most int, last func(cell string, room int) (here string, below []string)) {
	if len(rows) == 0 {
		return
	}
	widths := make([]int, len(rows[0])-1)
	used := 0
	for i := range widths {
		for _, row := range rows {
			if n := utf8.RuneCountInString(row[i]); i > 0 || n <= most {
				widths[i] = max(widths[i], n)
			}
		}
		used += widths[i] + 2
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row[:len(row)-1] {
			if i == 0 && utf8.RuneCountInString(cell) > widths[0] {
				fmt.Fprintln(a.out, cell)
				cell = ""
			}
			b.WriteString(cell)
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		here, below := last(row[len(row)-1], screenWidth-used)
		b.WriteString(here)
		fmt.Fprintln(a.out, strings.TrimRight(b.String(), " "))
		for _, line := range below {
			fmt.Fprintln(a.out, line)
		}
	}
}

// cutCell is a last cell that says the rest elsewhere.
func cutCell(cell string, room int) (here string, below []string) {
	return shorten(cell, max(room, 10)), nil
}

// wrapCell puts a last cell that does not fit into lines of its own.
func wrapCell(cell string, room int) (here string, below []string) {
	if utf8.RuneCountInString(cell) <= room {
		return cell, nil
	}
	return "", wrap("    "+cell, "    ")
}

// wrap breaks a text between words into lines that fit the screen, each but the
// first with this indent. A word that is too long stays whole: it may be a URL.
func wrap(text, indent string) []string {
	words := strings.Fields(text)
	if len(words) == 0 {
		return nil
	}
	line := text[:len(text)-len(strings.TrimLeft(text, " "))] + words[0]
	var lines []string
	for _, word := range words[1:] {
		if utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > screenWidth {
			lines = append(lines, line)
			line = indent + word
			continue
		}
		line += " " + word
	}
	return append(lines, line)
}

// paragraph prints a text in lines that fit the screen.
func (a *app) paragraph(format string, args ...any) {
	for _, line := range wrap(fmt.Sprintf(format, args...), "    ") {
		fmt.Fprintln(a.out, line)
	}
}

// outputFlag adds -o to a command that prints data.
func outputFlag(c *cobra.Command, format *string) {
	c.Flags().StringVarP(format, "output", "o", "text", "text or json")
	completeValues(c, "output", "text", "json")
}

func checkOutput(format string) error {
	if format != "text" && format != "json" {
		return usage("--output %q: use text or json", format)
	}
	return nil
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
