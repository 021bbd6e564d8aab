// Package packaging knows how certd is started: as a systemd timer, as a
// systemd daemon, or by cron. It makes the files, puts them in place, and sees
// what else is installed, so that there is one of them and never two.
package packaging

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// units are the templates. Embedding needs a package variable; nothing writes
// to it.
//
//go:embed units
var units embed.FS

// A Kind is a way to have certd run.
type Kind string

// The kinds. Timer, Daemon, Cron and None can be asked for; Redirector comes
// beside any of them and is what Detect calls the server on port 80.
const (
	Timer      Kind = "timer"      // certd reconcile, started by systemd every six hours
	Daemon     Kind = "daemon"     // certd run, under systemd
	Cron       Kind = "cron"       // certd reconcile, started by cron every six hours
	None       Kind = "none"       // nothing; somebody else starts certd
	Redirector Kind = "redirector" // certd redirector, under systemd
)

// Names of the sockets that systemd can open for the daemon.
const (
	SocketHTTP  = "http"  // port 80
	SocketProxy = "proxy" // port 402 on loopback
)

// Options say what is to be installed. Kind, Binary and StateDir must be set.
// Paths are absolute, and of letters, digits and the characters "+-./:@_~,"
// only, since unit files and crontabs give a meaning to most others.
type Options struct {
	Kind     Kind
	Binary   string   // of certd
	StateDir string   // the state directory
	HookDirs []string // for --hooks; none means that certd uses its default directories

	// Redirector adds certd-redirector to the kind.
	Redirector bool
	// Sockets are the ports that systemd opens for the daemon: SocketHTTP for
	// the challenge method listen, SocketProxy for proxy. Its unit is allowed no
	// port below 1024 of its own.
	Sockets []string
	// WritePaths are the directories the daemon writes to besides the state
	// directory and /run/acme: webroots, the directory of the metrics textfile.
	WritePaths []string
	// ReadPaths are the other files that certd reads: a CA's roots, an HMAC key.
	// Nothing is made of them but FindUnseen's answer.
	ReadPaths []string
	// Seed makes this machine's minute for cron. Empty means the contents of
	// /etc/machine-id, else of /etc/hostname.
	Seed string

	// Root is put before every path that is looked at or written, for tests
	// and for packages; the paths in the files are without it. Empty means "/".
	Root string
	// UnitDir is where the units go. Empty means /etc/systemd/system. With any
	// other, sysusers.d and tmpfiles.d go below /usr/lib instead of /etc.
	UnitDir string
}

// A File is one file to install.
type File struct {
	Path string // Root included
	Data []byte
	Mode fs.FileMode
}

