package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"certd/state/statetest"
)

// Dehydrated has its configuration in "config" and everything else beside it.
type dehydrated struct{}

func (dehydrated) command(h *home, args ...string) command {
	return command{args: append([]string{find("dehydrated"), "--config", h.path("config")}, args...)}
}

func (t dehydrated) configure(h *home) ([]command, error) {
	err := errors.Join(
		h.write("config", fmt.Sprintf("CA=%q\nCHALLENGETYPE=http-01\nWELLKNOWN=%q\nBASEDIR=%q\nDOMAINS_TXT=%q\nKEY_ALGO=prime256v1\nCURL_OPTS=\"--cacert %s\"\n",
			h.ca.URL(), h.challenges(), h.dir, h.path("domains.txt"), h.roots)),
		h.write("domains.txt", ""),
		os.MkdirAll(h.path("certs"), 0o755))
	return []command{t.command(h, "--register", "--accept-terms")}, err
}

func (t dehydrated) issue(h *home, names []string) ([]command, error) {
	return []command{t.command(h, "--cron")}, h.write("domains.txt", strings.Join(names, "\n")+"\n")
}

func (t dehydrated) lay(h *home, certs []*statetest.Issued) ([]command, error) {
	var names []string
	for _, c := range certs {
		name := c.Leaf.DNSNames[0]
		names = append(names, name)
		key, err := keyPEM(c, false)
		for file, text := range map[string]string{
			"cert": string(c.Cert), "chain": string(c.Chain), "fullchain": string(c.Cert) + string(c.Chain), "privkey": key,
		} {
			err = errors.Join(err, h.write("certs/"+name+"/"+file+"-1700000000.pem", text),
				h.link("certs/"+name+"/"+file+".pem", file+"-1700000000.pem"))
		}
		if err != nil {
			return nil, err
		}
	}
	return t.issue(h, names)
}
