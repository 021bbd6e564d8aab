package acme

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	xacme "golang.org/x/crypto/acme"
)

const (
	maxChallenges    = 100 // read of one authorization
	maxChallengeType = 64  // bytes
	minToken         = 22  // characters: 128 bits (RFC 8555 §8.1)
	maxToken         = 128
	maxIssuerDomains = 10  // of a dns-persist-01 challenge
	maxDomainName    = 253 // characters
)

// wireChallenge is RFC 8555 §7.1.5.
type wireChallenge struct {
	Type   string          `json:"type"`
	URL    string          `json:"url"`
	Status Status          `json:"status"`
	Token  json.RawMessage `json:"token"`
	Error  *wireProblem    `json:"error"`

	IssuerDomainNames json.RawMessage `json:"issuer-domain-names"` // of dns-persist-01
}

// ValidToken reports whether s is a challenge token (RFC 8555 §8.1): 22 to 128
// characters of base64url. Such a token is harmless as a file name.
func ValidToken(s string) bool {
	return len(s) >= minToken && len(s) <= maxToken && isBase64URL(s)
}

// Answer tells the CA to validate ch now (RFC 8555 §7.5.1). WaitAuthorization
// tells how that ended.
func (c *Client) Answer(ctx context.Context, ch Challenge) error {
	_, err := c.AnswerPollAt(ctx, ch)
	return err
}

// AnswerPollAt is Answer. It returns when the CA wants to be asked about the
// authorization (Retry-After, RFC 8555 §8.2), one to thirty seconds from its
// answer, or when to do so if it did not say; zero if it has judged already.
func (c *Client) AnswerPollAt(ctx context.Context, ch Challenge) (pollAt time.Time, err error) {
	err = c.signed(ctx, request{name: "challenge", op: "challenge"}, ch.URL, func(ctx context.Context, x *xacme.Client) error {
		_, err := x.Accept(ctx, &xacme.Challenge{URI: ch.URL})
		return err
	}, func(a *answer) error {
		var now struct {
			Status text `json:"status"`
		}
		if err := checkObject(a.body); err != nil {
			return err
		}
		_ = json.Unmarshal(a.body, &now) // without a status, it goes on
		if s := Status(now.Status); s != StatusValid && s != StatusInvalid {
			pollAt = c.lookAt(a)
		}
		return nil
	})
	return pollAt, err
}

// usual reports whether we know what a challenge of this type looks like.
func usual(challengeType string) bool {
	switch challengeType {
	case "http-01", "dns-01", "tls-alpn-01":
		return true
	}
	return false
}

// parseChallenge checks and converts a challenge object found in the answer of
// base. Challenges of unknown types may look like anything: what is not usable of
// them is left out, and nil is returned if nothing is. A token that is not valid,
// or a foreign URL, in a usual challenge is an error.
func (c *Client) parseChallenge(raw json.RawMessage, base string) (*Challenge, error) {
	var w wireChallenge
	err := json.Unmarshal(raw, &w)
	known := usual(w.Type)
	if err == nil && (w.Type == "" || len(w.Type) > maxChallengeType || Sanitize(w.Type) != w.Type) {
		err = fmt.Errorf("challenge type %q", clip(w.Type, maxChallengeType))
	}
	if err == nil {
		w.URL, err = c.origin.resolve("challenge URL", base, w.URL)
	}
	if w.Status == "" {
		w.Status = StatusPending
	}
	if err == nil && !challengeStatus(w.Status) {
		err = fmt.Errorf("unknown challenge status %q", clip(string(w.Status), 50))
	}
	if err != nil {
		if known {
			return nil, err
		}
		return nil, nil
	}
	ch := &Challenge{Type: w.Type, URL: w.URL, Status: w.Status, Problem: w.Error.embedded()}
	if ch.Type == "dns-persist-01" {
		ch.IssuerDomains = issuerDomains(w.IssuerDomainNames)
	}
	if ch.Token, err = challengeToken(w.Token); err != nil && known {
		return nil, err
	}
	if ch.Token != "" && c.key != nil {
		if ch.KeyAuthorization, err = c.KeyAuthorization(ch.Token); err != nil {
			return nil, err
		}
	}
	return ch, nil
}

// issuerDomains reads the names a CA goes by in dns-persist-01 records: none if
// they are malformed, since the challenge cannot be used then.
func issuerDomains(raw json.RawMessage) []string {
	var names []string
	if len(raw) == 0 || json.Unmarshal(raw, &names) != nil || len(names) > maxIssuerDomains {
		return nil
	}
	for i, name := range names {
		name = strings.ToLower(name)
		odd := func(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '.') }
		if name == "" || len(name) > maxDomainName || strings.ContainsFunc(name, odd) {
			return nil
		}
		names[i] = name
	}
	return names
}

// challengeStatus reports whether s is a state of challenges (RFC 8555 §7.1.6).
func challengeStatus(s Status) bool {
	return s == StatusPending || s == StatusProcessing || s == StatusValid || s == StatusInvalid
}

// challengeToken reads a token, which may be absent.
func challengeToken(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	var token string
	if json.Unmarshal(raw, &token) != nil || !ValidToken(token) {
		return "", fmt.Errorf("a challenge token that is not base64url of %d to %d characters", minToken, maxToken)
	}
	return token, nil
}
