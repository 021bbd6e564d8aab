package packaging

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Found is something installed that runs certd or acmetool.
type Found struct {
	Kind    Kind   // Timer, Daemon, Cron or Redirector
	Path    string // of the unit or the crontab, Detect's root included
	Program string // "certd" or "acmetool"
	Enabled bool   // it starts by itself; always true of a crontab's line
	Managed bool   // Install wrote it, and will replace or remove it
	What    string // a sentence: what it is and does
	Advice  string // a sentence: what to do about it; empty if nothing is to be done

	// Commands turn it off. Empty where a file has to be edited, which Advice says.
	Commands [][]string
}

// Offline is f, found below root, with the advice and the commands for a system
// that is only files, an image, and is handled from outside.
func (f Found) Offline(root string) Found {
	why, _, _ := strings.Cut(f.Advice, ":")
	switch {
	case f.Managed && f.Kind == Cron:
	case f.Kind == Cron:
		f.Advice = why + ": remove the line from " + f.Path
	case f.Enabled:
		f.Commands = [][]string{{"systemctl", "--root", root, "disable", filepath.Base(f.Path)}}
		f.Advice = why + ": " + strings.Join(f.Commands[0], " ")
	}
	return f
}

// Detect finds what runs certd or acmetool on this machine: units of systemd,
// files in cron's directories, lines of crontabs. What cannot be read is passed
// over. root is put before every path; "" means the machine itself.
func Detect(root string) []Found {
	var found []Found
	for _, u := range knownUnits() {
		if f, ok := detectUnit(root, u); ok {
			found = append(found, f)
		}
	}
	return append(found, detectCron(root)...)
}

// Suggest is the kind that suits a machine: Timer under systemd, Cron where
// there is a cron, else None. For another root than "" it is enough that systemd
// is installed there.
func Suggest(root string) Kind {
	if (Options{Root: root}).systemd() {
		return Timer
	}
	for _, program := range []string{"/usr/lib/systemd/systemd", "/lib/systemd/systemd"} {
		if _, err := os.Lstat(filepath.Join("/", root, program)); err == nil && root != "" {
			return Timer
		}
	}
	for _, dir := range []string{"/etc/cron.d", "/etc/crontabs", "/var/spool/cron"} {
		if info, err := os.Stat(filepath.Join("/", root, dir)); err == nil && info.IsDir() {
			return Cron
		}
	}
	return None
}

// A known unit is one that Detect looks for.
type known struct {
	unit, program string
	kind          Kind
	what          string
}

func knownUnits() []known {
	return []known{
		{"certd.timer", "certd", Timer, "starts certd reconcile every six hours"},
		{"certd.service", "certd", Daemon, "runs certd as a daemon"},
		{"certd-redirector.service", "certd", Redirector, "redirects port 80 to https and serves challenges"},
		{"acmetool.timer", "acmetool", Timer, "starts acmetool reconcile, as Debian's package does twice a day"},
		{"acmetool-redirector.service", "acmetool", Redirector, "runs acmetool's redirector on port 80"},
	}
}

func detectUnit(root string, u known) (Found, bool) {
	for _, dir := range append([]string{"/etc/systemd/system", "/run/systemd/system"}, vendorDirs()...) {
		at := filepath.Join("/", root, dir, u.unit)
		target, err := os.Readlink(at)
		if err == nil && target == "/dev/null" {
			return Found{}, false // masked
		}
		if info, err := os.Stat(at); err != nil || !info.Mode().IsRegular() {
			continue
		}
		data, _ := readStart(at, markerWithin) // unreadable: not ours
		f := Found{Kind: u.kind, Path: at, Program: u.program, Enabled: enabled(root, u.unit), Managed: managed(data)}
		f.What = fmt.Sprintf("%s %s", u.unit, u.what)
		if !f.Enabled {
			f.What += "; it is not enabled"
			return f, true
		}
		f.Commands = [][]string{{"systemctl", "disable", "--now", u.unit}}
		f.Advice = "turn it off before certd runs in another way: systemctl disable --now " + u.unit
		if u.program == "acmetool" {
			f.Advice = "certd takes its place, and two of them would order certificates twice: systemctl disable --now " + u.unit
		}
		return f, true
	}
	return Found{}, false
}

