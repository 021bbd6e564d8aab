package challenge

import (
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// redirectCaching lets the one client that asked keep a redirect for an hour: a
// permanent redirect without a limit would outlive the name.
const redirectCaching = "private, max-age=3600"

// A Redirector sends requests for http URLs to the same path and query at the
// https URL of the requested name, without port, and challenge requests to the
// responder. The URL is made from the name in the form that Allowed has said yes
// to, never from the bytes of the request. The zero value redirects nothing.
type Redirector struct {
	// Allowed reports whether to redirect for a name: a DNS name in lower case
	// without final dot, or an IP address in canonical text. Others get 421. Nil
	// means for none. It is called from many goroutines.
	Allowed func(name string) bool
	// All redirects for every syntactically valid name; Allowed is not asked.
	All bool
	// Status of redirects: 301, 302, 307 or 308; 0 means 308.
	Status int
	// Count is called with the result of each request that is no challenge
	// request, from many goroutines: redirected, misdirected or bad_request. Nil
	// means that nobody counts.
	Count func(result string)
}

// Handler redirects everything but the requests below PathPrefix, which next
// answers, usually a *Responder. Give it to Responder.Serve, whose bounds on
// connections, time and sizes it relies on.
func (r *Redirector) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasPrefix(req.URL.Path, PathPrefix) { // decoded: no spelling of a challenge is redirected
			next.ServeHTTP(w, req)
			return
		}
		r.redirect(w, req)
	})
}

func (r *Redirector) redirect(w http.ResponseWriter, req *http.Request) {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE")
		r.reply(w, http.StatusMethodNotAllowed, "method not allowed\n", "bad_request")
		return
	}
	if !plainHTTP1(req) {
		r.reply(w, http.StatusBadRequest, "bad request\n", "bad_request")
		return
	}
	name, ok := canonicalHost(req.Host)
	if req.URL.Host != "" || !strings.HasPrefix(req.RequestURI, "/") { // absolute form: net/http forgets the Host header
		ok = false
	}
	if !ok || !r.All && (r.Allowed == nil || !r.Allowed(name)) {
		r.reply(w, http.StatusMisdirectedRequest, "misdirected request\n", "misdirected")
		return
	}
	w.Header().Set("Location", location(name, req.RequestURI))
	w.Header().Set("Cache-Control", redirectCaching)
	status := r.Status
	if status == 0 {
		status = http.StatusPermanentRedirect
	}
	r.reply(w, status, "this is served over https\n", "redirected")
}

func (r *Redirector) reply(w http.ResponseWriter, status int, body, result string) {
	reply(w, status, body)
	if r.Count != nil {
		r.Count(result)
	}
}

// location is the https URL of a canonical name and a request target in origin
// form. A target that a browser or a log could misread becomes "/".
func location(name, target string) string {
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	if !safeTarget(target) {
		target = "/"
	}
	return "https://" + name + target
}

// safeTarget reports whether target is a path and query: one slash first, and
// visible ASCII without the sign that begins a fragment.
func safeTarget(target string) bool {
	if !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") || strings.HasPrefix(target, `/\`) {
		return false
	}
	for i := range len(target) {
		if c := target[i]; c < 0x21 || c > 0x7e || c == '#' {
			return false
		}
	}
	_, err := url.ParseRequestURI(target)
	return err == nil
}

// canonicalHost returns the name of a Host header without its port: a DNS name
// in lower case without final dot, or an IP address as net/netip writes it.
func canonicalHost(host string) (name string, ok bool) {
	if v6, rest, found := strings.Cut(strings.TrimPrefix(host, "["), "]"); found && strings.HasPrefix(host, "[") {
		addr, err := netip.ParseAddr(v6)
		if err != nil || !addr.Is6() || addr.Is4In6() || addr.Zone() != "" || !isPort(rest) {
			return "", false
		}
		return addr.String(), true
	}
	name, _, _ = strings.Cut(host, ":")
	if !isPort(host[len(name):]) || strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) { // some lower-case to ASCII
		return "", false
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if addr, err := netip.ParseAddr(name); err == nil {
		return addr.String(), true
	}
	return name, isDNSName(name)
}

// isPort reports whether s is nothing, or a colon and a port or nothing (RFC
// 3986 §3.2.3).
func isPort(s string) bool {
	digits, ok := strings.CutPrefix(s, ":")
	if !ok || digits == "" {
		return s == "" || ok
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	return err == nil && n > 0
}

// isDNSName reports whether s is a host name of letters, digits and inner
// hyphens (RFC 1123 §2.1) in lower case whose last label is no number. Whether
// anybody may have such a name is for Allowed to say.
func isDNSName(s string) bool {
	if len(s) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9') && r != '-' }) {
			return false
		}
		last = label
	}
	digits := "0123456789"
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		last, digits = hex, "0123456789abcdef"
	}
	return strings.Trim(last, digits) != ""
}
