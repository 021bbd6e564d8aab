package main

import (
	"errors"
	"fmt"

	"certd/state/statetest"
)

// Certd has its state directory in "acme".
type certd struct{}

func (certd) command(h *home, args ...string) command {
	return command{args: append([]string{h.certd, "--state", h.path("acme"), "--hooks", h.path("hooks"), "--batch"}, args...)}
}

func (t certd) configure(h *home) ([]command, error) {
	return nil, errors.Join(
		h.write("acme/conf/certd.yaml", fmt.Sprintf("cas: [{name: pebble, directory: %q, ca-bundle: %q}]\nchallenge: {http-port: %d, resolver: %q}\n",
			h.ca.URL(), h.roots, h.ca.HTTPPort(), h.ca.Resolver())),
		h.write("acme/conf/target", fmt.Sprintf("request: {challenge: {method: webroot, webroot-paths: [%q]}}\n", h.challenges())),
	)
}

func (t certd) issue(h *home, names []string) ([]command, error) {
	var err error
	for _, name := range names {
		err = errors.Join(err, h.write("acme/desired/"+name, ""))
	}
	return []command{t.command(h, "reconcile")}, err
}

func (t certd) lay(h *home, certs []*statetest.Issued) ([]command, error) {
	return []command{t.command(h, "reconcile")}, statetest.Lay(h.path("acme"), h.ca.URL(), certs)
}
