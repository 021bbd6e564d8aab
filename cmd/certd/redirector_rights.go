package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// giveUpRights becomes --user for good, in every thread, and makes sure of it.
// It returns who the process is afterwards.
func (r *redirectorRun) giveUpRights(stateDir string) (who string, err error) {
	asIs := r.userSet && r.user == ""
	switch {
	case asIs:
	case os.Geteuid() == 0 || r.userSet:
		if err := become(r.user); err != nil {
			return "", err
		}
	}
	who = fmt.Sprintf("uid %d", os.Getuid())
	if u, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil {
		who = u.Username
	}
	if asIs {
		if path, open := readableKey(stateDir); open {
			r.log.Warn("the redirector can read keys; --user \"\" allowed it", "user", who, "key", path)
		}
		return who, nil
	}
	if err := powerless(); err != nil {
		return "", err
	}
	if path, open := readableKey(stateDir); open {
		return "", fmt.Errorf("%s can read %s; serve as another --user, or allow it with --user \"\"", who, path)
	}
	return who, nil
}

// become changes to a user, without supplementary groups.
func become(name string) error {
	uid, gid, err := lookUpUser(name)
	if err != nil {
		return fmt.Errorf("--user %s: %w", name, err)
	}
	if uid == 0 || gid == 0 {
		return usage("--user %s: is root or in its group; --user \"\" stays who started it", name)
	}
	if os.Getuid() == uid && os.Geteuid() == uid {
		return nil
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"setgroups", func() error { return syscall.Setgroups(nil) }},
		{"setgid", func() error { return syscall.Setgid(gid) }},
		{"setuid", func() error { return syscall.Setuid(uid) }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("become user %s: %s: %w; only root can", name, step.name, err)
		}
	}
	groups, err := os.Getgroups()
	if err != nil {
		return fmt.Errorf("become user %s: %w", name, err)
	}
	if os.Getuid() != uid || os.Geteuid() != uid || os.Getgid() != gid || os.Getegid() != gid || len(groups) > 0 {
		return fmt.Errorf("become user %s: is uid %d, gid %d, groups %v instead", name, os.Geteuid(), os.Getegid(), groups)
	}
	return nil
}

func lookUpUser(name string) (uid, gid int, err error) {
	u, err := user.Lookup(name)
	if n, bad := strconv.ParseUint(name, 10, 31); err != nil && bad == nil {
		if u, err = user.LookupId(name); err != nil {
			return int(n), int(n), nil // a number needs no entry in passwd
		}
	}
	if err != nil {
		return 0, 0, err
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// powerless makes sure that no thread is root, can become root or has a
// capability that circumvents file permissions.
func powerless() error {
	if os.Getuid() == 0 || os.Geteuid() == 0 {
		return errors.New("refusing to serve as root; give --user")
	}
	if syscall.Setuid(0) == nil || syscall.Setgid(0) == nil {
		return errors.New("root could be had back after giving it up; refusing to serve")
	}
	threads, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(threads) == 0 {
		return nil // not Linux, or no /proc: the system calls above have to do
	}
	for _, path := range threads {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		for line := range strings.Lines(string(data)) {
			key, value, _ := strings.Cut(line, ":")
			value = strings.TrimSpace(value)
			if (key == "CapPrm" || key == "CapEff") && !harmless(value) {
				return fmt.Errorf("capabilities %s (%s) are left; refusing to serve with more than CAP_NET_BIND_SERVICE", value, key)
			}
			if key == "Uid" && strings.Contains("\t"+value+"\t", "\t0\t") {
				return errors.New("a thread is still root; refusing to serve")
			}
		}
	}
	return nil
}

// harmless reports whether a set of capabilities, in hexadecimal, is empty or
// allows ports below 1024 and nothing else.
func harmless(set string) bool {
	const netBindService = 1 << 10
	n, err := strconv.ParseUint(set, 16, 64)
	return err == nil && n&^netBindService == 0
}

// readableKey looks for a key that this process can open.
func readableKey(stateDir string) (path string, open bool) {
	for _, pattern := range []string{"keys/*/privkey", "accounts/*/*/privkey", "certs/*/haproxy"} {
		paths, _ := filepath.Glob(filepath.Join(stateDir, pattern)) // the pattern is well-formed
		for _, path := range paths {
			if f, err := os.Open(path); err == nil {
				_ = f.Close()
				return path, true
			}
		}
	}
	return "", false
}
