package packaging

import (
	"os"
	"path"
	"path/filepath"
	"slices"
)

// Before returns the commands to run, in this order, before Install: they stop
// and disable what is installed of other kinds, while its files are still there.
// Without systemd (/run/systemd/system) there are none.
func Before(o Options) [][]string {
	if !o.systemd() {
		return nil
	}
	var stop []string
	for _, unit := range startable() {
		if o.unitExists(unit) && !slices.Contains(o.wanted(), unit) {
			stop = append(stop, unit)
		}
	}
	if len(stop) == 0 {
		return nil
	}
	return [][]string{append([]string{"systemctl", "disable", "--now"}, stop...)}
}

// After returns the commands to run, in this order, after Install: they make
// systemd take up the files, enable what o asks for and start it anew. Without
// systemd (/run/systemd/system) there are none.
func After(o Options) [][]string {
	if !o.systemd() {
		return nil
	}
	var commands [][]string
	if o.Kind == Daemon {
		commands = append(commands, []string{"systemd-sysusers", o.conf("sysusers.d")})
	}
	if o.Redirector {
		commands = append(commands, []string{"systemd-tmpfiles", "--create", o.conf("tmpfiles.d")})
	}
	if _, made := o.stateName(); o.Kind == Daemon && !made {
		commands = append(commands,
			[]string{"mkdir", "-p", "-m", "0755", o.StateDir}, []string{"chown", "-R", "certd:certd", o.StateDir})
	}
	if dirs := o.challengeDirs(); o.Kind == Daemon && len(dirs) > 0 {
		commands = append(commands, append([]string{"chown", "certd:certd"}, dirs...))
	}
	commands = append(commands, []string{"systemctl", "daemon-reload"})
	wanted := o.wanted()
	if len(wanted) == 0 {
		return commands
	}
	commands = append(commands, append([]string{"systemctl", "enable"}, wanted...))
	// A socket cannot be opened for a service that runs already.
	services, first := []string{}, []string{}
	for _, unit := range wanted {
		if path.Ext(unit) == ".service" {
			services = append(services, unit)
		} else {
			first = append(first, unit)
		}
	}
	if len(services) > 0 {
		commands = append(commands, append([]string{"systemctl", "stop"}, services...))
	}
	commands = append(commands, append([]string{"systemctl", "restart"}, first...))
	if len(services) > 0 {
		commands = append(commands, append([]string{"systemctl", "start"}, services...))
	}
	return commands
}

// Enable returns the commands that make the units of o start when the system
// below o.Root does, which does not run now. Where After applies, it enables them.
func Enable(o Options) [][]string {
	if len(o.wanted()) == 0 {
		return nil
	}
	return [][]string{append([]string{"systemctl", "--root", o.Root, "enable"}, o.wanted()...)}
}

// challengeDirs are the paths that are for challenges and nothing else, so that
// the daemon's user may have them. Who may write to others is not for us to say.
func (o Options) challengeDirs() []string {
	return slices.DeleteFunc(slices.Clone(o.WritePaths), func(p string) bool { return path.Base(p) != "acme-challenge" })
}

// wanted are the units of o that are enabled and started.
func (o Options) wanted() []string {
	var names []string
	switch o.Kind {
	case Timer:
		names = append(names, "certd.timer")
	case Daemon:
		names = append(names, "certd-hooks.socket")
		for _, s := range []string{SocketHTTP, SocketProxy} {
			if slices.Contains(o.Sockets, s) {
				names = append(names, "certd-"+s+".socket")
			}
		}
		names = append(names, "certd.service")
	}
	if o.Redirector {
		names = append(names, "certd-redirector.socket", "certd-redirector.service")
	}
	return names
}

// startable are all units of ours that are ever enabled.
func startable() []string {
	return []string{"certd.timer", "certd.service", "certd-hooks.socket", "certd-http.socket", "certd-proxy.socket",
		"certd-redirector.service", "certd-redirector.socket"}
}

// systemd reports whether systemd is at work here.
func (o Options) systemd() bool {
	info, err := os.Stat(filepath.Join("/", o.Root, "/run/systemd/system"))
	return err == nil && info.IsDir()
}

func (o Options) unitExists(name string) bool {
	for _, dir := range append([]string{o.unitDir()}, vendorDirs()...) {
		if _, err := os.Stat(filepath.Join("/", o.Root, dir, name)); err == nil {
			return true
		}
	}
	return false
}

// conf is the file of ours in sysusers.d or tmpfiles.d, wherever Install left it.
func (o Options) conf(kind string) string {
	name := path.Join(o.confDir(kind), "certd.conf")
	if _, err := os.Stat(filepath.Join("/", o.Root, name)); err != nil {
		return path.Join("/usr/lib", kind, "certd.conf")
	}
	return name
}
