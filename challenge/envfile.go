package challenge

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// Bounds of a file of variables.
const (
	maxEnvFile   = 256 << 10
	maxVariables = 200
)

// An environment is what a file of variables says.
type environment struct {
	vars []string            // "NAME=value"
	as   *syscall.Credential // whose the file is, if this process is root and may become that user; nil to stay
}

// readEnvFile reads a file of variables; an empty path has none. The file must
// belong to root or to this user; its group may read it, such as that of a daemon
// that is not root, and nobody else. Root also takes one of owner's, and then has
// to become owner to use it: whoever may write the file may also say which program
// is run.
func readEnvFile(path string, owner int) (env environment, err error) {
	if path == "" {
		return env, nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return env, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return env, err
	}
	if !info.Mode().IsRegular() {
		return env, fmt.Errorf("%s is not a file", path)
	}
	if info.Mode().Perm()&0o037 != 0 {
		return env, fmt.Errorf("%s has credentials and mode %04o; run: chmod 0640 %s", path, info.Mode().Perm(), path)
	}
	sys, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || sys.Uid == 0 || int(sys.Uid) == os.Geteuid():
	case os.Geteuid() == 0 && owner > 0 && int(sys.Uid) == owner:
		env.as = &syscall.Credential{Uid: sys.Uid, Gid: sys.Gid}
	default:
		return env, fmt.Errorf("%s belongs to user %d; it must be root's or that of certd's user (%d)", path, sys.Uid, os.Geteuid())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxEnvFile+1))
	if err != nil {
		return env, err
	}
	if len(data) > maxEnvFile {
		return env, fmt.Errorf("%s is longer than %d bytes", path, maxEnvFile)
	}
	if env.vars, err = parseEnv(string(data)); err != nil {
		return env, fmt.Errorf("%s:%w", path, err)
	}
	return env, nil
}

// parseEnv reads lines such as NAME=value, perhaps after "export", the value
// perhaps in quotes, and comments. Errors begin with the line's number and never
// have a value in them.
func parseEnv(text string) ([]string, error) {
	var vars []string
	seen := map[string]int{}
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if rest, ok := strings.CutPrefix(line, "export "); ok {
			line = strings.TrimSpace(rest)
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || !isVariable(name) {
			return nil, fmt.Errorf("%d: want NAME=value, with a name of letters, digits and _", number)
		}
		value, err := unquoteEnv(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("%d: %s: %w", number, name, err)
		}
		switch first := seen[name]; {
		case first > 0:
			return nil, fmt.Errorf("%d: %s is given twice, first in line %d", number, name, first)
		case name == "PATH" || strings.HasPrefix(name, "LD_"):
			return nil, fmt.Errorf("%d: %s cannot be set here", number, name)
		case len(vars) == maxVariables:
			return nil, fmt.Errorf("%d: more than %d variables", number, maxVariables)
		}
		seen[name] = number
		vars = append(vars, name+"="+value)
	}
	return vars, nil
}

var errQuote = errors.New("the quote is not closed, or something follows it")

// unquoteEnv takes the quotes off a value: '...' as it is, "..." with \" and \\.
func unquoteEnv(s string) (string, error) {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return "", errors.New("the value has control characters")
	}
	if s == "" || s[0] != '"' && s[0] != '\'' {
		return s, nil
	}
	quote, body := s[0], s[1:]
	var b strings.Builder
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case c == quote:
			if i != len(body)-1 {
				return "", errQuote
			}
			return b.String(), nil
		case c == '\\' && quote == '"' && i+1 < len(body) && (body[i+1] == '"' || body[i+1] == '\\'):
			i++
			b.WriteByte(body[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", errQuote
}

func isVariable(s string) bool {
	if s == "" || len(s) > 128 || '0' <= s[0] && s[0] <= '9' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return !isAlphanumeric(r) && r != '_' })
}
