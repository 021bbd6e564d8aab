package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"certd/state/statetest"
)

// A tool knows the files and commands of one ACME client.
type tool interface {
	// configure makes the configuration in an empty home and returns the commands
	// that make an account, if there are such.
	configure(h *home) ([]command, error)
	// issue returns the commands that obtain one certificate for each name.
	issue(h *home, names []string) ([]command, error)
	// lay puts certificates where the client would have, and returns the commands
	// of a run that renews what is due.
	lay(h *home, certs []*statetest.Issued) ([]command, error)
}

// A client is one row of the tables.
type client struct {
	tool
	name     string
	program  string // path
	version  []string
	found    *regexp.Regexp // the version in what that prints
	batch    string         // how it does many certificates, in words
	also     string         // what it needs beside its program, in words
	skipped  string         // what it says of each certificate that is not due; empty if nothing
	parallel bool           // obtains several certificates at once
	asks     bool           // asks the CA when to renew each certificate (RFC 9773), once in some hours
	system   bool           // trusts only the system's CAs
	upTo     int            // certificates of a run with nothing to do; zero means no limit
}

// clients returns certd and the others that are asked for.
func clients(o Options) ([]*client, error) {
	version := regexp.MustCompile(`\d+\.\d+\.\d+`)
	others := []*client{
		{name: "acmetool", tool: acmetool{}, version: []string{"--version"}, found: version, batch: "one process, one after another"},
		{name: "certbot", tool: certbot{}, version: []string{"--version"}, found: version, batch: "a process each; one for renewals",
			also: "Python and its packages", skipped: "(skipped)"},
		{name: "lego", tool: lego{}, version: []string{"--version"}, found: regexp.MustCompile(`version (\S+)`), batch: "a process each", skipped: "no renewal"},
		{name: "dehydrated", tool: dehydrated{}, version: []string{"--version"}, found: regexp.MustCompile(`(?m)^Dehydrated version: (\S+)`),
			batch: "one process, one after another", also: "bash, openssl, curl", skipped: "Skipping renew"},
		{name: "uacme", tool: uacme{}, version: []string{"--version"}, found: version, batch: "a process each", also: "libcurl and its TLS library",
			skipped: "", system: true},
	}
	all := []*client{{name: "certd", tool: certd{}, program: o.Certd, version: []string{"version"}, found: regexp.MustCompile(`^certd (\S+)`),
		batch: "one process, 8 at once", asks: true, parallel: true}}
	for _, c := range others {
		c.upTo = 1000
		if o.Only == "" || strings.Contains(","+o.Only+",", ","+c.name+",") {
			all = append(all, c)
		}
	}
	for _, c := range all {
		if c.program == "" {
			c.program = find(c.name)
		}
	}
	path, err := exec.LookPath(o.Certd)
	if err == nil {
		all[0].program, err = filepath.Abs(path)
	}
	return all, err
}

// debian returns the version of a Debian package, empty if it is not installed as one.
func debian(ctx context.Context, name string) string {
	out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Version}", name).Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// errNoMounts is why a client that trusts only the system's CAs is left out.
var errNoMounts = errors.New("trusts only the system's CAs, and this process could not get mounts of its own")

// usable returns why a client cannot be measured at all.
func (c *client) usable(a *arena) error {
	if c.program == "" {
		return errors.New("not installed; build/packages.sh bench installs it")
	}
	if c.system && !a.private {
		return errNoMounts
	}
	return nil
}

// quiet reports in an error that a run which should have had nothing to do was
// no such run.
func (c *client) quiet(done cost, n int) error {
	for _, r := range done.requests {
		if r.Operation == "order" || r.Operation == "finalize" {
			return fmt.Errorf("sent a %s request although nothing was due", r.Operation)
		}
	}
	if c.skipped == "" {
		return nil
	}
	if said := strings.Count(string(done.output), c.skipped); said < n {
		return fmt.Errorf("said %q %d times for %d certificates", c.skipped, said, n)
	}
	return nil
}

// keyPEM returns a key as SEC 1 or PKCS #8.
func keyPEM(c *statetest.Issued, pkcs8 bool) (string, error) {
	kind, marshal := "EC PRIVATE KEY", func() ([]byte, error) { return x509.MarshalECPrivateKey(c.Key) }
	if pkcs8 {
		kind, marshal = "PRIVATE KEY", func() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(c.Key) }
	}
	der, err := marshal()
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})), nil
}
