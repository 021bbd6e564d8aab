package doctor

import (
	"fmt"
	"slices"
	"strconv"

	"certd/challenge"
	"certd/config"
)

// port is where the CA looks.
func (r *run) port() int {
	if p := r.settings.Challenge.HTTPPort; p != 0 {
		return p
	}
	return 80
}

// held says who has the port, for the end of a text.
func (r *run) held() string {
	holder, taken := r.holders[r.port()]
	switch {
	case !taken:
		return ""
	case holder == "":
		return fmt.Sprintf(" (port %d is held by a process that this user may not see)", r.port())
	}
	return fmt.Sprintf(" (port %d is held by %s)", r.port(), holder)
}

// ports looks at the ports of the methods before anything of ours listens there.
func (r *run) ports(subjects []subject) {
	r.holders = challenge.PortHolders()
	subjects = slices.DeleteFunc(slices.Clone(subjects), subject.onlyDNS)
	if r.holders == nil || len(subjects) == 0 {
		return
	}
	r.httpPort(subjects)
	if uses(subjects, func(c config.Challenge) bool {
		return (c.Method == challenge.MethodAny || c.Method == challenge.MethodListen) && len(c.TLSPorts) == 0
	}) {
		r.tlsPort()
	}
	if uses(subjects, func(c config.Challenge) bool { return c.Method == challenge.MethodProxy }) {
		r.proxyPort()
	}
}

// uses reports whether one of subjects has such settings.
func uses(subjects []subject, such func(config.Challenge) bool) bool {
	return slices.ContainsFunc(subjects, func(s subject) bool { return such(s.target.Challenge) })
}

// holder says who listens at a port; empty if nobody does.
func (r *run) holder(port int) string {
	holder, taken := r.holders[port]
	if taken && holder == "" {
		return "a process that this user may not see"
	}
	return holder
}

// httpPort looks at the port of http-01.
func (r *run) httpPort(subjects []subject) {
	check := "port " + strconv.Itoa(r.port())
	holder := r.holder(r.port())
	has := func(methods ...string) bool {
		return uses(subjects, func(c config.Challenge) bool { return slices.Contains(methods, c.Method) && len(c.HTTPPorts) == 0 })
	}
	needsServer := has(challenge.MethodWebroot, challenge.MethodProxy, challenge.MethodRedirector, challenge.MethodStateless)
	// With tls-ports it does without the port of tls-alpn-01 as well.
	listens := uses(subjects, func(c config.Challenge) bool {
		return c.Method == challenge.MethodListen && len(c.HTTPPorts) == 0 && len(c.TLSPorts) == 0
	})
	const remedy = "stop that, or let it answer: request.challenge.method proxy, webroot or redirector"
	switch {
	case holder != "" && listens && !r.holders.Certd(r.port()) && r.holder(r.tls()) != "" && !r.holders.Certd(r.tls()):
		r.add(check, "", Failure, fmt.Sprintf("held by %s, and port %d by %s; the method listen needs one of them", holder, r.tls(), r.holder(r.tls())), remedy)
	case holder != "" && listens && !r.holders.Certd(r.port()):
		r.add(check, "", Warning, fmt.Sprintf("held by %s, so the method listen has port %d alone", holder, r.tls()), remedy)
	case holder != "":
		r.add(check, "", OK, "held by "+holder, "")
	case needsServer:
		r.add(check, "", Warning, "nothing listens on it here, and the method needs a web server or the redirector", "start it; if another machine has the addresses of the names, all is well")
	default:
		r.add(check, "", OK, "free: certd listens on it while a challenge runs, if it may", "")
	}
}

// tls is the port of tls-alpn-01.
func (r *run) tls() int { return r.settings.Challenge.TLSPort }

// tlsPort looks at it: that somebody has it is no harm.
func (r *run) tlsPort() {
	check, holder := "port "+strconv.Itoa(r.tls()), r.holder(r.tls())
	if holder != "" {
		r.add(check, "", OK, "held by "+holder+", so tls-alpn-01 is not used without request.challenge.tls-ports", "")
		return
	}
	r.add(check, "", OK, "free: certd listens on it for tls-alpn-01 if http-01 does not work", "")
}

// proxyPort looks at the port that web servers pass challenges on to.
func (r *run) proxyPort() {
	port := r.settings.Challenge.ProxyPort
	check, holder := "port "+strconv.Itoa(port), r.holder(port)
	const spare = 4402 // beside 402
	switch {
	case holder == "":
		r.add(check, "", OK, "free: certd listens on it on loopback while a challenge runs, if it may", "")
	case r.holders.Certd(port):
		r.add(check, "", OK, "held by "+holder, "")
	case port == 402 && r.holder(spare) == "":
		r.add(check, "", Warning, fmt.Sprintf("held by %s, so the method proxy has port %d alone", holder, spare), "stop that, or pass challenges on to the other port")
	default:
		r.add(check, "", Failure, "held by "+holder+", and the method proxy needs it", "stop that, or set challenge.proxy-port in conf/certd.yaml and in the web server")
	}
}
