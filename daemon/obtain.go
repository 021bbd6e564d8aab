package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"certd/config"
	"certd/issue"
	"certd/limit"
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
// what became of the attempt. If no CA may be asked now, that is no attempt, and
// the error wraps a *heldError. ca is the nickname of the CA that was asked last,
// next when the target is due again, as far as is known.
func (p *pass) obtain(ctx context.Context, a plan.Action) (ca string, next time.Time, err error) {
	got, ca, err := p.issue(ctx, a)
	if err != nil {
		if !heldBack(err) {
			next = p.saveFailure(ctx, a, err)
		}
		return ca, next, err
	}
	// From here on it is a success, even where something stands in the way of a
	// live link: the next pass finds the certificate and links it.
	err = p.publish(a.Links, got.id, explanation(a))
	p.poller.issued(a, got)
	if closeErr := p.Store.CloseOrder(got.Open); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("forget finished order: %w", closeErr))
	}
	next = plan.RenewAt(got.Leaf.NotBefore, got.Leaf.NotAfter, p.targets[a.Target].Margin)
	return ca, next, errors.Join(err, p.saveSuccess(a, got.client))
}

// issue asks the CAs of a for the certificate, one after the other as long as
// another one may do better.
func (p *pass) issue(ctx context.Context, a plan.Action) (got *made, ca string, err error) {
	if err := p.checkTarget(ctx, a); err != nil {
		return nil, p.view.nickname(a.CA), err
	}
	var failed tries
	for i, ask := range a.Asks {
		begun := time.Now()
		got, blame, err := p.try(ctx, a, ask)
		ca = ask.CA.Name
		if err == nil {
			return got, ca, nil
		}
		failed = append(failed, err)
		if ctx.Err() != nil || i == len(a.Asks)-1 || !another(a, blame, err) {
			break
		}
		if !isHeld(err) {
			p.count.issued(ctx, ca, a, Result{Err: err, Took: time.Since(begun)})
		}
		p.Log.Warn("asking the next CA", "target", a.Target, "next", a.Asks[i+1].CA.Name, "err", firstLine(err).Error())
	}
	if len(failed) == 1 {
		return nil, ca, failed[0]
	}
	return nil, ca, failed
}

// another reports whether the next CA is asked after a failure: where this one
// does not work, or not for us, or would have us wait longer than the certificate
// that is there may last.
func another(a plan.Action, blame issue.Blame, err error) bool {
	switch blame {
	case issue.BlameCA, issue.BlameRefusal:
		return true
	case issue.BlameLimit:
		return problemOf(err).RetryAt.After(a.Latest)
	}
	return false
}

// try asks one CA for the certificate, and stores it. blame says whose failure
// an error is.
func (p *pass) try(ctx context.Context, a plan.Action, ask limit.Ask) (got *made, blame issue.Blame, err error) {
	leave, err := p.ledger.enter(ctx, a, ask.CA)
	if err != nil {
		return nil, issue.BlameCA, err
	}
	defer leave()
	if err = p.trial(ctx, a, ask.CA); err == nil {
		got, err = p.order(ctx, a, ask)
		p.ledger.judge(ctx, ask.CA, err)
	}
	if blame = issue.BlameOf(err); isHeld(err) {
		blame = issue.BlameLimit
	}
	if problem := problemOf(err); problem != nil && problem.CA == "" {
		problem.CA = ask.CA.Name // of a failure on this side, such as the self-test's
	}
	return got, blame, err
}

// order orders the certificate, or goes on with the order there is, and stores it.
func (p *pass) order(ctx context.Context, a plan.Action, ask limit.Ask) (*made, error) {
	client, err := p.clients.get(ctx, ask.CA.Directory)
	if err != nil {
		return nil, err
	}
	leave, err := client.slots.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	issuer, err := p.issuer(p.targets[a.Target], client)
	if err != nil {
		return nil, err
	}
	profile, err := p.profile(ctx, client, a)
	if err != nil {
		return nil, err
	}
	journal := &closings{Journal: p.Store}
	issuer.Journal = journal
	issuer.Replaced = func(outcome, why string) {
		if outcome == issue.ReplaceRefused {
			p.ledger.returned(ask, 1)
		}
		ask.ARI = ask.ARI && outcome != issue.ReplaceRefused
		p.replaced(client, a, outcome, why)
	}
	req := p.request(client, a, profile)
	ask.ARI = ask.ARI && req.Open.Replaces != "" // what replaces nothing is like any other order to the CA
	req.Admit = func() error { return p.ledger.admit(a, ask) }
	cert, err := issuer.Issue(ctx, req)
	p.ledger.returned(ask, int(journal.n.Load()))
	if err != nil {
		p.ledger.settle(a, ask, err)
		p.count.refused(ask.CA.Name, err)
		if problem := problemOf(err); problem != nil && problem.Type == "accountDoesNotExist" {
			err = errors.Join(err, p.clients.forget(client)) // the next attempt looks the account up by its key
		}
		return nil, err
	}
	if cert.Notice != "" {
		msg := "preferred chain not available"
		if req.Chain == "" {
			msg = "chain not accepted"
		}
		p.Log.Warn(msg, "target", a.Target, "err", cert.Notice)
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

// issuer obtains certificates for a target from a CA.
func (p *pass) issuer(t *config.Target, client *caClient) (*issue.Issuer, error) {
	solvers, err := p.solvers.forTarget(t, client)
	if err != nil {
		return nil, err
	}
	return &issue.Issuer{Client: client.Client, Solvers: solvers, Journal: p.Store, Keys: p.Store,
		Progress: func(s issue.Step) { p.count.step(client.name, s.Target, s.Step); p.step(s) }, Timeout: p.OrderTimeout,
		Authorized: p.count.authorized(client.name), Unusable: p.solvers.ways(t).Unusable}, nil
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
	progress := Progress{Done: p.finished, Total: p.total, Step: s}
	p.mu.Unlock()
	p.Progress(progress)
}