// enabled reports whether a target or another unit wants the unit.
func enabled(root, unit string) bool {
	for _, dir := range append([]string{"/etc/systemd/system", "/run/systemd/system"}, vendorDirs()...) {
		for _, how := range []string{"wants", "requires"} {
			links, _ := filepath.Glob(filepath.Join("/", globQuote(root), dir, "*."+how, unit)) // the pattern is well-formed
			if len(links) > 0 {
				return true
			}
		}
	}
	return false
}

// globQuote makes a path a pattern that matches itself.
func globQuote(p string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(p)
}

// detectCron looks through everything that cron runs.
func detectCron(root string) []Found {
	var found []Found
	var seen []os.FileInfo
	patterns := []string{"/etc/crontab", "/etc/cron.d/*", "/etc/cron.hourly/*", "/etc/cron.daily/*", "/etc/cron.weekly/*",
		"/etc/cron.monthly/*", "/etc/crontabs/*", "/var/spool/cron/crontabs/*", "/var/spool/cron/tabs/*", "/var/spool/cron/*"}
	for _, pattern := range patterns {
		files, _ := filepath.Glob(filepath.Join("/", globQuote(root), pattern)) // the pattern is well-formed
		for _, file := range files[:min(len(files), 1000)] {
			info, err := os.Stat(file)
			if err != nil || slices.ContainsFunc(seen, func(i os.FileInfo) bool { return os.SameFile(i, info) }) {
				continue // the same directory by another name
			}
			seen = append(seen, info)
			if data, err := readStart(file, maxFile); err == nil {
				found = append(found, cronLines(root, file, string(data))...)
			}
		}
	}
	return found
}

// cronLines finds the programs that a crontab or script starts, each once.
func cronLines(root, file, text string) []Found {
	var found []Found
	for _, program := range []string{"certd", "acmetool"} {
		for line := range strings.Lines(text) {
			if !starts(line, program) {
				continue
			}
			f := Found{Kind: Cron, Path: file, Program: program, Enabled: true, Managed: managed([]byte(text))}
			f.What = fmt.Sprintf("cron starts %s: %s", program, shorten(strings.TrimSpace(line)))
			f.Advice = cronAdvice(root, file, program, f.Managed)
			found = append(found, f)
			break
		}
	}
	return found
}

func cronAdvice(root, file, program string, managed bool) string {
	why := "turn it off before certd runs in another way"
	if program == "acmetool" {
		why = "certd takes its place, and two of them would order certificates twice"
	}
	plain := "/" + strings.TrimPrefix(strings.TrimPrefix(file, filepath.Join("/", root)), "/")
	switch {
	case managed:
		return why + "; quickstart removes it"
	case plain == cronFile || plain == "/etc/cron.d/acmetool":
		return why + ": rm " + plain
	case strings.HasPrefix(plain, "/var/spool/"):
		return why + ": crontab -u " + filepath.Base(plain) + " -e, and remove the line"
	}
	return why + ": remove the line from " + plain
}

// starts reports whether a line, comments apart, has the program as a word or
// as the last part of a path, and has it renew: certd only does that if told so,
// and not for certd check.
func starts(line, program string) bool {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "#") {
		return false
	}
	words := strings.FieldsFunc(line, func(c rune) bool { return strings.ContainsRune(" \t;|&(){}\"'`", c) })
	if program == "certd" && !slices.Contains(words, "reconcile") && !slices.Contains(words, "run") {
		return false
	}
	return slices.ContainsFunc(words, func(w string) bool {
		return w == program || strings.HasPrefix(w, "/") && filepath.Base(w) == program
	})
}

// shorten makes a line of a file fit to be shown.
func shorten(s string) string {
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 200 {
		return strings.ToValidUTF8(s[:200], "") + "..."
	}
	return s
}
