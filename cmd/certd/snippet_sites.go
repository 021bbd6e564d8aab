package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"certd/acme"
	"certd/challenge"
	"certd/config"
	"certd/daemon"
	"certd/state"
)

// A site is what one server block is about: names that have their certificate, or
// their certificates of several labels, in common.
type site struct {
	names []string // without labels; what is best to call the site by comes first
	dirs  []string // live names of its certificates; empty if there is none yet
	way   way
}

// isIP reports whether a name is an IP address.
func isIP(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

// host is a name as it is in a URL: an IPv6 address has brackets there.
func host(name string) string {
	if strings.Contains(name, ":") {
		return "[" + name + "]"
	}
	return name
}

// A finder makes sites of what there is.
type finder struct {
	store  *state.Store
	view   *daemon.View
	server string
	root   bool // certd may use any port
}

// sites groups rows by certificate. Names whose targets with different labels
// are the same have one site with several certificates, since a server can have
// only one block for a name.
func (f finder) sites(rows []daemon.NameStatus) ([]site, error) {
	byName := make(map[string][]daemon.NameStatus)
	for _, r := range rows {
		byName[r.Name] = append(byName[r.Name], r)
	}
	groups := make(map[string][]string) // names by what they are certified by
	for name, rows := range byName {
		var parts []string
		for _, r := range rows {
			parts = append(parts, groupOf(r))
		}
		key := strings.Join(parts, "\n")
		groups[key] = append(groups[key], name)
	}
	var out []site
	for _, names := range groups {
		slices.SortFunc(names, compareNames)
		s, err := f.site(names, byName[names[0]])
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b site) int { return compareNames(a.names[0], b.names[0]) })
	return out, nil
}

// groupOf says which certificate a row is about: that of its target, wanted or
// had; those without either will be of one certificate.
func groupOf(r daemon.NameStatus) string {
	switch {
	case r.Target != "":
		return "target " + r.Target
	case r.Certificate != nil:
		return "certificate " + r.Certificate.ID
	case r.State != "":
		return "live " + live(r.Name, r.Label)
	}
	return ""
}

// compareNames has plain names before wildcards, and addresses last.
func compareNames(a, b string) int {
	rank := func(name string) int {
		switch {
		case isIP(name):
			return 2
		case strings.HasPrefix(name, "*."):
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
}

// site makes one of names and the rows of the first.
func (f finder) site(names []string, rows []daemon.NameStatus) (site, error) {
	s := site{names: names}
	target := f.view.Targets.Default
	for _, r := range rows {
		if r.Certificate != nil && r.Certificate.Usable() {
			s.dirs = append(s.dirs, live(r.Name, r.Label))
		}
	}
	for _, t := range f.view.Targets.Targets {
		if rows[0].Target != "" && t.File == rows[0].Target {
			target = t
		}
	}
	var err error
	if s.way, err = f.way(target); err != nil {
		return s, fmt.Errorf("%s: %w", names[0], err)
	}
	return s, nil
}

// way is how a target's challenges are answered. One without a method tries all
// of them, of which the server gets one.
func (f finder) way(t *config.Target) (way, error) {
	w := way{method: t.Challenge.Method, webroot: challenge.StandardWebroot, proxyPort: proxyPort(f.view.Settings, f.root)}
	if len(t.Challenge.WebrootPaths) > 0 {
		w.webroot = strings.TrimRight(t.Challenge.WebrootPaths[0], "/")
	}
	if w.method == challenge.MethodAny {
		w.method = challenge.MethodProxy
		if rule, _ := ruleOf(f.server, challenge.MethodWebroot); rule != "" && len(t.Challenge.WebrootPaths) > 0 {
			w.method = challenge.MethodWebroot
		}
	}
	if w.needsPort80() || w.method == challenge.MethodListen {
		f.responder(&w)
	}
	if !w.needsPort80() {
		return w, nil
	}
	if rule, _ := ruleOf(f.server, w.method); rule == "" {
		var can []string
		for _, m := range methods() {
			if rule, _ := ruleOf(f.server, m.value); rule != "" {
				can = append(can, m.value)
			}
		}
		return w, fmt.Errorf("%s cannot do the challenge method %s; set request.challenge.method to %s", f.server, w.method, join(can))
	}
	if w.method == challenge.MethodStateless {
		var err error
		if w.thumbprint, err = f.thumbprint(t); err != nil {
			return w, err
		}
	}
	return w, safePath("webroot", w.webroot)
}

// responder heeds the daemon's, which is open all the time: on a loopback address
// it is where a proxy finds certd, else it is the redirector.
func (f finder) responder(w *way) {
	address, port, err := net.SplitHostPort(f.view.Settings.Responder)
	if err != nil {
		return // there is none
	}
	if ip, err := netip.ParseAddr(address); address != "localhost" && (err != nil || !ip.IsLoopback()) {
		w.method = challenge.MethodRedirector
		return
	}
	if n, err := strconv.Atoi(port); err == nil {
		w.proxyPort = n
	}
}

// thumbprint is that of the account at the target's CA (RFC 8555 §8.1).
func (f finder) thumbprint(t *config.Target) (string, error) {
	ca, err := f.view.Settings.CA(strings.Join(t.CAs[:min(1, len(t.CAs))], ""))
	if err != nil {
		return "", err
	}
	account, err := f.store.Account(ca.Directory)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("stateless needs the account's thumbprint, and there is no account at %s yet; certd quickstart makes one", ca.Name)
	}
	if err != nil {
		return "", err
	}
	client, err := acme.New(acme.Options{Name: ca.Name, Directory: ca.Directory, Key: account.Key})
	if err != nil {
		return "", err
	}
	defer client.Close()
	return client.Thumbprint()
}

// safePath refuses a path that one of the servers would not take literally.
func safePath(what, path string) error {
	for _, r := range path {
		if r <= ' ' || r == 0x7f || strings.ContainsRune("\"'`\\$;{}#%*?[]<>", r) {
			return fmt.Errorf("%s %q has %q in it, which means something else in a server's configuration; use only letters, digits and any of -_./: in it", what, path, r)
		}
	}
	return nil
}
