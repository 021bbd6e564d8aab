package acme

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const (
	maxRenewalInfo = 64 << 10
	maxCertID      = 256 // characters; serials have 20 octets, key identifiers at most 64

	// The bounds of RenewalInfo.RetryAfter (RFC 9773 §4.3.2).
	leastPause = time.Minute
	mostPause  = 24 * time.Hour
)

// ErrNoRenewalInfo reports that a CA offers no renewal information at all. It
// comes wrapped in a *Problem.
var ErrNoRenewalInfo = errors.New("the CA offers no renewal information")

// errNoWindow is why an answer says nothing about renewal.
var errNoWindow = errors.New("no usable renewal information")

// RenewalInfo is when a CA suggests that a certificate be renewed (RFC 9773 §4.2).
type RenewalInfo struct {
	Start, End  time.Time     // UTC, End is later
	Explanation string        // http or https URL for people, sanitised; never fetched; empty if there is none
	RetryAfter  time.Duration // until the CA wants to be asked again, a minute to a day; zero if it did not say
}

// wireRenewalInfo is RFC 9773 §4.2.
type wireRenewalInfo struct {
	SuggestedWindow struct {
		Start time.Time `json:"start"`
		End   time.Time `json:"end"`
	} `json:"suggestedWindow"`
	ExplanationURL text `json:"explanationURL"`
}

// CertID returns the identifier of a certificate in renewal information and
// "replaces" (RFC 9773 §4.1): authority key identifier and serial number, both
// as the octets of their DER. A certificate without the former has none.
func CertID(leaf *x509.Certificate) (string, error) {
	if len(leaf.AuthorityKeyId) == 0 {
		return "", errors.New("the certificate has no authority key identifier, so it has no renewal information")
	}
	der, err := asn1.Marshal(leaf.SerialNumber)
	if err != nil {
		return "", fmt.Errorf("serial number: %w", err)
	}
	var serial asn1.RawValue // its octets have the sign, which big.Int.Bytes leaves out
	if _, err := asn1.Unmarshal(der, &serial); err != nil {
		return "", fmt.Errorf("serial number: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode(leaf.AuthorityKeyId) + "." + encode(serial.Bytes), nil
}

// RenewalInfo asks when the certificate with this CertID should be renewed
// (RFC 9773 §4.2). It needs no account. See LastingRenewalError for its errors.
func (c *Client) RenewalInfo(ctx context.Context, certID string) (*RenewalInfo, error) {
	r := request{name: "renewalInfo", op: "ari", limit: maxRenewalInfo}
	if !validCertID(certID) {
		return nil, c.problem(r, nil, fmt.Errorf("%w: %q is no certificate identifier", errNoWindow, clip(certID, 50)))
	}
	d, err := c.loadDirectory(ctx)
	if err != nil {
		return nil, err
	}
	if d.RenewalInfo == "" {
		return nil, c.problem(r, nil, fmt.Errorf("%w: %w", errNoWindow, ErrNoRenewalInfo))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(d.RenewalInfo, "/")+"/"+certID, nil)
	if err != nil {
		return nil, c.problem(r, nil, fmt.Errorf("%w: %w", errNoWindow, err))
	}
	req.Header.Set("User-Agent", c.userAgent)
	a, err := (&call{request: r, client: c}).send(req, r)
	switch {
	case err != nil:
		return nil, c.problem(r, nil, err)
	case a.status >= 400:
		return nil, c.problem(r, a, answerProblem(a, r.name))
	case a.status != http.StatusOK:
		return nil, c.problem(r, a, fmt.Errorf("%w: status %d is not the one of RFC 9773", errNoWindow, a.status))
	}
	info, err := parseRenewalInfo(a)
	if err != nil {
		return nil, c.problem(r, a, fmt.Errorf("%w: %w", errNoWindow, err))
	}
	return info, nil
}

// parseRenewalInfo checks and converts the answer.
func parseRenewalInfo(a *answer) (*RenewalInfo, error) {
	var w wireRenewalInfo
	if err := decode(a.body, &w); err != nil {
		return nil, err
	}
	info := &RenewalInfo{Start: w.SuggestedWindow.Start.UTC(), End: w.SuggestedWindow.End.UTC(), Explanation: explanation(string(w.ExplanationURL))}
	switch {
	case w.SuggestedWindow.Start.IsZero() || w.SuggestedWindow.End.IsZero():
		return nil, errors.New("the suggested window is missing")
	case !info.End.After(info.Start):
		return nil, fmt.Errorf("the suggested window ends at %s, not after its start", info.End.Format(time.RFC3339))
	}
	if wait, ok := retryAfter(a.header, a.date()); ok {
		info.RetryAfter = min(max(wait, leastPause), mostPause)
	}
	return info, nil
}

// explanation returns a sanitised URL if it is one that people can be shown, else nothing.
func explanation(raw string) string {
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return ""
	}
	return raw
}

// validCertID reports whether id has the form of RFC 9773 §4.1, so that it fits into a URL.
func validCertID(id string) bool {
	key, serial, ok := strings.Cut(id, ".")
	return ok && key != "" && serial != "" && len(id) <= maxCertID && !strings.ContainsFunc(key+serial, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	})
}

// LastingRenewalError reports whether an error of Client.RenewalInfo is one that
// asking again within minutes will not mend (RFC 9773 §4.3.3): a refusal, an
// answer that makes no sense, a name that cannot be resolved, a port that nobody
// listens on. The others are timeouts, broken connections, 5xx and rate limits.
func LastingRenewalError(err error) bool {
	p, ok := errors.AsType[*Problem](err)
	if !ok {
		return false
	}
	_, unresolved := errors.AsType[*net.DNSError](err)
	switch {
	case p.Class == ClassWait || p.Status >= 500:
		return false
	case p.Class == ClassOperator, errors.Is(err, errNoWindow), unresolved, errors.Is(err, syscall.ECONNREFUSED):
		return true
	}
	return p.Status >= 300 || p.Status >= 200 && p.Operation == "directory"
}