// Plan returns the files that o asks for, sorted by path. It is an error if o
// has an unknown kind or socket, or a path that cannot be written into units.
func Plan(o Options) ([]File, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("plan units: %w", err)
	}
	var files []File
	for _, name := range o.unitNames() {
		files = append(files, o.file(path.Join(o.unitDir(), name), name))
	}
	if o.Kind == Daemon {
		files = append(files, o.file(path.Join(o.confDir("sysusers.d"), "certd.conf"), "sysusers.conf"))
	}
	if o.Redirector {
		files = append(files, o.file(path.Join(o.confDir("tmpfiles.d"), "certd.conf"), "tmpfiles.conf"))
	}
	if o.Kind == Cron {
		files = append(files, o.file(cronFile, "cron"))
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

const cronFile = "/etc/cron.d/certd"

// unitNames are the unit files of o's kind. Those of the sockets are there
// whether they are to be opened or not.
func (o Options) unitNames() []string {
	var names []string
	switch o.Kind {
	case Timer:
		names = timerUnits()
	case Daemon:
		names = daemonUnits()
	}
	if o.Redirector {
		names = append(names, redirectorUnits()...)
	}
	return names
}

func timerUnits() []string { return []string{"certd.timer", "certd-reconcile.service"} }

func daemonUnits() []string {
	return []string{"certd.service", "certd-http.socket", "certd-proxy.socket", "certd-hooks.socket", "certd-hooks@.service"}
}

func redirectorUnits() []string {
	return []string{"certd-redirector.service", "certd-redirector.socket"}
}

func (o Options) unitDir() string {
	if o.UnitDir == "" {
		return "/etc/systemd/system"
	}
	return o.UnitDir
}

// confDir is /etc/sysusers.d or the like.
func (o Options) confDir(name string) string {
	if o.unitDir() == "/etc/systemd/system" {
		return path.Join("/etc", name)
	}
	return path.Join("/usr/lib", name)
}

// file fills in a template. at is its path without o.Root.
func (o Options) file(at, template string) File {
	read := func(name string) string {
		data, err := units.ReadFile("units/" + name)
		if err != nil {
			panic(err) // the compiler has put it there
		}
		return string(data)
	}
	text := strings.NewReplacer(
		"@HEADER@\n", read("header"),
		"@ROOTPROFILE@\n", read("rootprofile"),
		"@CERTD@", o.command(),
		"@STATEPATHS@", o.statePaths(),
		"@HOMES@", o.homes(),
		"@READHOMES@", o.readHomes(),
		"@SECRETS@", o.secrets(),
		"@STATE@", o.StateDir,
		"@USER@", o.user(),
		"@WHEN@", o.when(),
	).Replace(read(template))
	return File{Path: filepath.Join("/", o.Root, at), Data: []byte(text), Mode: 0o644}
}

// command is certd with its global flags.
func (o Options) command() string {
	words := []string{o.Binary, "--state", o.StateDir}
	for _, dir := range o.HookDirs {
		words = append(words, "--hooks", dir)
	}
	return strings.Join(words, " ")
}

// user is who writes challenges.
func (o Options) user() string {
	if o.Kind == Daemon {
		return "certd"
	}
	return "root"
}

// stateName is the state directory's path below /var/lib, if it is there:
// systemd then makes it and gives it to the daemon's user.
func (o Options) stateName() (string, bool) {
	return strings.CutPrefix(o.StateDir, "/var/lib/")
}

func (o Options) statePaths() string {
	var lines []string
	if name, ok := o.stateName(); ok {
		lines = append(lines, "StateDirectory="+name, "StateDirectoryMode=0755")
	}
	if paths := o.writable(); len(paths) > 0 {
		lines = append(lines, "ReadWritePaths=-"+strings.Join(paths, " -"))
	}
	if len(lines) == 0 {
		return "# Nothing else is written."
	}
	return strings.Join(lines, "\n")
}

// writable are the paths that the daemon writes to and systemd does not make.
func (o Options) writable() []string {
	paths := slices.Clone(o.WritePaths)
	if _, ok := o.stateName(); !ok {
		paths = append(paths, o.StateDir)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// homes hides the homes of users, but for what is to be written there.
func (o Options) homes() string {
	inHomes := slices.DeleteFunc(o.writable(), func(p string) bool { return !inHome(p) })
	if len(inHomes) == 0 {
		return "ProtectHome=yes"
	}
	return "ProtectHome=tmpfs\nBindPaths=-" + strings.Join(inHomes, " -")
}

// readHomes hides them from the redirector, unless it has to read there.
func (o Options) readHomes() string {
	if inHome(o.StateDir) || slices.ContainsFunc(o.WritePaths, inHome) {
		return "ProtectHome=read-only"
	}
	return "ProtectHome=yes"
}

// inHome reports whether ProtectHome= would hide a path.
func inHome(p string) bool {
	return slices.ContainsFunc([]string{"/home/", "/root/", "/run/user/"}, func(dir string) bool { return strings.HasPrefix(p+"/", dir) })
}

// secrets are what the redirector may not see.
func (o Options) secrets() string {
	var list []string
	for _, dir := range []string{"accounts", "certs", "keys", "orders", "pending", "tmp"} {
		list = append(list, "-"+path.Join(o.StateDir, dir))
	}
	return strings.Join(list, " ")
}

// check refuses what would not make working units.
func (o Options) check() error {
	if !slices.Contains([]Kind{Timer, Daemon, Cron, None}, o.Kind) {
		return fmt.Errorf("kind %q: use %s, %s, %s or %s", o.Kind, Timer, Daemon, Cron, None)
	}
	for _, s := range o.Sockets {
		if s != SocketHTTP && s != SocketProxy {
			return fmt.Errorf("socket %q: use %s or %s", s, SocketHTTP, SocketProxy)
		}
	}
	if o.Redirector && o.Kind == Daemon && slices.Contains(o.Sockets, SocketHTTP) {
		return errors.New("port 80 can go to the redirector or to the daemon, not to both")
	}
	paths := append([]string{o.Binary, o.StateDir}, o.HookDirs...)
	for _, p := range append(paths, o.WritePaths...) {
		if err := checkPath(p); err != nil {
			return err
		}
	}
	return nil
}

// checkPath accepts what means itself in a unit file, a crontab, and to sh.
func checkPath(p string) error {
	if !path.IsAbs(p) || path.Clean(p) != p || p == "/" {
		return fmt.Errorf("path %q: want a full path without \".\", \"..\" and double slashes", p)
	}
	for _, c := range p {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("+-./:@_~,", c) {
			return fmt.Errorf("path %q: %q has a meaning of its own in units and crontabs; use a link without it", p, c)
		}
	}
	return nil
}
