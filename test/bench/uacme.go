package main

import (
	"errors"
	"fmt"
	"os"

	"certd/state/statetest"
)

// Uacme has its configuration and certificates in "uacme".
type uacme struct{}

func (uacme) command(h *home, exit int, args ...string) command {
	return command{exit: exit, args: append([]string{find("uacme"), "-c", h.path("uacme"), "-a", h.ca.URL(), "-y", "-t", "EC", "-b", "256",
		"-h", h.path("hook")}, args...)}
}

func (t uacme) configure(h *home) ([]command, error) {
	hook := fmt.Sprintf("#!/bin/sh\nset -e\n[ \"$2\" = http-01 ] || exit 1\ncase $1 in\nbegin) printf %%s \"$5\" >%[1]s/\"$4\" ;;\n*) rm -f %[1]s/\"$4\" ;;\nesac\n", h.challenges())
	return []command{t.command(h, 0, "new", "ops@example.com")}, errors.Join(h.write("hook", hook), os.Chmod(h.path("hook"), 0o755))
}

func (t uacme) issue(h *home, names []string) ([]command, error) {
	var all []command
	for _, name := range names {
		all = append(all, t.command(h, 0, "issue", name))
	}
	return all, nil
}

// lay: it exits with 1 if there is nothing to do.
func (t uacme) lay(h *home, certs []*statetest.Issued) ([]command, error) {
	var all []command
	for _, c := range certs {
		name := c.Leaf.DNSNames[0]
		key, err := keyPEM(c, true)
		err = errors.Join(err, h.write("uacme/"+name+"/cert.pem", string(c.Cert)+string(c.Chain)), h.write("uacme/private/"+name+"/key.pem", key))
		if err != nil {
			return nil, err
		}
		all = append(all, t.command(h, 1, "issue", name))
	}
	return all, nil
}
