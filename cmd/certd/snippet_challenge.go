package main

import (
	"strconv"
	"strings"

	"certd/challenge"
	"certd/config"
)

// The servers that snippet knows.
const (
	serverNginx   = "nginx"
	serverApache  = "apache"
	serverHAProxy = "haproxy"
	serverCaddy   = "caddy"
)

// snippetServers are all of them, in the order of the help.
func snippetServers() []string {
	return []string{serverNginx, serverApache, serverHAProxy, serverCaddy}
}

// A way is how the CA's requests for a name are answered, as far as a web server
// has to know.
type way struct {
	method     string
	webroot    string // directory of challenge files; empty means the standard one
	thumbprint string // of the account key; of stateless only
	proxyPort  int    // where certd listens for a proxy
}

// needsPort80 reports whether the web server answers the CA's requests. What
// answers otherwise has port 80 for itself.
func (w way) needsPort80() bool {
	return w.method == challenge.MethodProxy || w.method == challenge.MethodWebroot || w.method == challenge.MethodStateless
}

// fill puts what is true here into a text of snippetOf or of ruleOf.
func (w way) fill(text string) string {
	return strings.NewReplacer("THUMBPRINT", w.thumbprint, "127.0.0.1:402", "127.0.0.1:"+strconv.Itoa(w.proxyPort),
		challenge.StandardWebroot, orText(w.webroot, challenge.StandardWebroot)).Replace(text)
}

// proxyPort is where certd listens for a proxy; who is not root cannot have 402.
func proxyPort(settings *config.Settings, root bool) int {
	if port := settings.Challenge.ProxyPort; port != 402 || root {
		return port
	}
	return 4402
}

// snippetOf is the configuration of a server for a method, and where it goes;
// both are empty if the server cannot do it. docs/challenges.md has the same.
func snippetOf(server, method string) (text, where string) {
	const blocks = "in every server block that listens on port 80"
	switch rule, backend := ruleOf(server, method); {
	case rule == "":
		return "", ""
	case server == serverNginx:
		return rule, blocks
	case server == serverApache && method == challenge.MethodProxy:
		return rule, "outside of any VirtualHost (mod_proxy_http)"
	case server == serverApache:
		return rule, "outside of any VirtualHost"
	case server == serverCaddy:
		return rule, "in every site for http"
	case backend == "":
		return haproxyFrontend + rule, "in its frontend for port 80"
	default:
		return haproxyFrontend + rule + "\n\n" + backend, "in its frontend for port 80, and a backend"
	}
}

// ruleOf is the part of a server's configuration that answers the CA, without
// what is around it; for HAProxy also the backend that it needs, if it does.
func ruleOf(server, method string) (rule, backend string) {
	switch server + " " + method {
	case "nginx " + challenge.MethodProxy:
		return nginxProxy, ""
	case "nginx " + challenge.MethodWebroot:
		return nginxWebroot, ""
	case "nginx " + challenge.MethodStateless:
		return nginxStateless, ""
	case "apache " + challenge.MethodProxy:
		return apacheProxy, ""
	case "apache " + challenge.MethodWebroot:
		return apacheWebroot, ""
	case "haproxy " + challenge.MethodProxy:
		return haproxyProxy, haproxyBackend
	case "haproxy " + challenge.MethodStateless:
		return haproxyStateless, ""
	case "caddy " + challenge.MethodProxy:
		return caddyProxy, ""
	case "caddy " + challenge.MethodWebroot:
		return caddyWebroot, ""
	case "caddy " + challenge.MethodStateless:
		return caddyStateless, ""
	}
	return "", ""
}

const (
	nginxProxy = `location ^~ /.well-known/acme-challenge/ {
    proxy_pass http://127.0.0.1:402;
}`
	nginxWebroot = `location ^~ /.well-known/acme-challenge/ {
    alias /run/acme/acme-challenge/;
    default_type text/plain;
}`
	nginxStateless = `location ~ "^/\.well-known/acme-challenge/([-_a-zA-Z0-9]+)$" {
    default_type text/plain;
    return 200 "$1.THUMBPRINT";
}`
	apacheProxy   = `ProxyPass "/.well-known/acme-challenge/" "http://127.0.0.1:402/.well-known/acme-challenge/" retry=0`
	apacheWebroot = `Alias "/.well-known/acme-challenge/" "/run/acme/acme-challenge/"
<Directory "/run/acme/acme-challenge/">
    Require all granted
    AllowOverride None
    Options None
    ForceType text/plain
</Directory>`
	haproxyFrontend = `frontend http
    bind :80
    mode http
    `
	haproxyProxy   = `use_backend certd if { path_beg /.well-known/acme-challenge/ }`
	haproxyBackend = `backend certd
    mode http
    server certd 127.0.0.1:402`
	haproxyStateless = `http-request return status 200 content-type text/plain lf-string "%[path,field(-1,/)].THUMBPRINT" if { path_reg ^/\.well-known/acme-challenge/[-_a-zA-Z0-9]+$ }`
	caddyProxy       = `handle /.well-known/acme-challenge/* {
    reverse_proxy 127.0.0.1:402
}`
	caddyWebroot = `handle_path /.well-known/acme-challenge/* {
    root * /run/acme/acme-challenge
    file_server
}`
	caddyStateless = `@acme path_regexp acme ^/\.well-known/acme-challenge/([-_a-zA-Z0-9]+)$
handle @acme {
    header Content-Type text/plain
    respond "{re.acme.1}.THUMBPRINT" 200
}`
)
