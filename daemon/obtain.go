package daemon

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"time"

	"certd/acme"
	"certd/config"
	"certd/issue"
	"certd/plan"
	"certd/state"
)

// obtain gets the certificate of an Order or Resume, publishes it, and keeps
// what became of the attempt.
func (p *pass) obtain(ctx context.Context, a plan.Action) error {
	cert, client, err := p.issue(ctx, a)
	var id string
	if err == nil {
		p.count.step(client.name, a.Target, "install")
		id, err = p.store(a, client, cert)
	}
	if err != nil {
		p.saveFailure(ctx, a, err)
		return err
	}
	// From here on it is a success, even where something stands in the way of a
	// live link: the next pass finds the certificate and links it.
	err = p.publish(a.Links, id)
	if closeErr := p.Store.CloseOrder(cert.Open); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("forget finished order: %w", closeErr))
	}
	return errors.Join(err, p.saveSuccess(a, client))
}

func (p *pass) issue(ctx context.Context, a plan.Action) (*issue.Certificate, *caClient, error) {
	t := p.targets[a.Target]
	client, err := p.clients.get(ctx, a.CA)
	if err != nil {
		return nil, nil, err
	}
	solvers, err := p.solvers.forTarget(t, client)
	if err != nil {
		return nil, client, err
	}
	if err := p.checkKeyID(t); err != nil {
		return nil, client, err
	}
	if err := state.Files(t.Files).Check(); err != nil {
		return nil, client, &acme.Problem{CA: client.name, Class: acme.ClassOperator, Err: fmt.Errorf("desired/%s: %w", t.File, err)}
	}
	key := t.Key
	if key.Algorithm == "" {
		key.Algorithm = "ecdsa"
	}
	req := issue.Request{
		Open: acme.OpenOrder{Directory: client.directory, Account: client.kid, Names: t.RequestNames, Target: t.File,
			Profile: t.Profile, KeyType: key.String(), Reason: string(a.Cause), Created: time.Now().UTC()},
		NewKey:   func() (crypto.Signer, error) { return newKey(key) },
		KeyID:    t.KeyID,
		Chain:    t.Chain,
		Staple:   t.MustStaple,
		SelfTest: t.Challenge.SelfTest,
		Claim:    func(url string) bool { return p.claim(url, t.File) },
	}
	if a.Open != nil {
		req.Open = *a.Open
	}
	intent := p.view.Snapshot.Attempts[a.Target].Ordering
	if a.Open == nil && intent != nil && intent.Directory == client.directory {
		req.Adopt, req.Open.Created = true, intent.Created
	}
	var issuer Issuer = &issue.Issuer{Client: client.Client, Solvers: solvers, Journal: p.Store, Keys: p.Store,
		Progress: func(s issue.Step) { p.count.step(client.name, s.Target, s.Step); p.step(s) }, Timeout: p.OrderTimeout,
		Authorized: p.count.authorized(client.name)}
	cert, err := issuer.Issue(ctx, req)
	if problem := problemOf(err); problem != nil && problem.CA == "" {
		problem.CA = client.name // of a failure on this side, such as the self-test's
	}
	if problem := problemOf(err); problem != nil && problem.Type == "accountDoesNotExist" {
		err = errors.Join(err, p.clients.forget(client)) // the next attempt looks the account up by its key
	}
	if err == nil && cert.Notice != "" {
		p.Log.Warn("preferred chain not available", "target", a.Target, "err", cert.Notice)
	}
	if err == nil && cert.CleanUp != nil {
		p.Log.Warn("challenge not cleaned up", "target", a.Target, "err", cert.CleanUp.Error())
	}
	return cert, client, err
}

// checkKeyID makes sure that the key a target reuses is there before an order is
// spent on it.
func (p *pass) checkKeyID(t *config.Target) error {
	if t.KeyID == "" {
		return nil
	}
	if _, err := p.Store.LoadKey(t.KeyID); err != nil {
		return &acme.Problem{Operation: "finalize", Class: acme.ClassOperator, Err: err,
			Detail: fmt.Sprintf("request.key.id of desired/%s: %v; remove the line for a new key", t.File, err)}
	}
	return nil
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

func (p *pass) saveSuccess(a plan.Action, client *caClient) error {
	err := p.Store.SaveAttempt(state.Attempt{Target: a.Target, Digest: p.targets[a.Target].Digest(), CA: client.directory,
		Account: client.kid, LastAttempt: time.Now().UTC()})
	if err != nil {
		return fmt.Errorf("keep the result of %s: %w", a.Target, err)
	}
	return nil
}

// saveFailure counts a failed attempt and sets when the next may start. That the
// pass was interrupted is no failure of the target: the next one simply goes on.
func (p *pass) saveFailure(ctx context.Context, a plan.Action, cause error) {
	if ctx.Err() != nil {
		return
	}
	now := time.Now()
	digest := p.targets[a.Target].Digest()
	last := p.view.Snapshot.Attempts[a.Target]
	at := state.Attempt{Target: a.Target, Digest: digest, CA: a.CA, Failures: 1, Class: string(acme.ClassOf(cause)),
		LastError: acme.Sanitize(cause.Error()), LastAttempt: now.UTC()}
	if last.Digest == digest {
		at.Failures = last.Failures + 1
	}
	var retryAt time.Time
	if problem := problemOf(cause); problem != nil {
		at.Name, retryAt = problem.Identifier.Value, problem.RetryAt
	}
	at.NextAttempt = plan.NextAttempt(acme.ClassOf(cause), at.Failures, now, retryAt, spread(a.Target)).UTC()
	if err := p.Store.SaveAttempt(at); err != nil {
		p.other(fmt.Errorf("keep the failure of %s: %w", a.Target, err))
	}
	p.raise(state.Event{Event: "failed", Names: a.Names, Detail: at.LastError})
}

// raise journals an event for the hooks at the end of the pass. An undelivered
// failure of the same names is brought up to date instead.
func (p *pass) raise(e state.Event) {
	e.Created = time.Now().UTC()
	p.mu.Lock()
	defer p.mu.Unlock()
	pending := p.view.Snapshot.Pending
	i := slices.IndexFunc(pending, func(old state.Event) bool {
		return e.Event == "failed" && old.Event == e.Event && slices.Equal(old.Names, e.Names)
	})
	if i >= 0 {
		e.ID, e.Created = pending[i].ID, pending[i].Created
	}
	saved, err := p.Store.SaveEvent(e)
	switch {
	case err != nil:
		p.report.Other = append(p.report.Other, fmt.Errorf("journal event %s: %w", e.Event, err))
	case i >= 0:
		pending[i] = saved
	default:
		p.view.Snapshot.Pending = append(pending, saved)
	}
}

// problemOf returns the first *acme.Problem in err, or nil.
func problemOf(err error) *acme.Problem {
	problem, _ := errors.AsType[*acme.Problem](err)
	return problem
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

// newKey makes a certificate or account key; the zero type means ECDSA P-256.
func newKey(t config.KeyType) (crypto.Signer, error) {
	if t.Algorithm == "rsa" {
		return rsa.GenerateKey(rand.Reader, max(t.Bits, 2048))
	}
	curve := elliptic.P256()
	switch t.Curve {
	case "nistp384":
		curve = elliptic.P384()
	case "nistp521":
		curve = elliptic.P521()
	}
	return ecdsa.GenerateKey(curve, rand.Reader)
}
