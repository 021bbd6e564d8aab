package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"certd/challenge"
)

// modernCiphers are those of TLS 1.2 that every current client has one of; those
// of TLS 1.3 need no choice. It is Mozilla's intermediate list without DHE.
const modernCiphers = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" +
	"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

// A printer writes sites as one server's configuration.
type printer struct {
	server            string
	live              string // the directory live/
	httpPort, tlsPort int    // where the CA looks, and where https is
	sites             []site
	out               strings.Builder
}

// print returns the configuration, or why there can be none.
func (p *printer) print() (string, error) {
	if err := safePath("state directory", p.live); err != nil {
		return "", err
	}
	p.line("# Made by certd snippet %s.", p.server)
	switch p.server {
	case serverNginx:
		p.line("# It goes into http {}, such as a file of conf.d/. What is served is left to you.")
		p.each(p.nginx)
	case serverApache:
		p.line("# It needs \"Listen %d\", \"Listen %d\" and the modules ssl, rewrite%s.", p.httpPort, p.tlsPort,
			map[bool]string{true: ", proxy and proxy_http"}[p.uses(challenge.MethodProxy)])
		p.line("# What is served is left to you.")
		p.each(p.apache)
	case serverHAProxy:
		if err := p.haproxy(); err != nil {
			return "", err
		}
	case serverCaddy:
		p.line("# Caddy reads the files again only when it is told to: caddy reload --force.")
		p.line("# What is served is left to you.")
		p.caddyOptions()
		p.each(p.caddy)
	}
	return p.out.String(), nil
}

func (p *printer) line(format string, args ...any) { fmt.Fprintf(&p.out, format+"\n", args...) }

// block writes text, further to the right.
func (p *printer) block(text string) {
	for line := range strings.Lines(text) {
		p.line("    %s", strings.TrimRight(line, "\n"))
	}
}

// uses reports whether any site's challenges are answered that way.
func (p *printer) uses(method string) bool {
	return slices.ContainsFunc(p.sites, func(s site) bool { return s.way.method == method })
}

// each writes a site after the other, with what has to be known about it.
func (p *printer) each(write func(site)) {
	for _, s := range p.sites {
		p.line("")
		p.notes(s)
		write(s)
	}
}

func (p *printer) notes(s site) {
	switch {
	case s.way.needsPort80():
	case s.way.method == challenge.MethodRedirector:
		p.line("# %s: port %d is the redirector's.", s.names[0], p.httpPort)
	case s.way.method == challenge.MethodListen:
		p.line("# %s: port %d has to be free, for certd answers there while a challenge runs.", s.names[0], p.httpPort)
	default:
		p.line("# %s: challenges are answered by what your hook sets up (%s).", s.names[0], s.way.method)
	}
	if len(s.dirs) == 0 {
		p.line("# %s: no certificate yet. Once it has one, print this again for the part about TLS.", s.names[0])
	}
	if slices.ContainsFunc(s.names, isIP) {
		p.line("# %s: clients do not say which address they mean: make it the default for port %d.", s.names[0], p.tlsPort)
	}
}

// path is a file of a live name.
func (p *printer) path(dir, file string) string { return p.live + "/" + dir + "/" + file }

// rule is the part of the configuration that answers the CA.
func (p *printer) rule(s site) string {
	rule, _ := ruleOf(p.server, s.way.method)
	return s.way.fill(rule)
}

// tlsSuffix is what a URL for https has behind the host.
func (p *printer) tlsSuffix() string {
	if p.tlsPort == 443 {
		return ""
	}
	return ":" + strconv.Itoa(p.tlsPort)
}

func (p *printer) nginx(s site) {
	names := make([]string, len(s.names))
	long := 0
	for i, n := range s.names {
		names[i] = host(n)
		long = max(long, len(n))
	}
	if long > 40 {
		p.line("# Long names need \"server_names_hash_bucket_size 512;\" in http {}.")
	}
	if s.way.needsPort80() {
		p.line("server {")
		p.line("    listen %[1]d;\n    listen [::]:%[1]d;", p.httpPort)
		p.line("    server_name %s;\n", strings.Join(names, " "))
		p.block(p.rule(s))
		p.line("    location / {\n        return 308 https://$host%s$request_uri;\n    }\n}", p.tlsSuffix())
	}
	if len(s.dirs) == 0 {
		return
	}
	if s.way.needsPort80() {
		p.line("")
	}
	p.line("server {")
	p.line("    listen %[1]d ssl;\n    listen [::]:%[1]d ssl;", p.tlsPort)
	p.line("    server_name %s;\n", strings.Join(names, " "))
	for _, dir := range s.dirs {
		p.line("    ssl_certificate     %s;", p.path(dir, "fullchain"))
		p.line("    ssl_certificate_key %s;", p.path(dir, "privkey"))
	}
	p.line("    ssl_protocols TLSv1.2 TLSv1.3;")
	p.line("    ssl_ciphers %s;", modernCiphers)
	p.line("    ssl_prefer_server_ciphers off;")
	p.line("    ssl_session_timeout 1d;\n    ssl_session_cache shared:certd:10m;\n    ssl_session_tickets off;")
	p.line("    # http2 on; # since 1.25.1; before that \"ssl http2\" in listen\n}")
}

func (p *printer) apache(s site) {
	names := func() { p.apacheNames(s.names) }
	if s.way.needsPort80() {
		p.line("<VirtualHost *:%d>", p.httpPort)
		names()
		p.block(p.rule(s))
		p.line("    RewriteEngine on")
		p.line("    RewriteCond %%{REQUEST_URI} !^/\\.well-known/acme-challenge/")
		// The path as it was sent: REQUEST_URI is decoded, and would end up in a header.
		p.line("    RewriteCond \"%%{HTTP_HOST} %%{THE_REQUEST}\" \"^(\\[[0-9a-fA-F:.]+\\]|[-.0-9a-zA-Z]+)(:[0-9]+)? [A-Z]+ (/[^ ?]*)\"")
		p.line("    RewriteRule ^ https://%%1%s%%3 [R=308,L,NE]\n</VirtualHost>", p.tlsSuffix())
	}
	if len(s.dirs) == 0 {
		return
	}
	if s.way.needsPort80() {
		p.line("")
	}
	p.line("<VirtualHost *:%d>", p.tlsPort)
	names()
	p.line("    SSLEngine on")
	for _, dir := range s.dirs {
		p.line("    SSLCertificateFile    \"%s\"", p.path(dir, "fullchain"))
		p.line("    SSLCertificateKeyFile \"%s\"", p.path(dir, "privkey"))
	}
	p.line("    SSLProtocol -all +TLSv1.2 +TLSv1.3")
	p.line("    SSLCipherSuite %s", modernCiphers)
	p.line("    SSLHonorCipherOrder off\n    SSLSessionTickets off\n    Protocols h2 http/1.1\n</VirtualHost>")
}

// apacheNames says which names a VirtualHost has. Its ServerName has to be one
// that is neither a wildcard nor an IPv6 address; these are aliases.
func (p *printer) apacheNames(names []string) {
	server, aliases := names[0], names[1:]
	if strings.HasPrefix(server, "*.") {
		server, aliases = "any"+server[1:], names
	} else if strings.Contains(server, ":") {
		server, aliases = "address.invalid", names
	}
	p.line("    ServerName %s", server)
	for _, n := range aliases {
		p.line("    ServerAlias %s", host(n))
	}
}
