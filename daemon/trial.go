package daemon

import (
	"context"
	"crypto"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"certd/acme"
	"certd/config"
	"certd/issue"
	"certd/plan"
	"certd/state"
)

// trial obtains a certificate at the staging directory of a CA and throws it away,
// if the target's last attempt failed because of a name: so it costs nothing of the
// CA's limits if that has not been mended. The error is that it has not; that there
// could be no trial is none.
func (p *pass) trial(ctx context.Context, a plan.Action, ca config.CA) error {
	last := p.view.Snapshot.Attempts[a.Target]
	failed := last.Digest == p.targets[a.Target].Digest() && last.Class == string(acme.ClassName)
	if a.Open != nil && sameCA(a.Open.Directory, ca.Directory) || !failed {
		return nil
	}
	staging, ok := p.view.Settings.StagingOf(ca)
	if !ok || last.Failures%trialTurns == 0 || expiring(a, time.Now()) {
		return nil
	}
	p.Log.Info("trying at the staging directory first, as the last attempt failed", "target", a.Target, "ca", staging.Name)
	err := p.rehearse(ctx, a, staging)
	switch {
	case ctx.Err() != nil:
		return err
	case err == nil:
		p.Log.Info("the trial succeeded", "target", a.Target, "ca", staging.Name)
		return nil
	case acme.ClassOf(err) == acme.ClassName && issue.BlameOf(err) == issue.BlameOwn:
		return fmt.Errorf("trial at %s failed, %s was not asked: %w", staging.Name, ca.Name, err)
	}
	p.Log.Warn("no trial at the staging directory", "target", a.Target, "ca", staging.Name, "err", firstLine(err).Error())
	return nil
}

// trialTurns is of how many attempts in a row, while they fail, one goes without a trial.
const trialTurns = 4

// expiring reports whether the certificate that a target has leaves no time for trials.
func expiring(a plan.Action, now time.Time) bool { return !a.End.IsZero() && now.After(a.Latest) }

// rehearse obtains a certificate and keeps nothing of it.
func (p *pass) rehearse(ctx context.Context, a plan.Action, staging config.CA) error {
	client, err := p.clients.get(ctx, staging.Directory)
	if err != nil {
		return err
	}
	leave, err := client.slots.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	t := p.targets[a.Target]
	issuer, err := p.issuer(t, client)
	if err != nil {
		return err
	}
	issuer.Journal, issuer.Keys = trialJournal{p.Store}, &trialKeys{}
	profile := t.Profile
	if directory, err := client.Directory(ctx); err != nil || profile != "" && directory.CheckProfile(profile) != nil {
		profile = "" // staging need not have them all: the names are what is tried
	}
	cert, err := issuer.Issue(ctx, issue.Request{
		Open: acme.OpenOrder{Directory: client.directory, Account: client.kid, Names: t.RequestNames, Target: t.File,
			Profile: profile, KeyType: config.KeyType{Algorithm: "ecdsa"}.String(), Reason: string(a.Cause), Trial: true, Created: time.Now().UTC()},
		NewKey:   func() (crypto.Signer, error) { return newKey(config.KeyType{}) },
		SelfTest: t.Challenge.SelfTest,
		Avoid:    p.failedChallenges(t.File, ""),
		Claim:    func(url string) bool { return p.claim(url, t.File) },
	})
	if err != nil {
		return err
	}
	return p.Store.CloseOrder(cert.Open)
}

// A trialJournal keeps the order of a trial, so that the next pass cleans up after
// one that was killed, and no intent: nothing is lost with an order at a staging
// directory, and intents are those of orders that count.
type trialJournal struct{ store *state.Store }

// OpenOrder implements issue.Journal.
func (trialJournal) OpenOrder(acme.OpenOrder) error { return nil }

// SaveOrder implements issue.Journal.
func (j trialJournal) SaveOrder(o acme.OpenOrder) error { return j.store.SaveOrder(o) }

// CloseOrder implements issue.Journal.
func (j trialJournal) CloseOrder(o acme.OpenOrder) error {
	if o.URL == "" {
		return nil
	}
	return j.store.CloseOrder(o)
}

// trialKeys keeps the key of a trial for its time.
type trialKeys struct {
	mu  sync.Mutex
	key crypto.Signer
}

// trialKey is the ID of the key of every trial. No key that is kept is called so.
const trialKey = "trial"

// SaveKey implements issue.Keys.
func (k *trialKeys) SaveKey(key crypto.Signer) (id string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.key = key
	return trialKey, nil
}

// LoadKey implements issue.Keys.
func (k *trialKeys) LoadKey(id string) (crypto.Signer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key == nil || id != trialKey {
		return nil, fmt.Errorf("key %s: %w", id, fs.ErrNotExist)
	}
	return k.key, nil
}
