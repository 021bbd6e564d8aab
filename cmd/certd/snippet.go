package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"certd/daemon"
	"certd/state"
)

func (a *app) snippetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "snippet nginx|apache|haproxy|caddy [NAME...]",
		Short: "Print a web server's configuration for challenges and TLS",
		Long: `Prints what a web server has to be told to answer the CA's challenges for the names
and to serve their certificates: one server block for each certificate, for the
challenge method of its target, with modern TLS. Without NAME for every name that
is wanted or in live/. A name may be one that you are going to want.

Names without a certificate get the part for port 80 only, for a server refuses a
configuration with files that are not there; print it again when they have one.
Changes nothing.`,
		Example: `  certd snippet nginx >/etc/nginx/conf.d/certd.conf
  certd snippet apache www.example.com example.com
  certd snippet haproxy www.example.com:rsa`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("for which server? %s", join(snippetServers()))
			}
			if !slices.Contains(snippetServers(), args[0]) {
				return usage("%q is none of the servers %s", args[0], join(snippetServers()))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.snippet(args[0], args[1:]) },
		ValidArgsFunction: func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return snippetServers(), cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeNames(liveTargetNames)(c, args[1:], prefix)
		},
	}
}

// snippet prints the configuration of a server for the names.
func (a *app) snippet(server string, args []string) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	view, err := daemon.Look(store)
	if err != nil {
		return err
	}
	rows, err := a.snippetRows(view, args)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return usage("nothing is wanted yet; say for which names: certd snippet %s www.example.com", server)
	}
	p := &printer{server: server, live: store.Path("live"), httpPort: view.Settings.Challenge.HTTPPort, tlsPort: view.Settings.Challenge.TLSPort}
	find := finder{store: store, view: view, server: server, root: ownedByRoot(store)}
	if p.sites, err = find.sites(rows); err != nil {
		return &daemon.ConfigError{Err: fmt.Errorf("snippet: %w", err)}
	}
	text, err := p.print()
	if err != nil {
		return &daemon.ConfigError{Err: fmt.Errorf("snippet: %w", err)}
	}
	fmt.Fprint(a.out, text)
	return a.broken(view)
}

// snippetRows are the rows of the names, of all if there are none. A name that
// nobody wants yet gets a row, too: it will be of one certificate with the others
// of its kind.
func (a *app) snippetRows(view *daemon.View, args []string) ([]daemon.NameStatus, error) {
	rows := view.Status()
	var known []string
	var unknown []daemon.NameStatus
	var names []string
	for _, arg := range args {
		name, label, err := parseLive(arg)
		if err != nil {
			return nil, err
		}
		is := func(r daemon.NameStatus) bool { return r.Name == name && (label == "" || r.Label == label) }
		switch {
		case slices.ContainsFunc(rows, is):
			known = append(known, arg)
		case label != "":
			return nil, usage("%s is neither wanted nor in live/; certd want --label %s %s adds it", live(name, label), label, name)
		case !slices.ContainsFunc(unknown, is):
			unknown, names = append(unknown, daemon.NameStatus{Name: name}), append(names, name)
		}
	}
	if len(unknown) > 0 {
		fmt.Fprintf(a.err, "certd: not wanted yet; after port 80 is set up: certd want %s\n", strings.Join(names, " "))
		if len(known) == 0 {
			return unknown, nil
		}
	}
	chosen, err := selectNames(rows, known)
	return append(chosen, unknown...), err
}

// ownedByRoot reports whether the state directory is root's, so that certd is
// run by root and gets any port. One that is not there yet will be.
func ownedByRoot(store *state.Store) bool {
	info, err := os.Stat(store.Dir())
	if err != nil {
		return os.Geteuid() == 0
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	return !ok || owner.Uid == 0
}
