package main

import (
	"fmt"
	"slices"
	"strings"
)

// haproxy writes one frontend for each port: HAProxy finds the certificate by the
// name that the client asks for, and takes the first for who asks for none.
func (p *printer) haproxy() error {
	p.line("# What is served, and timeouts, are left to you: add use_backend rules.")
	p.line("# The files are made by the bundled hook haproxy: certd hooks install, then")
	p.line("# certd hooks test for certificates that were there before.")
	for _, s := range p.sites {
		p.notes(s)
	}
	var ways []way
	var crts []string
	for _, s := range p.sites {
		if s.way.needsPort80() && !slices.Contains(ways, s.way) {
			ways = append(ways, s.way)
		}
		for _, dir := range s.dirs {
			crt := "crt " + p.path(dir, "haproxy")
			if slices.ContainsFunc(s.names, isIP) {
				crts = slices.Insert(crts, 0, crt)
			} else {
				crts = append(crts, crt)
			}
		}
	}
	if len(ways) > 1 {
		return fmt.Errorf("haproxy: the names have different challenge methods or accounts; print it for names of one kind, and merge the frontends by hand")
	}
	for _, w := range ways {
		p.haproxyHTTP(w)
	}
	if len(crts) == 0 {
		return nil
	}
	p.line("\nfrontend https")
	p.line("    bind :%[1]d,[::]:%[1]d v6only ssl %[2]s alpn h2,http/1.1 ssl-min-ver TLSv1.2 no-tls-tickets ciphers %[3]s",
		p.tlsPort, strings.Join(crts, " "), modernCiphers)
	p.line("    mode http")
	return nil
}

// haproxyHTTP is the frontend that answers the CA and redirects everybody else.
func (p *printer) haproxyHTTP(w way) {
	rule, backend := ruleOf(serverHAProxy, w.method)
	p.line("\nfrontend http\n    bind :%[1]d,[::]:%[1]d v6only\n    mode http", p.httpPort)
	if backend == "" {
		p.block(w.fill(rule))
	}
	target := "scheme https"
	if suffix := p.tlsSuffix(); suffix != "" {
		target = "location https://%[hdr(host),host_only]" + suffix + "%[capture.req.uri]"
	}
	p.line("    http-request redirect %s code 308 unless { path_beg /.well-known/acme-challenge/ }", target)
	if backend != "" { // HAProxy looks at use_backend last, and warns if it is not
		p.block(w.fill(rule))
		p.line("\n%s", w.fill(backend))
	}
}

// caddyOptions keeps Caddy off port 80 if that is somebody else's.
func (p *printer) caddyOptions() {
	if slices.ContainsFunc(p.sites, func(s site) bool { return s.way.needsPort80() }) {
		return
	}
	p.line("\n# These options come first in a Caddyfile; one that has some gets the line added.")
	p.line("{\n    auto_https disable_redirects\n}")
}

func (p *printer) caddy(s site) {
	sites := func(scheme string, port, usual int) string {
		suffix := ""
		if port != usual {
			suffix = fmt.Sprintf(":%d", port)
		}
		var out []string
		for _, n := range s.names {
			out = append(out, scheme+"://"+host(n)+suffix)
		}
		return strings.Join(out, ", ")
	}
	if s.way.needsPort80() {
		p.line("%s {", sites("http", p.httpPort, 80))
		p.block(p.rule(s))
		p.line("    handle {\n        redir https://{host}%s{uri} 308\n    }\n}", p.tlsSuffix())
	}
	if len(s.dirs) == 0 {
		return
	}
	if s.way.needsPort80() {
		p.line("")
	}
	p.line("%s {", sites("https", p.tlsPort, 443))
	for _, dir := range s.dirs {
		p.line("    tls %s %s", p.path(dir, "fullchain"), p.path(dir, "privkey"))
	}
	p.line("}")
}
