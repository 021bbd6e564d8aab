package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"certd/state/statetest"
)

// Certbot has its configuration and certificates in "etc".
type certbot struct{}

func (certbot) command(h *home, args ...string) command {
	return command{args: append(append([]string{find("certbot")}, args...), "-n", "--server", h.ca.URL(),
		"--config-dir", h.path("etc"), "--work-dir", h.path("work"), "--logs-dir", h.path("logs"))}
}

func (t certbot) configure(h *home) ([]command, error) {
	return []command{t.command(h, "register", "--agree-tos", "--register-unsafely-without-email")}, nil
}

func (t certbot) issue(h *home, names []string) ([]command, error) {
	var all []command
	for _, name := range names {
		all = append(all, t.command(h, "certonly", "--webroot", "-w", h.webroot, "--key-type", "ecdsa", "-d", name))
	}
	return all, nil
}

func (t certbot) lay(h *home, certs []*statetest.Issued) ([]command, error) {
	accounts, err := filepath.Glob(h.path("etc", "accounts", "*", "*", "*", "meta.json"))
	if err != nil || len(accounts) != 1 {
		return nil, fmt.Errorf("accounts of certbot: %v, %w", accounts, err)
	}
	account := filepath.Base(filepath.Dir(accounts[0]))
	for _, c := range certs {
		name := c.Leaf.DNSNames[0]
		key, err := keyPEM(c, true)
		if err != nil {
			return nil, err
		}
		renewal := fmt.Sprintf("version = 2.1.0\narchive_dir = %s\n", h.path("etc", "archive", name))
		for file, text := range map[string]string{
			"cert": string(c.Cert), "chain": string(c.Chain), "fullchain": string(c.Cert) + string(c.Chain), "privkey": key,
		} {
			live := filepath.Join("etc", "live", name, file+".pem")
			renewal += fmt.Sprintf("%s = %s\n", file, h.path(live))
			err = errors.Join(err, h.write(filepath.Join("etc", "archive", name, file+"1.pem"), text),
				h.link(live, filepath.Join("..", "..", "archive", name, file+"1.pem")))
		}
		renewal += fmt.Sprintf("[renewalparams]\naccount = %s\nauthenticator = webroot\nwebroot_path = %s,\nserver = %s\nkey_type = ecdsa\n[[webroot_map]]\n%s = %s\n",
			account, h.webroot, h.ca.URL(), name, h.webroot)
		if err := errors.Join(err, h.write(filepath.Join("etc", "renewal", name+".conf"), renewal)); err != nil {
			return nil, err
		}
	}
	err = os.MkdirAll(h.path("work"), 0o755)
	return []command{t.command(h, "renew", "--no-random-sleep-on-renew")}, err
}
