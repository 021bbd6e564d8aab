package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Bounds of a request.
const (
	maxRequest     = 1 << 20 // bytes
	defaultTimeout = 2 * time.Minute
	maxTimeout     = time.Hour
)

// The actions of a request.
const (
	actionPresent  = "present"  // add the value to the TXT record
	actionCleanUp  = "cleanup"  // remove it again
	actionDescribe = "describe" // only read the credentials, and say how the provider works
)

// A request is what certd wants of a provider.
type request struct {
	Action           string          `json:"action"`            // one of the above
	Provider         string          `json:"provider"`          // lego's word for it, such as "cloudflare"
	Domain           string          `json:"domain"`            // the name to be proven, without "*."
	Name             string          `json:"name"`              // of the TXT record: "_acme-challenge." and domain, or what that is an alias for
	Value            string          `json:"value"`             // of the TXT record
	KeyAuthorization string          `json:"key_authorization"` // the text whose SHA-256 the value is (RFC 8555 §8.4); lego's providers want it
	Timeout          int             `json:"timeout_seconds"`   // for all of it; 0 means 120
	Resolvers        []string        `json:"resolvers"`         // "host:port" of the DNS servers that know the zones; empty means the system's
	Memory           json.RawMessage `json:"memory,omitempty"`  // what the answer to present gave, for cleanup
	Watch            bool            `json:"watch"`             // stdin stays open until the answer came; its end means that nobody waits any more
}

// An answer is what became of a request.
type answer struct {
	OK         bool            `json:"ok"`
	Error      string          `json:"error,omitempty"`
	Variable   string          `json:"variable,omitempty"`         // the variable that is missing or wrong, if one is named; several with commas
	Timeout    int             `json:"timeout_seconds,omitempty"`  // how long the provider's servers may take to show the record
	Interval   int             `json:"interval_seconds,omitempty"` // how often to look
	Sequential bool            `json:"sequential,omitempty"`       // the provider keeps one value at a time: prove names one after the other,
	Pause      int             `json:"pause_seconds,omitempty"`    // with so much time between them
	Memory     json.RawMessage `json:"memory,omitempty"`           // to be given back at cleanup
	Perhaps    bool            `json:"perhaps,omitempty"`          // it failed at a point where it may have come through
	Malformed  bool            `json:"malformed,omitempty"`        // the request is, or names no provider: another try is in vain
}

// readRequest reads the one JSON document that in begins with.
func readRequest(in io.Reader) (request, error) {
	var req request
	limited := &io.LimitedReader{R: in, N: maxRequest}
	if err := json.NewDecoder(limited).Decode(&req); err != nil {
		if limited.N <= 0 {
			return req, fmt.Errorf("the request is longer than %d bytes", maxRequest)
		}
		return req, fmt.Errorf("the request is no JSON document: %w", err)
	}
	return req, req.check()
}

// check refuses what no provider should be bothered with.
func (r *request) check() error {
	switch r.Action {
	case actionPresent, actionCleanUp, actionDescribe:
	default:
		return fmt.Errorf("action %.40q: want present, cleanup or describe", r.Action)
	}
	if find(r.Provider) == nil {
		return fmt.Errorf("there is no DNS provider %.60q; certd-dns list shows them%s", r.Provider, meant(r.Provider))
	}
	for _, server := range r.Resolvers {
		if _, _, err := net.SplitHostPort(server); err != nil {
			return fmt.Errorf("resolver %.100q is not host:port", server)
		}
	}
	if bytes.Equal(r.Memory, []byte("null")) {
		r.Memory = nil
	}
	if r.Action == actionDescribe {
		return nil
	}
	for what, name := range map[string]string{"domain": r.Domain, "name": r.Name} {
		if !isName(name) {
			return fmt.Errorf("%s %.100q is no domain name", what, name)
		}
	}
	sum := sha256.Sum256([]byte(r.KeyAuthorization))
	if !strings.Contains(r.KeyAuthorization, ".") || base64.RawURLEncoding.EncodeToString(sum[:]) != r.Value {
		return errors.New("value is not the SHA-256 of key_authorization (RFC 8555 section 8.4)")
	}
	return nil
}

// isName accepts a domain name with or without its last dot.
func isName(s string) bool {
	if _, ok := dns.IsDomainName(s); !ok || s == "" || s == "." {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._", r))
	})
}

func (r *request) token() string {
	token, _, _ := strings.Cut(r.KeyAuthorization, ".")
	return token
}

func (r *request) timeout() time.Duration {
	if r.Timeout <= 0 {
		return defaultTimeout
	}
	return min(time.Duration(r.Timeout)*time.Second, maxTimeout)
}

// write sends the answer as one line.
func (a answer) write(out io.Writer) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = out.Write(append(data, '\n'))
	return err
}
