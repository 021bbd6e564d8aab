package main

import (
	"errors"
	"fmt"

	"certd/state/statetest"
)

// Acmetool has its state directory in "acme", as certd.
type acmetool struct{}

func (acmetool) command(h *home, args ...string) command {
	return command{args: append([]string{find("acmetool"), "--state", h.path("acme"), "--hooks", h.path("hooks"), "--batch", "--stdio",
		"--response-file", h.path("responses")}, args...)}
}

func (acmetool) configure(h *home) ([]command, error) {
	return nil, errors.Join(
		h.write("hooks/.keep", ""),
		h.write("responses", "acme-enter-email: ops@example.com\n\"acme-agreement:data:text/plain,Do%20what%20thou%20wilt\": true\n"),
		h.write("acme/conf/target", fmt.Sprintf("request:\n  provider: %s\n  key: {type: ecdsa}\n  challenge:\n    http-self-test: false\n    webroot-paths: [%q]\n",
			h.ca.URL(), h.challenges())),
	)
}

func (t acmetool) issue(h *home, names []string) ([]command, error) {
	var err error
	for _, name := range names {
		err = errors.Join(err, h.write("acme/desired/"+name, "satisfy:\n  names: ["+name+"]\n"))
	}
	return []command{t.command(h, "reconcile")}, err
}

func (t acmetool) lay(h *home, certs []*statetest.Issued) ([]command, error) {
	return []command{t.command(h, "reconcile")}, statetest.Lay(h.path("acme"), h.ca.URL(), certs)
}
