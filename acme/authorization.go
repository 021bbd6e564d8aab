package acme

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	xacme "golang.org/x/crypto/acme"
)

// wireAuthorization is RFC 8555 §7.1.4.
type wireAuthorization struct {
	Identifier wireIdentifier    `json:"identifier"`
	Status     Status            `json:"status"`
	Expires    time.Time         `json:"expires"`
	Wildcard   bool              `json:"wildcard"`
	Challenges []json.RawMessage `json:"challenges"`
}

// Authorization reads the authorization at url (RFC 8555 §7.5). One that is no
// longer of use is no error here; see Authorization.Status.
func (c *Client) Authorization(ctx context.Context, url string) (*Authorization, error) {
	z, _, err := c.authorization(ctx, url)
	return z, err
}

// authorization is Authorization, and the answer it came with.
func (c *Client) authorization(ctx context.Context, url string) (z *Authorization, raw *answer, err error) {
	err = c.postAsGet(ctx, request{name: "authorization", op: "authz"}, url, func(a *answer) (err error) {
		raw = a
		z, err = c.parseAuthorization(a, url)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return z, raw, nil
}

// DeactivateAuthorization gives the authorization at url up (RFC 8555 §7.5.2),
// so that it no longer counts as pending.
func (c *Client) DeactivateAuthorization(ctx context.Context, url string) error {
	r := request{name: "deactivate authorization", op: "authz", repeat: true}
	return c.signed(ctx, r, url, func(ctx context.Context, x *xacme.Client) error {
		return x.RevokeAuthorization(ctx, url)
	}, func(*answer) error { return nil })
}

// parseAuthorization checks and converts an authorization object.
func (c *Client) parseAuthorization(a *answer, url string) (*Authorization, error) {
	var w wireAuthorization
	if err := decode(a.body, &w); err != nil {
		return nil, err
	}
	switch w.Status {
	case StatusPending, StatusValid, StatusInvalid, StatusDeactivated, StatusExpired, StatusRevoked:
	default:
		return nil, fmt.Errorf("unknown authorization status %q", clip(string(w.Status), 50))
	}
	id, err := w.Identifier.clean()
	if err != nil {
		return nil, err
	}
	if len(id.Value) > 2 && id.Value[:2] == "*." {
		return nil, fmt.Errorf("the authorization is for %q instead of the name below with its wildcard flag", id.Value)
	}
	z := &Authorization{URL: url, Status: w.Status, Identifier: id, Wildcard: w.Wildcard, Expires: w.Expires.UTC()}
	for _, raw := range w.Challenges[:min(len(w.Challenges), maxChallenges)] {
		ch, err := c.parseChallenge(raw, a.url)
		if err != nil {
			return nil, err
		}
		if ch == nil {
			continue
		}
		ch.Wildcard = w.Wildcard
		if ch.Problem != nil {
			ch.Problem.CA, ch.Problem.Operation = c.name, "authz"
			ch.Problem.Identifier = id
		}
		z.Challenges = append(z.Challenges, *ch)
	}
	return z, nil
}

// pendingAgain is why the challenge at url failed that is pending again; nil if
// there is none. While the CA tries by itself, it is processing (RFC 8555 §8.2).
func (z *Authorization) pendingAgain(url string) *Problem {
	for _, ch := range z.Challenges {
		if ch.URL == url && ch.Status == StatusPending && ch.Problem != nil {
			p := *ch.Problem
			p.Status, p.Err = cmp.Or(p.Status, http.StatusOK), ErrPendingAgain
			return &p
		}
	}
	return nil
}

// failure is why the authorization can no longer become valid.
func (z *Authorization) failure() *Problem {
	for _, ch := range z.Challenges {
		if ch.Problem != nil {
			p := *ch.Problem
			p.Status = cmp.Or(p.Status, http.StatusOK)
			return &p
		}
	}
	p := &Problem{Status: http.StatusOK, Identifier: z.Identifier, Class: ClassTransient,
		Detail: fmt.Sprintf("the authorization is %s; a new order gets a new one", z.Status)}
	if z.Status == StatusInvalid {
		p.Class = ClassName
		p.Detail = "the name could not be validated; the CA does not say why"
	}
	return p
}
