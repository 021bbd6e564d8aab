package acme

import (
	"context"
	"errors"
	"fmt"

	xacme "golang.org/x/crypto/acme"
)

const maxContacts = 50

// wireAccount is RFC 8555 §7.1.2.
type wireAccount struct {
	Status  Status `json:"status"`
	Contact []text `json:"contact"`
	Orders  string `json:"orders"`
}

// Register makes an account for the key (RFC 8555 §7.3), or finds the one there
// is. The caller has agreed to the terms of service, Directory.Terms. contacts
// are URLs such as "mailto:ops@example.com" and may be empty; eab is nil for CAs
// that want no external account binding (§7.3.4). From then on the client acts
// as this account.
func (c *Client) Register(ctx context.Context, contacts []string, eab *EAB) (*Account, error) {
	want := &xacme.Account{Contact: contacts}
	if eab != nil {
		if eab.KeyID == "" || len(eab.HMAC) == 0 {
			return nil, c.misconfigured("external account binding", errors.New("it needs both the key ID and the HMAC key"))
		}
		want.ExternalAccountBinding = &xacme.ExternalAccountBinding{KID: eab.KeyID, Key: eab.HMAC}
	}
	return c.newAccount(ctx, func(ctx context.Context, x *xacme.Client) error {
		_, err := x.Register(ctx, want, xacme.AcceptTOS)
		if errors.Is(err, xacme.ErrAccountAlreadyExists) {
			return nil
		}
		return err
	})
}

// FindAccount looks up the account of the key (RFC 8555 §7.3.1) and makes the
// client act as that. The error wraps ErrNoAccount if the CA has none.
func (c *Client) FindAccount(ctx context.Context) (*Account, error) {
	a, err := c.newAccount(ctx, func(ctx context.Context, x *xacme.Client) error {
		_, err := x.GetReg(ctx, "")
		return err
	})
	if p, ok := errors.AsType[*Problem](err); ok && p.Type == "accountDoesNotExist" {
		p.Err = ErrNoAccount
	}
	return a, err
}

// newAccount makes a request of newAccount, signed by the key itself.
func (c *Client) newAccount(ctx context.Context, f func(context.Context, *xacme.Client) error) (*Account, error) {
	r := request{name: "newAccount", op: "account", repeat: true}
	if c.key == nil {
		return nil, c.problem(r, nil, &Problem{Class: ClassOperator, Detail: "there is no account key to sign with"})
	}
	if _, err := c.loadDirectory(ctx); err != nil {
		return nil, err
	}
	var account *Account
	err := c.do(ctx, r, f, func(a *answer) error {
		url, err := c.origin.resolve("account URL", a.url, a.header.Get("Location"))
		if err == nil {
			account, err = c.parseAccount(a, url)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	c.account.set(account.URL)
	return account, nil
}

// parseAccount checks and converts an account object, that of the account at url.
func (c *Client) parseAccount(a *answer, url string) (*Account, error) {
	var w wireAccount
	if err := decode(a.body, &w); err != nil {
		return nil, err
	}
	switch w.Status {
	case StatusValid, "": // the URL is all that is needed
	case StatusDeactivated, StatusRevoked:
		return nil, &Problem{Type: "unauthorized", Class: ClassOperator, Detail: fmt.Sprintf("the account %s is %s; make another with a new key", clip(url, 200), w.Status)}
	default:
		return nil, fmt.Errorf("unknown account status %q", clip(string(w.Status), 50))
	}
	if len(w.Contact) > maxContacts {
		return nil, fmt.Errorf("%d contacts, more than %d", len(w.Contact), maxContacts)
	}
	account := &Account{URL: url, Status: StatusValid}
	for _, contact := range w.Contact {
		account.Contacts = append(account.Contacts, string(contact))
	}
	if w.Orders != "" {
		var err error
		if account.OrdersURL, err = c.origin.resolve("orders URL", a.url, w.Orders); err != nil {
			return nil, err
		}
	}
	return account, nil
}
