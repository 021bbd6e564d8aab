package main

import (
	"fmt"
	"strconv"
	"strings"

	"certd/challenge"
)

// snippet is what the web server of the chosen method has to be told, for the
// servers that run here, nginx if none does. docs/challenges.md has the same.
func (s *setup) snippet(thumbprint string) string {
	method := s.answers["choose-method"]
	switch method {
	case challenge.MethodRedirector:
		return "Nothing but the redirector may listen on port 80; your web server keeps port 443."
	case challenge.MethodListen:
		return "Port 80 of this machine has to be free, and reachable from the Internet."
	case challenge.MethodHook:
		return fmt.Sprintf("Put a program that handles challenge-http-start and -stop into %s; see docs/challenges.md.", s.hookDir)
	}
	servers := s.webServers()
	if len(servers) == 0 {
		servers = []string{"nginx"}
	}
	var out []string
	for _, server := range servers {
		text, where := snippetOf(server, method)
		if text == "" {
			out = append(out, fmt.Sprintf("%s cannot do the method %s; choose another.", server, method))
			continue
		}
		text = strings.NewReplacer("THUMBPRINT", thumbprint, "127.0.0.1:402", "127.0.0.1:"+strconv.Itoa(s.proxyPort()),
			challenge.StandardWebroot, orText(s.answers["webroot-path"], challenge.StandardWebroot)).Replace(text)
		out = append(out, fmt.Sprintf("For %s, %s:\n\n%s", server, where, text))
	}
	return strings.Join(out, "\n\n")
}

// proxyPort is where certd listens for a proxy.
func (s *setup) proxyPort() int {
	if port := s.settings.Challenge.ProxyPort; port != 402 || s.services.may() {
		return port
	}
	return 4402
}

// snippetOf is the configuration of a server for a method, and where it goes.
func snippetOf(server, method string) (text, where string) {
	switch server + " " + method {
	case "nginx " + challenge.MethodProxy:
		return nginxProxy, "in every server block that listens on port 80"
	case "nginx " + challenge.MethodWebroot:
		return nginxWebroot, "in every server block that listens on port 80"
	case "nginx " + challenge.MethodStateless:
		return nginxStateless, "in every server block that listens on port 80"
	case "apache " + challenge.MethodProxy:
		return apacheProxy, "outside of any VirtualHost (mod_proxy_http)"
	case "apache " + challenge.MethodWebroot:
		return apacheWebroot, "outside of any VirtualHost"
	case "haproxy " + challenge.MethodProxy:
		return haproxyProxy, "in its frontend for port 80, and a backend"
	case "haproxy " + challenge.MethodStateless:
		return haproxyStateless, "in its frontend for port 80"
	}
	return "", ""
}

const (
	nginxProxy = `location ^~ /.well-known/acme-challenge/ {
    proxy_pass http://127.0.0.1:402;
}`
	apacheProxy  = `ProxyPass "/.well-known/acme-challenge/" "http://127.0.0.1:402/.well-known/acme-challenge/" retry=0`
	haproxyProxy = `frontend http
    bind :80
    mode http
    use_backend certd if { path_beg /.well-known/acme-challenge/ }

backend certd
    mode http
    server certd 127.0.0.1:402`
	nginxWebroot = `location ^~ /.well-known/acme-challenge/ {
    alias /run/acme/acme-challenge/;
    default_type text/plain;
}`
	apacheWebroot = `Alias "/.well-known/acme-challenge/" "/run/acme/acme-challenge/"
<Directory "/run/acme/acme-challenge/">
    Require all granted
    AllowOverride None
    Options None
    ForceType text/plain
</Directory>`
	nginxStateless = `location ~ "^/\.well-known/acme-challenge/([-_a-zA-Z0-9]+)$" {
    default_type text/plain;
    return 200 "$1.THUMBPRINT";
}`
	haproxyStateless = `frontend http
    bind :80
    mode http
    http-request return status 200 content-type text/plain lf-string "%[path,field(-1,/)].THUMBPRINT" if { path_reg ^/\.well-known/acme-challenge/[-_a-zA-Z0-9]+$ }`
)
