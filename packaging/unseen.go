package packaging

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// An Unseen is something that a unit is to use, and that its confinement hides.
type Unseen struct {
	What   string // such as "program"
	Path   string
	Units  []string // services that cannot see it, sorted
	Remedy string   // a sentence: what to do about it
}

// String says all of it in one sentence or two.
func (u Unseen) String() string {
	verb := "does"
	if len(u.Units) > 1 {
		verb = "do"
	}
	return fmt.Sprintf("%s %s not see the %s %s: %s", strings.Join(u.Units, " and "), verb, u.What, u.Path, u.Remedy)
}

// FindUnseen returns what the services of o would not see: homes are hidden from
// the daemon and the redirector, and the directories for temporary files from all
// of them. Links are followed, unless o.Root is set.
func FindUnseen(o Options) []Unseen {
	main, hooks := "", ""
	switch o.Kind {
	case Timer:
		main, hooks = "certd-reconcile.service", "certd-reconcile.service"
	case Daemon:
		main, hooks = "certd.service", "certd-hooks@.service"
	}
	redirector := ""
	if o.Redirector {
		redirector = "certd-redirector.service"
	}
	var found []Unseen
	look := func(what, path, remedy string, units ...string) {
		units = slices.DeleteFunc(slices.Compact(units), func(unit string) bool { return unit == "" || !o.hides(unit, path) })
		if len(units) > 0 {
			slices.Sort(units)
			found = append(found, Unseen{what, path, units, remedy})
		}
	}
	look("program", o.Binary, "put it where all may see it, such as /usr/local/bin, and run certd quickstart from there", main, hooks, redirector)
	look("state directory", o.StateDir, "move it, for instance to /var/lib/acme, and run certd quickstart for that", main, hooks, redirector)
	for _, path := range o.ReadPaths {
		look("file", path, "move it, for instance to /etc/certd, and give its new path to certd quickstart", main)
	}
	for _, path := range o.WritePaths {
		look("directory", path, "choose another, such as one below /var/www, and run certd quickstart again", main)
	}
	for _, path := range o.HookDirs {
		look("hook directory", path, "use another, such as /etc/acme/hooks", hooks)
	}
	return found
}

// hides reports whether a service of o cannot see a path, or what it is a link to.
func (o Options) hides(unit, path string) bool {
	paths := []string{path}
	if real, err := filepath.EvalSymlinks(path); err == nil && o.Root == "" {
		paths = append(paths, real)
	}
	below := func(p string, dirs ...string) bool {
		return slices.ContainsFunc(dirs, func(dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") })
	}
	return slices.ContainsFunc(paths, func(p string) bool {
		switch {
		case below(p, "/tmp", "/var/tmp"): // PrivateTmp=
			return true
		case !inHome(p): // ProtectHome=
			return false
		case unit == "certd.service":
			return !below(p, slices.DeleteFunc(o.writable(), func(w string) bool { return !inHome(w) })...)
		case unit == "certd-redirector.service":
			return o.readHomes() == "ProtectHome=yes"
		}
		return false // root's units see homes
	})
}
