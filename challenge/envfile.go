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

// readEnvFile returns the variables of a file as "NAME=value"; none for an empty
// path. The file must belong to root or to this user; its group may read it, such
// as that of a daemon that is not root, and nobody else.
func readEnvFile(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	if info.Mode().Perm()&0o037 != 0 {
		return nil, fmt.Errorf("%s has credentials and mode %04o; run: chmod 0640 %s", path, info.Mode().Perm(), path)
	}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok && sys.Uid != 0 && int(sys.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("%s belongs to user %d; it must be root's or that of certd's user (%d)", path, sys.Uid, os.Geteuid())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxEnvFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxEnvFile {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxEnvFile)
	}
	vars, err := parseEnv(string(data))
	if err != nil {
		return nil, fmt.Errorf("%s:%w", path, err)
	}
	return vars, nil
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
