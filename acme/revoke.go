package acme

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"

	xacme "golang.org/x/crypto/acme"
)

// A Reason is why a certificate is revoked (RFC 5280 §5.3.1); zero is unspecified.
// CAs take some of them only.
type Reason int

// The reasons that matter to who revokes a certificate of a server.
const (
	ReasonUnspecified   Reason = 0
	ReasonKeyCompromise Reason = 1
	ReasonSuperseded    Reason = 4
)

// reasons are the names of RFC 5280 by number; 7 is not used.
func reasons() []string {
	return []string{"unspecified", "keyCompromise", "cACompromise", "affiliationChanged", "superseded", "cessationOfOperation",
		"certificateHold", "", "removeFromCRL", "privilegeWithdrawn", "aACompromise"}
}

// Reasons returns the names of all reasons, as RFC 5280 has them.
func Reasons() []string {
	var names []string
	for _, name := range reasons() {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// ParseReason reads a reason by its name, in whatever case and with or without
// hyphens ("key-compromise"), or by its number.
func ParseReason(s string) (Reason, error) {
	plain := strings.ReplaceAll(s, "-", "")
	for n, name := range reasons() {
		if name != "" && (strings.EqualFold(plain, name) || s == strconv.Itoa(n)) {
			return Reason(n), nil
		}
	}
	return 0, fmt.Errorf("reason %q: want %s, or the number of one", clip(s, 50), strings.Join(Reasons(), ", "))
}

// String is the reason's name in RFC 5280; its number if it has none.
func (r Reason) String() string {
	if names := reasons(); r >= 0 && int(r) < len(names) && names[r] != "" {
		return names[r]
	}
	return strconv.Itoa(int(r))
}

// Revoke revokes the certificate with this DER encoding (RFC 8555 §7.6), as the
// account: it must have ordered it, or be authorized for all of its names. That it
// is revoked already is no error.
func (c *Client) Revoke(ctx context.Context, der []byte, reason Reason) error {
	r := request{name: "revokeCert", op: "revoke", repeat: true}
	if err := c.prepare(ctx, r); err != nil {
		return err
	}
	return c.revoke(ctx, r, nil, der, reason)
}

// RevokeWithKey is Revoke by the certificate's own key, for which no account is
// needed. CAs take it for a proof that the key has leaked, whatever the reason.
func (c *Client) RevokeWithKey(ctx context.Context, key crypto.Signer, der []byte, reason Reason) error {
	r := request{name: "revokeCert", op: "revoke", repeat: true}
	leaf, err := x509.ParseCertificate(der)
	if err == nil && key == nil {
		err = errors.New("there is none")
	}
	if err == nil {
		pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !pub.Equal(leaf.PublicKey) {
			err = errors.New("it is not the certificate's")
		}
	}
	if err == nil {
		err = checkKey(key)
	}
	if err != nil {
		return c.misconfigured("certificate key", err)
	}
	return c.revoke(ctx, r, key, der, reason)
}

// revoke asks for the revocation, signed by key or, if that is nil, the account.
func (c *Client) revoke(ctx context.Context, r request, key crypto.Signer, der []byte, reason Reason) error {
	d, err := c.loadDirectory(ctx)
	if err != nil {
		return err
	}
	if !d.revokeCert {
		return c.problem(r, nil, &Problem{Class: ClassOperator, Detail: "the CA does not offer to revoke certificates"})
	}
	return c.do(ctx, r, func(ctx context.Context, x *xacme.Client) error {
		if _, err := x.Discover(ctx); err != nil {
			return err
		}
		return x.RevokeCert(ctx, key, der, xacme.CRLReasonCode(reason))
	}, func(*answer) error { return nil }) // alreadyRevoked is no error to the library
}
