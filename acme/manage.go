package acme

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	xacme "golang.org/x/crypto/acme"
)

// UpdateAccount replaces the contacts of the account (RFC 8555 §7.3.2): URLs such
// as "mailto:ops@example.com"; none means that the CA is to forget those it has.
// It returns the account as the CA has it then: some CAs keep no contacts.
func (c *Client) UpdateAccount(ctx context.Context, contacts []string) (*Account, error) {
	r := request{name: "account update", op: "account", repeat: true}
	if len(contacts) == 0 {
		r.members = map[string]any{"contact": []string{}} // the library leaves an empty list out
	}
	var account *Account
	err := c.asAccount(ctx, r, func(ctx context.Context, x *xacme.Client) error {
		_, err := x.UpdateReg(ctx, &xacme.Account{Contact: contacts})
		return err
	}, func(a *answer) (err error) {
		account, err = c.parseAccount(a, c.KID())
		return err
	})
	if err != nil {
		return nil, err
	}
	return account, nil
}

// Deactivate ends the account (RFC 8555 §7.3.6), for good: neither it nor its key
// can be used at this CA again. Its certificates stay valid, and can still be
// revoked by their own keys.
func (c *Client) Deactivate(ctx context.Context) error {
	r := request{name: "account deactivation", op: "account", repeat: true}
	return c.asAccount(ctx, r, func(ctx context.Context, x *xacme.Client) error {
		return x.DeactivateReg(ctx)
	}, func(a *answer) error {
		var w wireAccount
		if err := decode(a.body, &w); err != nil {
			return err
		}
		if w.Status != StatusDeactivated {
			return fmt.Errorf("the account is still %q", clip(string(w.Status), 50))
		}
		return nil
	})
}

// asAccount makes a call to the account's own URL, signed by it.
func (c *Client) asAccount(ctx context.Context, r request, f func(context.Context, *xacme.Client) error, read func(*answer) error) error {
	if err := c.prepare(ctx, r); err != nil {
		return err
	}
	return c.signed(ctx, r, c.KID(), f, read)
}

// Rollover makes next the key of the account (RFC 8555 §7.3.5). It must be durable
// before: once the CA has it, no other key leads to the account. From then on this
// client is of no use any more; make one with the new key. After an error
// [Client.FindAccount] of a client with the new key tells whether the CA has it
// nevertheless.
func (c *Client) Rollover(ctx context.Context, next crypto.Signer) error {
	r := request{name: "keyChange", op: "account"}
	err := checkKey(next)
	if err == nil && next == nil {
		err = errors.New("there is none")
	}
	if err != nil {
		return c.misconfigured("new account key", err)
	}
	if err := c.prepare(ctx, r); err != nil {
		return err
	}
	d, err := c.loadDirectory(ctx)
	if err != nil {
		return err
	}
	if !d.keyChange {
		return c.problem(r, nil, &Problem{Class: ClassOperator, Detail: "the CA does not offer to change an account's key"})
	}
	return c.do(ctx, r, func(ctx context.Context, x *xacme.Client) error {
		return x.AccountKeyRollover(ctx, next)
	}, func(*answer) error { return nil })
}
