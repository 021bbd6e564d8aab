package daemon

import (
	"context"
	"errors"
	"fmt"

	"certd/issue"
	"certd/plan"
	"certd/state"
)

// A made certificate is accepted and on disk, and not live yet.
type made struct {
	*issue.Certificate
	client *caClient
	id     string // state's
}

// obtain gets the certificate of an Order or Resume, publishes it, and keeps
// what became of the attempt.
func (p *pass) obtain(ctx context.Context, a plan.Action) error {
	got, err := p.issue(ctx, a)
	if err != nil {
		p.saveFailure(ctx, a, err)
		return err
	}
	// From here on it is a success, even where something stands in the way of a
	// live link: the next pass finds the certificate and links it.
	err = p.publish(a.Links, got.id)
	if closeErr := p.Store.CloseOrder(got.Open); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("forget finished order: %w", closeErr))
	}
	return errors.Join(err, p.saveSuccess(a, got.client))
}

// issue asks the CAs of a for the certificate.
func (p *pass) issue(ctx context.Context, a plan.Action) (*made, error) {
	if err := p.checkTarget(p.targets[a.Target]); err != nil {
		return nil, err
	}
	return p.try(ctx, a, a.CA)
}

// try asks one CA for the certificate, and stores it.
func (p *pass) try(ctx context.Context, a plan.Action, directory string) (*made, error) {
	client, err := p.clients.get(ctx, directory)
	if err != nil {
		return nil, err
	}
	solvers, err := p.solvers.forTarget(p.targets[a.Target], client)
	if err != nil {
		return nil, err
	}
	var issuer Issuer = &issue.Issuer{Client: client.Client, Solvers: solvers, Journal: p.Store, Keys: p.Store,
		Progress: func(s issue.Step) { p.count.step(client.name, s.Target, s.Step); p.step(s) }, Timeout: p.OrderTimeout,
		Authorized: p.count.authorized(client.name)}
	cert, err := issuer.Issue(ctx, p.request(client, a))
	problem := problemOf(err)
	if problem != nil && problem.CA == "" {
		problem.CA = client.name // of a failure on this side, such as the self-test's
	}
	if problem != nil && problem.Type == "accountDoesNotExist" {
		err = errors.Join(err, p.clients.forget(client)) // the next attempt looks the account up by its key
	}
	if err != nil {
		return nil, err
	}
	if cert.Notice != "" {
		p.Log.Warn("preferred chain not available", "target", a.Target, "err", cert.Notice)
	}
	if cert.CleanUp != nil {
		p.Log.Warn("challenge not cleaned up", "target", a.Target, "err", cert.CleanUp.Error())
	}
	p.count.step(client.name, a.Target, "install")
	id, err := p.store(a, client, cert)
	if err != nil {
		return nil, err
	}
	return &made{Certificate: cert, client: client, id: id}, nil
}

// store makes an accepted certificate durable.
func (p *pass) store(a plan.Action, client *caClient, cert *issue.Certificate) (id string, err error) {
	id, err = p.Store.Publish(state.NewCertificate{
		URL: cert.Open.URL, Directory: client.directory, Account: client.accountID, KeyID: cert.KeyID,
		Cert: cert.CertPEM, Chain: cert.ChainPEM, Profile: cert.Open.Profile, Target: a.Target, Reason: cert.Open.Reason,
		Names: cert.Open.Names, NotBefore: cert.Leaf.NotBefore.UTC(), NotAfter: cert.Leaf.NotAfter.UTC(),
		Files: state.Files(p.targets[a.Target].Files),
	})
	if err != nil {
		return "", fmt.Errorf("store certificate: %w", err)
	}
	return id, nil
}

func (p *pass) step(s issue.Step) {
	if p.Progress == nil {
		return
	}
	p.mu.Lock()
	progress := Progress{Done: p.done, Total: p.total, Step: s}
	p.mu.Unlock()
	p.Progress(progress)
}
