package main

import (
	"fmt"
	"strings"

	"certd/challenge"
)

// snippet is what the web server of the chosen method has to be told, for the
// servers that run here, nginx if none does. The command snippet prints the rest,
// once there are names.
func (s *setup) snippet(thumbprint string) string {
	method := s.answers["choose-method"]
	switch method {
	case challenge.MethodRedirector:
		text := "Nothing but the redirector may listen on port 80; your web server keeps 443."
		if !s.services.systemd() || s.answers["install-redirector-systemd"] != "yes" {
			text += " It is not installed as a service: have your init system keep certd redirector running, for the CA finds nothing without it."
		}
		return strings.Join(wrap(text, ""), "\n")
	case challenge.MethodListen:
		return "Port 80 of this machine has to be free, and reachable from the Internet."
	case challenge.MethodDNS:
		text := "Nothing has to listen: the TXT records below _acme-challenge of each name are set by certd-dns."
		if s.answers["dns-provider"] == dnsByHook {
			text = "Nothing has to listen. Put a program that handles challenge-dns-start and -stop into " + s.image.inside(s.hookDir) + "; see docs/dns.md."
		}
		return strings.Join(wrap(text, ""), "\n")
	case challenge.MethodHook:
		text := fmt.Sprintf("Put a program that handles challenge-http-start and -stop into %s; see docs/challenges.md.", s.image.inside(s.hookDir))
		return strings.Join(wrap(text, ""), "\n")
	}
	servers := s.webServers()
	if len(servers) == 0 {
		servers = []string{serverNginx}
	}
	w := way{method: method, webroot: s.answers["webroot-path"], thumbprint: thumbprint, proxyPort: proxyPort(s.settings, s.services.may())}
	var out []string
	for _, server := range servers {
		text, where := snippetOf(server, method)
		if text == "" {
			out = append(out, fmt.Sprintf("%s cannot do the method %s; choose another.", server, method))
			continue
		}
		out = append(out, fmt.Sprintf("For %s, %s:\n\n%s", server, where, w.fill(text)))
	}
	return strings.Join(out, "\n\n")
}
