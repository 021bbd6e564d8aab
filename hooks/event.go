package hooks

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Bounds of an Event.
const (
	maxArgs  = 64
	maxArg   = 64 << 10 // bytes of one argument or variable
	maxStdin = 8 << 20  // bytes
	maxLine  = 512      // bytes of one name on stdin
)

// check refuses an event that would tell a hook something that no hook expects
// or that the kernel would not take. Names are checked where they come in;
// this is the last gate before they reach a shell.
func (ev Event) check() error {
	if !word(ev.Name, func(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' }) || ev.Name[0] == '-' {
		return fmt.Errorf("hook event %q: not a name of lower-case letters, digits and dashes", ev.Name)
	}
	if len(ev.Args) > maxArgs {
		return fmt.Errorf("hook event %s: %d arguments, more than %d", ev.Name, len(ev.Args), maxArgs)
	}
	for i, arg := range ev.Args {
		if err := checkText(arg); err != nil {
			return fmt.Errorf("hook event %s: argument %d: %w", ev.Name, i+1, err)
		}
	}
	for name, value := range ev.Env {
		if !variable(name) {
			return fmt.Errorf("hook event %s: %q is no name for an environment variable", ev.Name, name)
		}
		if strings.ContainsRune(value, 0) || len(value) > maxArg {
			return fmt.Errorf("hook event %s: environment variable %s: NUL in it or more than %d bytes", ev.Name, name, maxArg)
		}
	}
	if len(ev.Stdin) > maxStdin {
		return fmt.Errorf("hook event %s: %d bytes for stdin, more than %d", ev.Name, len(ev.Stdin), maxStdin)
	}
	if ev.Name == "live-updated" {
		return checkNames(ev.Stdin)
	}
	return nil
}

// checkNames checks the list that live-updated has on stdin: names of links in
// live/, one to a line.
func checkNames(list []byte) error {
	if len(list) > 0 && list[len(list)-1] != '\n' {
		return errors.New("hook event live-updated: the last name on stdin has no newline")
	}
	n := 0
	for line := range bytes.Lines(list) {
		n++
		name := strings.TrimSuffix(string(line), "\n")
		err := checkText(name)
		switch {
		case err != nil:
		case name == "" || len(name) > maxLine:
			err = fmt.Errorf("empty or longer than %d bytes", maxLine)
		case strings.Contains(name, "/") || name[0] == '.' || name[0] == '-':
			err = fmt.Errorf("%q cannot be the name of a link in live/", name)
		}
		if err != nil {
			return fmt.Errorf("hook event live-updated: line %d of stdin: %w", n, err)
		}
	}
	return nil
}

// checkText refuses control characters and what is too long for argv.
func checkText(s string) error {
	if len(s) > maxArg {
		return fmt.Errorf("%d bytes, more than %d", len(s), maxArg)
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return fmt.Errorf("control character 0x%02x in %.80q", s[i], s)
		}
	}
	return nil
}

func variable(name string) bool {
	return word(name, func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
	}) && (name[0] < '0' || name[0] > '9')
}

// word reports whether s has 1 to 128 bytes, all of which are legal.
func word(s string, legal func(byte) bool) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		if !legal(s[i]) {
			return false
		}
	}
	return true
}

// environ is the whole environment of a hook: the base, the event's variables,
// and last, so that nothing replaces them, the Runner's own.
func (r *Runner) environ(ev Event) []string {
	env := slices.Clone(r.Environ)
	if env == nil {
		for _, name := range []string{"PATH", "HOME", "LANG", "TZ"} {
			if value, ok := os.LookupEnv(name); ok {
				env = append(env, name+"="+value)
			}
		}
		if os.Getenv("PATH") == "" {
			env = append(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
		}
	}
	for name, value := range ev.Env {
		env = append(env, name+"="+value)
	}
	if r.StateDir != "" {
		env = append(env, "ACME_STATE_DIR="+r.StateDir, "CERTD_STATE_DIR="+r.StateDir)
	}
	return append(env, "CERTD_EVENT="+ev.Name)
}
