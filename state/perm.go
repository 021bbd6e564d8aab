package state

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path"
	"strconv"
	"strings"
)

// A PermError is a mistake in conf/perm.
type PermError struct {
	Path string // of the file
	Line int    // from 1
	Err  error  // what is wrong, and what would be right
}

// Error names the file, the line and the mistake.
func (e *PermError) Error() string { return fmt.Sprintf("%s:%d: %v", e.Path, e.Line, e.Err) }

// Unwrap returns the mistake.
func (e *PermError) Unwrap() error { return e.Err }

// A rule is the policy for one path and what lies below it.
type rule struct {
	file, dir fs.FileMode
	uid, gid  int // -1 means left as it is

	said bool // conf/perm says so, and not the default table
}

// perms is the table of modes: conf/perm merged over the defaults.
type perms map[string]rule // by pattern

// defaultPerms is acmetool's table, and the locks: whoever can open one could
// hold it for ever.
func defaultPerms() perms {
	public := rule{file: 0o644, dir: 0o755, uid: -1, gid: -1}
	private := rule{file: 0o600, dir: 0o700, uid: -1, gid: -1}
	return perms{
		".": public, "conf": public, "desired": public, "certs": public, "live": public,
		"accounts": private, "dns": private, "keys": private, "tmp": private, "certs/*/haproxy": private, "lock": private, editLock: private, daemonLock: private, doctorLock: private,
	}
}

// at returns the rule for a path: that of the longest pattern that matches it
// (ties by name), else what holds for its parent directory.
func (p perms) at(name string) rule {
	for {
		best, found := "", false
		for pattern := range p {
			if ok, err := path.Match(pattern, name); err != nil || !ok {
				continue
			}
			if !found || len(pattern) > len(best) || (len(pattern) == len(best) && pattern < best) {
				best, found = pattern, true
			}
		}
		if found {
			return p[best]
		}
		if name == "." {
			return rule{file: 0o600, dir: 0o755, uid: -1, gid: -1}
		}
		name = path.Dir(name)
	}
}

// parsePerms reads conf/perm, whose lines read "pattern file-mode dir-mode
// [user group]" or "pattern inherit". A rule replaces the default of the same
// pattern; "inherit" takes it away.
func parsePerms(file string, data []byte) (perms, error) {
	table := defaultPerms()
	seen := make(map[string]int)
	number := 0
	for line := range bytes.Lines(data) {
		number++
		fail := func(err error) (perms, error) {
			return nil, &PermError{Path: file, Line: number, Err: err}
		}
		fields := permFields(string(line))
		if len(fields) == 0 {
			continue
		}
		pattern, err := cleanPattern(fields[0])
		if err != nil {
			return fail(err)
		}
		if before := seen[pattern]; before != 0 {
			return fail(fmt.Errorf("pattern %q was already given in line %d", pattern, before))
		}
		seen[pattern] = number
		if len(fields) == 2 && fields[1] == "inherit" {
			delete(table, pattern)
			continue
		}
		r, err := parseRule(fields[1:])
		if err != nil {
			return fail(err)
		}
		table[pattern] = r
	}
	return table, nil
}

// permFields splits a line, without the comment that may end it.
func permFields(line string) []string {
	fields := strings.Fields(line)
	for i, f := range fields {
		if strings.HasPrefix(f, "#") {
			return fields[:i]
		}
	}
	return fields
}

func cleanPattern(s string) (string, error) {
	pattern := path.Clean(s)
	if path.IsAbs(pattern) || pattern == ".." || strings.HasPrefix(pattern, "../") {
		return "", fmt.Errorf("pattern %q leaves the state directory", s)
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return "", fmt.Errorf("pattern %q: %w", s, err)
	}
	return pattern, nil
}

func parseRule(fields []string) (rule, error) {
	r := rule{uid: -1, gid: -1, said: true}
	if len(fields) != 2 && len(fields) != 4 {
		return r, fmt.Errorf("want \"pattern file-mode dir-mode [user group]\" or \"pattern inherit\"")
	}
	var err error
	if r.file, err = parseMode(fields[0]); err != nil {
		return r, err
	}
	if r.dir, err = parseMode(fields[1]); err != nil {
		return r, err
	}
	if len(fields) == 2 {
		return r, nil
	}
	if r.uid, err = parseOwner(fields[2], os.Getuid(), userID); err != nil {
		return r, err
	}
	r.gid, err = parseOwner(fields[3], os.Getgid(), groupID)
	return r, err
}

// parseMode reads three or four octal digits.
func parseMode(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(s, 8, 12)
	if err != nil || len(s) < 3 || len(s) > 4 {
		return 0, fmt.Errorf("mode %q: want three or four octal digits, such as 0640", s)
	}
	if n&0o002 != 0 {
		return 0, fmt.Errorf("mode %q lets everybody write: take 0002 away", s)
	}
	mode := fs.FileMode(n & 0o777)
	if n&0o4000 != 0 {
		mode |= fs.ModeSetuid
	}
	if n&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	if n&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	return mode, nil
}

// parseOwner reads a number, a name, "$r" for that of this process, or "-" for
// leaving the owner alone (-1).
func parseOwner(s string, self int, look func(string) (string, error)) (int, error) {
	switch s {
	case "-":
		return -1, nil
	case "$r":
		return self, nil
	}
	digits := s
	if _, err := strconv.ParseUint(s, 10, 31); err != nil {
		if digits, err = look(s); err != nil {
			return 0, fmt.Errorf("owner %q: %w", s, err)
		}
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("owner %q: %w", s, err)
	}
	return int(n), nil
}

func userID(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

func groupID(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", err
	}
	return g.Gid, nil
}
