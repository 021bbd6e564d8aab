package daemon

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"time"

	"certd/acme"
	"certd/config"
	"certd/issue"
	"certd/plan"
	"certd/state"
)

// profile is the one to ask the CA for: the target's, or the CA's default if the
// CA does not have that and the target can do without. It is looked up before
// anything is ordered.
func (p *pass) profile(ctx context.Context, client *caClient, a plan.Action) (string, error) {
	t := p.targets[a.Target]
	if t.Profile == "" || a.Open != nil && sameCA(a.Open.Directory, client.directory) {
		return "", nil // an order that is there has its own
	}
	directory, err := client.Directory(ctx)
	if err != nil {
		return "", err
	}
	err = directory.CheckProfile(t.Profile)
	problem := problemOf(err)
	switch {
	case problem == nil:
		return t.Profile, nil
	case t.ProfileWish:
		p.Log.Warn("preferred profile not available, the CA's default is ordered", "target", a.Target, "ca", client.name, "err", problem.Detail)
		return "", nil
	}
	problem.CA, problem.Operation = client.name, "order"
	problem.Detail = fmt.Sprintf("request.profile of desired/%s: %s", a.Target, problem.Detail)
	return "", problem
}

// request says which certificate the target of a wants from the CA of client, and
// which order of an earlier run to go on with.
func (p *pass) request(client *caClient, a plan.Action, profile string) issue.Request {
	t := p.targets[a.Target]
	key := t.Key
	if key.Algorithm == "" {
		key.Algorithm = "ecdsa"
	}
	req := issue.Request{
		Open: acme.OpenOrder{Directory: client.directory, Account: client.kid, Names: t.RequestNames, Target: t.File,
			Profile: profile, KeyType: key.String(), Reason: string(a.Cause), Created: time.Now().UTC()},
		NewKey:   func() (crypto.Signer, error) { return newKey(key) },
		KeyID:    p.keyFor(t),
		Chain:    t.Chain,
		Anchors:  client.anchors,
		Staple:   t.MustStaple,
		SelfTest: t.Challenge.SelfTest,
		Avoid:    p.failedChallenges(t.File, ""),
		Claim:    func(url string) bool { return p.claim(url, t.File) },
	}
	if a.Open != nil && sameCA(a.Open.Directory, client.directory) {
		req.Open = *a.Open
		return req
	}
	if c := p.predecessor(client, a); c != nil {
		req.Open.Replaces = c.ARIID
	}
	if intent := p.view.Snapshot.Attempts[a.Target].Intent(client.directory); intent != nil {
		req.Adopt, req.Open.Created = true, intent.Created
	}
	return req
}

// sameCA reports whether two directory URLs are those of one CA.
func sameCA(a, b string) bool { return state.CanonicalDirectory(a) == state.CanonicalDirectory(b) }

// checkTarget looks at what a certificate for a needs on this machine, before an
// order is spent on it.
func (p *pass) checkTarget(ctx context.Context, a plan.Action) error {
	t := p.targets[a.Target]
	if err := p.checkKeyID(t); err != nil {
		return err
	}
	if err := state.Files(t.Files).Check(); err != nil {
		return &acme.Problem{Class: acme.ClassOperator, Err: fmt.Errorf("desired/%s: %w", t.File, err)}
	}
	if a.Open != nil { // it may have been proven already
		return nil
	}
	return p.solvers.ready(ctx, t).check(t.RequestNames, func(name string) bool { return p.persisted(ctx, a, name) })
}

// checkKeyID makes sure that the key a target reuses is there before an order is
// spent on it.
func (p *pass) checkKeyID(t *config.Target) error {
	if t.KeyID == "" {
		return nil
	}
	if p.keys().compromised[t.KeyID] {
		return &acme.Problem{Operation: "finalize", Class: acme.ClassOperator,
			Detail: fmt.Sprintf("request.key.id of desired/%s: the key %s was revoked as compromised; remove the line for a new key", t.File, t.KeyID)}
	}
	if _, err := p.Store.LoadKey(t.KeyID); err != nil {
		return &acme.Problem{Operation: "finalize", Class: acme.ClassOperator, Err: err,
			Detail: fmt.Sprintf("request.key.id of desired/%s: %v; remove the line for a new key", t.File, err)}
	}
	return nil
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
