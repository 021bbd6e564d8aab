package main

import (
	"encoding/json"
	"errors"

	"certd/state/statetest"
)

// Lego has everything in "lego".
type lego struct{}

func (lego) command(h *home, name string, args ...string) command {
	return command{args: append([]string{find("lego"), "--server", h.ca.URL(), "--accept-tos", "--email", "ops@example.com",
		"--path", h.path("lego"), "--key-type", "ec256", "--http", "--http.webroot", h.webroot, "--domains", name}, args...)}
}

func (lego) configure(*home) ([]command, error) { return nil, nil } // its account comes with the first certificate

func (t lego) issue(h *home, names []string) ([]command, error) {
	var all []command
	for _, name := range names {
		all = append(all, t.command(h, name, "run"))
	}
	return all, nil
}

func (t lego) lay(h *home, certs []*statetest.Issued) ([]command, error) {
	var all []command
	for _, c := range certs {
		name := c.Leaf.DNSNames[0]
		key, err := keyPEM(c, false)
		if err != nil {
			return nil, err
		}
		about, err := json.MarshalIndent(map[string]string{
			"domain": name, "certUrl": h.ca.URL() + "/cert/" + name, "certStableUrl": h.ca.URL() + "/cert/" + name,
		}, "", "\t")
		file := "lego/certificates/" + name
		err = errors.Join(err, h.write(file+".crt", string(c.Cert)+string(c.Chain)), h.write(file+".issuer.crt", string(c.Chain)),
			h.write(file+".key", key), h.write(file+".json", string(about)))
		if err != nil {
			return nil, err
		}
		all = append(all, t.command(h, name, "renew", "--days", "30", "--no-random-sleep"))
	}
	return all, nil
}
