package daemon

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"certd/acme"
	"certd/config"
	"certd/state"
)

// A CAAccount is the account at one CA, to be changed. Close it when done.
type CAAccount struct {
	State *state.Account // as it is on disk

	ca     config.CA
	c      *clients
	client *acme.Client
}

// OpenAccount finds the account at a CA, and finishes a change of its key that was
// cut off. It makes none: the error wraps fs.ErrNotExist if there is no account on
// disk, and acme.ErrNoAccount if the CA does not know it. The caller holds the
// store's lock.
func OpenAccount(ctx context.Context, o Options, ca config.CA) (*CAAccount, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &pass{Options: o, shift: newShift(), view: &View{Settings: &config.Settings{}, Targets: &config.Targets{}, Snapshot: &state.Snapshot{}}}
	c := newClients(p)
	account, err := o.Store.Account(ca.Directory)
	if err == nil {
		account, err = c.settle(ctx, ca, account)
	}
	if err != nil {
		return nil, fmt.Errorf("account at %s: %w", ca.Name, err)
	}
	a := &CAAccount{State: account, ca: ca, c: c}
	if a.client, err = c.open(ca, account.Key, account.URL); err != nil {
		return nil, err
	}
	if account.URL == "" { // acmetool's
		found, err := a.client.FindAccount(ctx)
		if err == nil {
			err = c.keep(account, found)
		}
		if err != nil {
			a.Close()
			return nil, err
		}
	}
	return a, nil
}

// Close closes the connections to the CA.
func (a *CAAccount) Close() { a.client.Close() }

// open makes a client of a CA for an account key, nil if no account is needed.
func (c *clients) open(ca config.CA, key crypto.Signer, kid string) (*acme.Client, error) {
	bundle, err := ca.RootsPEM()
	if err != nil {
		return nil, &acme.Problem{CA: ca.Name, Operation: "account", Class: acme.ClassOperator, Err: err}
	}
	return acme.New(acme.Options{Name: ca.Name, Directory: ca.Directory, Key: key, KID: kid,
		RootsPEM: bundle, UserAgent: c.p.UserAgent, Observe: c.p.observe, Timeout: c.p.RequestTimeout})
}

// settle finds out which key the CA has if a change of it was cut off, and
// returns the account with that. As long as the CA has the old one, the next one is
// kept all the same: a request of the earlier run may still be under way.
func (c *clients) settle(ctx context.Context, ca config.CA, a *state.Account) (*state.Account, error) {
	if a.Old != nil {
		return c.p.Store.FinishRollover(a.Old)
	}
	if a.Next == nil {
		return a, nil
	}
	has, err := c.tookKey(ctx, ca, a)
	if err != nil {
		return nil, err
	}
	if !has {
		c.p.Log.Warn("a change of the account key that was cut off has not reached the CA; certd account rollover goes on with it", "ca", ca.Name)
		return a, nil
	}
	now, err := c.p.Store.FinishRollover(a)
	if err == nil {
		c.p.Log.Info("the CA has the new account key", "ca", ca.Name, "account", now.ID)
	}
	return now, err
}

// tookKey reports whether the CA has the key that the account was about to get. An
// account that was deactivated since is not found by it either (RFC 8555 §7.3.6);
// but then its old key is that of none.
func (c *clients) tookKey(ctx context.Context, ca config.CA, a *state.Account) (bool, error) {
	has, err := c.hasKey(ctx, ca, a.Next, a.URL)
	if !isType(err, "unauthorized") {
		return has, err
	}
	client, oldErr := c.open(ca, a.Key, "")
	if oldErr != nil {
		return false, err
	}
	defer client.Close()
	if _, oldErr = client.FindAccount(ctx); !errors.Is(oldErr, acme.ErrNoAccount) {
		return false, err
	}
	return true, nil
}

// hasKey reports whether key is that of the account with this URL, to the CA.
func (c *clients) hasKey(ctx context.Context, ca config.CA, key crypto.Signer, url string) (bool, error) {
	client, err := c.open(ca, key, "")
	if err != nil {
		return false, err
	}
	defer client.Close()
	found, err := client.FindAccount(ctx)
	if errors.Is(err, acme.ErrNoAccount) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if found.URL != url {
		return false, &acme.Problem{CA: ca.Name, Operation: "account", Class: acme.ClassOperator,
			Detail: fmt.Sprintf("the key that the account %s was to get is that of another one, %s", url, found.URL)}
	}
	return true, nil
}

// Update replaces the contacts, URLs such as "mailto:ops@example.com"; none
// removes them. State has what the CA kept.
func (a *CAAccount) Update(ctx context.Context, contacts []string) error {
	found, err := a.client.UpdateAccount(ctx, contacts)
	if err != nil {
		return err
	}
	a.State.Contacts = found.Contacts
	if err := a.c.p.Store.SaveAccount(a.State); err != nil {
		return fmt.Errorf("store account: %w", err)
	}
	return nil
}

// Rollover gives the account a new key of this type (RFC 8555 §7.3.5), or goes on
// with one that an earlier run began with. The key is on disk before the CA hears
// of it, and the old one stays until it is known that the CA has the new one.
func (a *CAAccount) Rollover(ctx context.Context, t config.KeyType) error {
	if a.State.Next == nil {
		key, err := newKey(t)
		if err != nil {
			return fmt.Errorf("make account key: %w", err)
		}
		if err := a.c.p.Store.BeginRollover(a.State, key); err != nil {
			return err
		}
	}
	if err := a.client.Rollover(ctx, a.State.Next); err != nil {
		has, lookErr := a.c.tookKey(ctx, a.ca, a.State)
		switch {
		case has:
		case lookErr == nil && refused(err):
			return errors.Join(err, a.c.p.Store.CancelRollover(a.State))
		default:
			return fmt.Errorf("%w; whether the CA has the new key will be found out, both are kept: run certd account rollover again", err)
		}
	}
	now, err := a.c.p.Store.FinishRollover(a.State)
	if err != nil {
		return err
	}
	a.State = now
	return nil
}

// Deactivate ends the account for good (RFC 8555 §7.3.6) and puts it away: the
// next time its CA is needed, another is made. That the CA has deactivated it
// before is no error.
func (a *CAAccount) Deactivate(ctx context.Context) error {
	err := a.client.Deactivate(ctx)
	if isType(err, "unauthorized", "accountDoesNotExist") && a.unusable(ctx) {
		err = nil
	}
	if err != nil {
		return err
	}
	return a.c.p.Store.RetireAccount(a.State)
}

// unusable reports whether the CA says that the account's key leads to none.
func (a *CAAccount) unusable(ctx context.Context) bool {
	client, err := a.c.open(a.ca, a.State.Key, "")
	if err != nil {
		return false
	}
	defer client.Close()
	_, err = client.FindAccount(ctx)
	return errors.Is(err, acme.ErrNoAccount) || isType(err, "unauthorized")
}

// isType reports whether err is a problem of one of these types.
func isType(err error, types ...string) bool {
	problem := problemOf(err)
	for _, typ := range types {
		if problem != nil && problem.Type == typ {
			return true
		}
	}
	return false
}

// refused reports whether the CA has said that it will not do what it was asked
// for, now or later; a network that failed says nothing.
func refused(err error) bool {
	p := problemOf(err)
	return p != nil && p.Status >= 400 && p.Status < 500 && p.Class != acme.ClassWait && p.Type != "badNonce" &&
		p.Status != http.StatusRequestTimeout
}
