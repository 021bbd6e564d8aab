package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"certd/acme"
	"certd/config"
	"certd/issue"
	"certd/state"
)

// clients holds one client per CA for a pass, so that the directory and the
// account are looked up once and not for each target.
type clients struct {
	p  *pass
	mu sync.Mutex // guards byCA
	// byCA is keyed by directory URL; each entry is made by the first target that needs it.
	byCA map[string]func() (*caClient, error)
}

// A caClient is a CA and the account it is talked to with.
type caClient struct {
	*acme.Client
	name      string // nickname
	directory string
	accountID string         // state's
	kid       string         // account URL
	slots     *gate          // of orders that may be open at once
	anchors   *x509.CertPool // of ca-bundle; nil without one
}

func newClients(p *pass) *clients {
	return &clients{p: p, byCA: make(map[string]func() (*caClient, error))}
}

// get returns the client for a CA, by directory URL or nickname. The account is
// found, or registered on first use; a failure is that of every target in this pass.
func (c *clients) get(ctx context.Context, nameOrURL string) (*caClient, error) {
	ca, err := c.p.view.Settings.CA(nameOrURL)
	if err != nil {
		return nil, &acme.Problem{CA: nameOrURL, Class: acme.ClassOperator, Err: err}
	}
	c.mu.Lock()
	connect, ok := c.byCA[ca.Directory]
	if !ok {
		connect = sync.OnceValues(func() (*caClient, error) { return c.connect(ctx, ca) })
		c.byCA[ca.Directory] = connect
	}
	c.mu.Unlock()
	return connect()
}

func (c *clients) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, connect := range c.byCA {
		if client, err := connect(); err == nil {
			client.Close()
		}
	}
}

func (c *clients) connect(ctx context.Context, ca config.CA) (*caClient, error) {
	bundle, err := ca.RootsPEM()
	if err != nil {
		return nil, &acme.Problem{CA: ca.Name, Operation: "account", Class: acme.ClassOperator, Err: err}
	}
	defer c.p.account(ca.Directory)()
	account, err := c.p.Store.Account(ca.Directory)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		key, err := newKey(config.KeyType{})
		if err != nil {
			return nil, fmt.Errorf("make account key: %w", err)
		}
		account = &state.Account{Directory: ca.Directory, Key: key}
	case err != nil:
		return nil, &acme.Problem{CA: ca.Name, Operation: "account", Class: acme.ClassOperator, Err: fmt.Errorf("read account: %w", err)}
	default:
		if account, err = c.settle(ctx, ca, account); err != nil {
			return nil, err
		}
	}
	client, err := acme.New(acme.Options{Name: ca.Name, Directory: ca.Directory, Key: account.Key, KID: account.URL,
		RootsPEM: bundle, UserAgent: c.p.UserAgent, Observe: c.p.observe, Timeout: c.p.RequestTimeout})
	if err != nil {
		return nil, &acme.Problem{CA: ca.Name, Operation: "account", Class: acme.ClassOperator, Err: err}
	}
	if account.URL == "" {
		if err := c.account(ctx, ca, client, account); err != nil {
			client.Close()
			return nil, err
		}
	}
	var anchors *x509.CertPool
	if bundle != nil {
		anchors = x509.NewCertPool()
		anchors.AppendCertsFromPEM(bundle)
	}
	return &caClient{Client: client, name: ca.Name, directory: ca.Directory, accountID: account.ID, kid: account.URL,
		anchors: anchors, slots: c.p.gate(ca.Directory, c.p.view.Settings.Parallel)}, nil
}

// account finds the CA's account for a key that is on disk without its URL (as
// acmetool left it), or registers a new one. The key is durable before the CA
// hears of it.
func (c *clients) account(ctx context.Context, ca config.CA, client *acme.Client, a *state.Account) error {
	known := a.ID != ""
	if known {
		found, err := client.FindAccount(ctx)
		if err == nil {
			return c.keep(a, found)
		}
		if !errors.Is(err, acme.ErrNoAccount) {
			return err
		}
	}
	directory, err := client.Directory(ctx)
	if err != nil {
		return err
	}
	if c.p.Answers.Refused {
		return &acme.Problem{CA: ca.Name, Operation: "account", Class: acme.ClassOperator,
			Detail: "the response file does not agree to the terms of service at " + directory.Terms}
	}
	eab, err := externalAccount(ca, directory)
	if err != nil {
		return &acme.Problem{CA: ca.Name, Operation: "account", Class: acme.ClassOperator, Err: err}
	}
	if err := c.p.Store.SaveAccount(a); err != nil {
		return fmt.Errorf("store account key: %w", err)
	}
	var contacts []string
	if c.p.Answers.Contact != "" {
		contacts = []string{"mailto:" + c.p.Answers.Contact}
	}
	c.p.Log.Info("registering an account, which accepts the CA's terms of service", "ca", ca.Name, "terms", directory.Terms)
	made, err := client.Register(ctx, contacts, eab)
	if err != nil {
		return err
	}
	a.EABKeyID, a.Terms = ca.EABKeyID, directory.Terms
	if err := c.keep(a, made); err != nil {
		return err
	}
	c.p.raise(state.Event{Event: "account-created", Names: []string{}, Detail: made.URL})
	return nil
}

func (c *clients) keep(a *state.Account, found *acme.Account) error {
	a.URL, a.Contacts, a.OrdersURL = found.URL, found.Contacts, found.OrdersURL
	if err := c.p.Store.SaveAccount(a); err != nil {
		return fmt.Errorf("store account: %w", err)
	}
	return nil
}

// forget drops the URL of an account that the CA does not know any more, so that
// the next pass looks for it by its key, and registers it again if need be.
func (c *clients) forget(client *caClient) error {
	account, err := c.p.Store.Account(client.directory)
	if err != nil {
		return fmt.Errorf("read account: %w", err)
	}
	if account.URL != client.kid {
		return nil // another target was faster
	}
	account.URL, account.OrdersURL = "", ""
	if err := c.p.Store.SaveAccount(account); err != nil {
		return fmt.Errorf("store account: %w", err)
	}
	return nil
}

func externalAccount(ca config.CA, d *acme.Directory) (*acme.EAB, error) {
	if ca.EABKeyID == "" {
		if d.EABRequired {
			return nil, fmt.Errorf("this CA wants an external account binding: set eab.kid and eab.hmac-file of %q in conf/certd.yaml", ca.Name)
		}
		return nil, nil
	}
	kid, hmac, err := ca.EAB()
	if err != nil {
		return nil, err
	}
	return &acme.EAB{KeyID: kid, HMAC: hmac}, nil
}

// known reports whether there is an account at the CA with this directory, so
// that none is made only to give something up.
func (c *clients) known(directory string) bool {
	account, err := c.p.Store.Account(directory)
	return err == nil && account.URL != ""
}

// giveUp ends an order at its CA and in the journal (RFC 8555 §7.5.2), and
// removes what a run that was killed presented for it: as its target says, or
// conf/target if it has none any more.
func (c *clients) giveUp(ctx context.Context, open acme.OpenOrder) error {
	client, err := c.get(ctx, open.Directory)
	if err != nil {
		return err
	}
	t := c.p.targets[open.Target]
	if t == nil {
		gone := *c.p.view.Targets.Default
		gone.File, t = open.Target, &gone
	}
	solvers, err := c.p.solvers.forTarget(t, client)
	if err != nil {
		return err
	}
	issuer := &issue.Issuer{Client: client.Client, Solvers: solvers, Journal: c.p.Store, Keys: c.p.Store}
	return issuer.GiveUp(ctx, open)
}
