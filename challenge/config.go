package challenge

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
)

// The methods of http-01 (request.challenge.method).
const (
	MethodAny        = ""           // every way that can work
	MethodWebroot    = "webroot"    // files in Webroots and the standard webroot
	MethodProxy      = "proxy"      // a web server passes requests on to a loopback port
	MethodListen     = "listen"     // the port the CA looks at
	MethodRedirector = "redirector" // files in the standard webroot, served by the redirector
	MethodStateless  = "stateless"  // the web server knows the thumbprint
	MethodHook       = "hook"       // challenge-http-start hooks
	MethodDNS        = "dns"        // TXT records, by certd-dns or challenge-dns-start hooks: see DNS01, New knows nothing of it
)

// Config says how New shall prove names of one target. The zero value means
// every way that needs no configuration, and no self-test.
type Config struct {
	Target          string            // file name in desired/, for hooks; may be empty
	Method          string            // one of the methods above
	Webroots        []string          // complete challenge directories, absolute
	HTTPPorts       []string          // further addresses "host:port" for a proxy; with MethodListen those to listen on instead of every address
	HTTPPort        int               // where the CA looks and where MethodListen binds; 0 means 80
	TLSPort         int               // where tls-alpn-01 is looked for and answered, and redirects to https may lead; 0 means 443
	ProxyPort       int               // loopback port of MethodProxy; 0 means 402, with which 4402 is opened as well
	Resolver        string            // "host:port" of the DNS server of the self-test; empty means the system's
	SelfTest        bool              // fetch the answer before the CA does
	TLSPorts        []string          // addresses "host:port" for tls-alpn-01 to listen on instead of every one
	Responder       *Responder        // shared by the targets of a process; nil means one of its own
	Thumbprint      string            // of the account key, for MethodStateless; empty means not known
	Hook            HookFunc          // nil means there are no hooks
	Env             map[string]string // environment of hooks
	StandardWebroot string            // empty means StandardWebroot
	Beside          string            // directory whose files another process, certd run, serves on the ports that it has; empty if there is none
}

// New returns the solver of a configuration. Its errors name the key to correct.
// It opens nothing yet: what does not work is known when a challenge is presented.
func New(cfg Config) (*HTTP01, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	h := &HTTP01{}
	standard := &Webroot{Dirs: []string{cfg.StandardWebroot}}
	webroots := &Webroot{Dirs: cfg.Webroots}
	var lend []Way
	if cfg.Beside != "" {
		lend = []Way{&lent{Webroot{Dirs: []string{cfg.Beside}}}}
	}
	hook := &Hook{Run: cfg.Hook, Target: cfg.Target, Env: cfg.Env}
	switch cfg.Method {
	case MethodAny:
		if len(cfg.Webroots) > 0 {
			h.Ways = append(h.Ways, webroots)
		}
		h.Ways = append(append(h.Ways, standard, cfg.proxy(), cfg.listen(nil)), lend...)
		if cfg.Hook != nil {
			h.Ways = append(h.Ways, hook)
		}
	case MethodWebroot:
		h.Ways = []Way{standard}
		if len(cfg.Webroots) > 0 {
			h.Ways, h.Spare = []Way{webroots}, h.Ways
		}
	case MethodProxy:
		h.Ways = append([]Way{cfg.proxy()}, lend...)
	case MethodListen:
		h.Ways = append([]Way{cfg.listen(cfg.HTTPPorts)}, lend...)
	case MethodRedirector:
		h.Ways = append([]Way{standard}, lend...)
		h.Spare = []Way{&Listen{Responder: cfg.Responder}} // it may be in this process
	case MethodStateless:
		h.Ways = []Way{&Stateless{Thumbprint: cfg.Thumbprint}}
	case MethodHook:
		if cfg.Hook == nil {
			return nil, fmt.Errorf("request.challenge.method %q: there are no hooks to run", cfg.Method)
		}
		h.Ways = []Way{hook}
	default:
		return nil, fmt.Errorf("request.challenge.method %q is not a method of http-01; use webroot, proxy, listen, redirector, stateless or hook, or leave it out", cfg.Method)
	}
	if cfg.SelfTest {
		h.SelfTest = &SelfTest{Port: cfg.HTTPPort, TLSPort: cfg.TLSPort, Resolver: cfg.Resolver}
	}
	return h, nil
}

// complete checks the values and fills in the defaults.
func (cfg Config) complete() (Config, error) {
	if cfg.StandardWebroot == "" {
		cfg.StandardWebroot = StandardWebroot
	}
	var dirs []string
	for _, dir := range cfg.Webroots {
		if !filepath.IsAbs(dir) {
			return cfg, fmt.Errorf("request.challenge.webroot-paths: %q is not an absolute path", dir)
		}
		if dir = filepath.Clean(dir); dir != cfg.StandardWebroot && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	cfg.Webroots = dirs
	for _, addr := range cfg.HTTPPorts {
		if err := checkAddr(addr); err != nil {
			return cfg, fmt.Errorf("request.challenge.http-ports: %w", err)
		}
	}
	for _, addr := range cfg.TLSPorts {
		if err := checkAddr(addr); err != nil {
			return cfg, fmt.Errorf("request.challenge.tls-ports: %w", err)
		}
	}
	if cfg.Resolver != "" {
		if err := checkAddr(cfg.Resolver); err != nil {
			return cfg, fmt.Errorf("challenge.resolver: %w", err)
		}
	}
	for key, port := range map[string]int{"http-port": cfg.HTTPPort, "tls-port": cfg.TLSPort, "proxy-port": cfg.ProxyPort} {
		if port < 0 || port > 65535 {
			return cfg, fmt.Errorf("challenge.%s: %d is not a port (1 to 65535)", key, port)
		}
	}
	if cfg.Responder == nil {
		cfg.Responder = NewResponder()
	}
	return cfg, nil
}

func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not host:port", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q: %q is not a port (1 to 65535)", addr, port)
	}
	return nil
}

// proxy is the way through a web server that passes requests on to loopback.
func (cfg Config) proxy() *Listen {
	ports := []int{cfg.ProxyPort}
	if cfg.ProxyPort == 0 || cfg.ProxyPort == 402 {
		ports = []int{402, 4402}
	}
	var addrs []string
	for _, port := range ports {
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("[::1]:%d", port))
	}
	for _, addr := range cfg.HTTPPorts {
		if !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	return &Listen{Responder: cfg.Responder, Addrs: addrs, Proxied: true}
}

// listen is the way without a web server.
func (cfg Config) listen(addrs []string) *Listen {
	if len(addrs) == 0 {
		addrs = []string{":" + strconv.Itoa(orPort(cfg.HTTPPort, 80))}
	}
	return &Listen{Responder: cfg.Responder, Addrs: addrs}
}

// A lent way is files that the daemon serves at its responder.
type lent struct{ Webroot }

func (l *lent) advice() string {
	return "certd run must answer there (responder: in conf/certd.yaml)"
}

func orPort(port, otherwise int) int {
	if port == 0 {
		return otherwise
	}
	return port
}
