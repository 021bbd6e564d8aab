package doctor

import (
	"fmt"
	"slices"
	"strconv"

	"certd/challenge"
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

// ports looks at the port of the CA before anything of ours listens on it.
func (r *run) ports(subjects []subject) {
	r.holders = challenge.PortHolders()
	if r.holders == nil || len(subjects) == 0 {
		return
	}
	check := "port " + strconv.Itoa(r.port())
	holder, taken := r.holders[r.port()]
	if taken && holder == "" {
		holder = "a process that this user may not see"
	}
	uses := func(methods ...string) bool {
		return slices.ContainsFunc(subjects, func(s subject) bool {
			return slices.Contains(methods, s.target.Challenge.Method) && len(s.target.Challenge.HTTPPorts) == 0
		})
	}
	needsServer := uses(challenge.MethodWebroot, challenge.MethodProxy, challenge.MethodRedirector, challenge.MethodStateless)
	switch {
	case taken && uses(challenge.MethodListen) && !r.holders.Certd(r.port()):
		r.add(check, "", Failure, "held by "+holder+", and the method listen needs it", "stop that, or let it answer: request.challenge.method proxy, webroot or redirector")
	case taken:
		r.add(check, "", OK, "held by "+holder, "")
	case needsServer:
		r.add(check, "", Warning, "nothing listens on it here, and the method needs a web server or the redirector", "start it; if another machine has the addresses of the names, all is well")
	default:
		r.add(check, "", OK, "free: certd listens on it while a challenge runs, if it may", "")
	}
}
