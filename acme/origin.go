package acme

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// maxURL is the longest URL in bytes that is taken from a CA.
const maxURL = 2048

// errMissing is the fault of a URL that is empty: nonsense rather than an attack.
var errMissing = errors.New("the URL is missing")

// An origin is the one scheme, host and port that a Client talks to.
type origin struct {
	host string // lower case, as in the directory URL
	port string // "443" if the URL has none
}

// originOf returns the origin of u, which must be an absolute https URL.
func originOf(u *url.URL) origin {
	o := origin{host: strings.ToLower(u.Hostname()), port: u.Port()}
	if o.port == "" {
		o.port = "443"
	}
	return o
}

// String returns the origin as a URL without a path.
func (o origin) String() string {
	host := o.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if o.port == "443" {
		return "https://" + host
	}
	return "https://" + host + ":" + o.port
}

// parseURL splits raw and checks that nothing but its origin could be wrong: an
// absolute https URL of printable ASCII without credentials or fragment.
func parseURL(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, errMissing
	}
	if len(raw) > maxURL {
		return nil, fmt.Errorf("a URL of %d bytes, more than %d", len(raw), maxURL)
	}
	for i := range len(raw) {
		if raw[i] <= ' ' || raw[i] >= 0x7f {
			return nil, fmt.Errorf("URL %q has a character that is not printable ASCII", clip(raw, 100))
		}
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("URL %q cannot be parsed", clip(raw, 100))
	case u.Scheme != "https":
		return nil, fmt.Errorf("URL %q is not https; certd talks to no CA without TLS", clip(raw, 100))
	case u.Opaque != "" || u.Hostname() == "":
		return nil, fmt.Errorf("URL %q has no host", clip(raw, 100))
	case u.User != nil:
		return nil, fmt.Errorf("the URL of host %q carries credentials", clip(u.Hostname(), 100))
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return nil, fmt.Errorf("URL %q has a fragment", clip(raw, 100))
	}
	return u, nil
}

// check returns nil if raw may be requested: a proper URL of this origin. What
// it returns for a foreign or insecure URL is a *Problem for the operator, because
// a signature for a foreign origin would let this CA use our account there.
func (o origin) check(what, raw string) error {
	u, err := parseURL(raw)
	if err == errMissing {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err != nil {
		return &Problem{Class: ClassOperator, Detail: what + ": " + err.Error()}
	}
	if got := originOf(u); got != o {
		return &Problem{Class: ClassOperator, Detail: Sanitize(fmt.Sprintf(
			"%s: the CA sends us to %s, which is not its own origin %s", what, got, o))}
	}
	return nil
}

// resolve returns the absolute form of ref, found in the answer of base, if it
// may be requested. An absolute ref is returned byte for byte.
func (o origin) resolve(what, base, ref string) (string, error) {
	if !strings.Contains(ref, "://") && ref != "" && len(ref) <= maxURL {
		b, err := url.Parse(base)
		if err == nil {
			if r, err := b.Parse(ref); err == nil {
				ref = r.String()
			}
		}
	}
	return ref, o.check(what, ref)
}
