package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"certd/acme"
	"certd/issue"
	"certd/state"
)

// revokeTimeout bounds the pending revocations of a pass; the next one goes on.
const revokeTimeout = 5 * time.Minute

// Revoke has the CA revoke a certificate (RFC 8555 §7.6), and returns the targets
// whose live links lead to it: they need another one now. That it is to be revoked
// is on disk before the CA is asked, so that a run which is cut off leaves no
// revoked certificate live unnoticed: the next pass asks again, and orders. If the
// CA refuses, the certificate is as it was before.
func Revoke(ctx context.Context, o Options, certID string, reason acme.Reason) (targets []string, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	lock, err := Lock(ctx, o.Store, o.LockWait, o.Log)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	view, err := look(o.Store, o.Fallback)
	if err != nil {
		return nil, err
	}
	c := view.Snapshot.Certificates[certID]
	switch {
	case c == nil:
		return nil, fmt.Errorf("there is no certificate %s", certID)
	case !c.NotAfter.After(view.Now):
		return nil, fmt.Errorf("certificate %s has expired: there is nothing to revoke", certID)
	}
	was := *c
	if !c.Revoked || c.RevokePending {
		if err := o.Store.MarkRevoke(certID, reason.String()); err != nil {
			return nil, err
		}
	}
	p := newPass(o, view, newShift())
	defer p.clients.close()
	if err := p.revoke(ctx, c, reason); err != nil {
		if refused(err) && !was.Revoked {
			return nil, errors.Join(err, o.Store.UnmarkRevoke(certID))
		}
		err = fmt.Errorf("%w; each reconcile asks again", err)
		targets = view.linkedTo(certID)
		return targets, errors.Join(err, p.hasten(targets))
	}
	targets = view.linkedTo(certID)
	return targets, p.hasten(targets)
}

// hasten ends the waits of targets after failures, but for what a CA asked for:
// their certificate is revoked.
func (p *pass) hasten(targets []string) error {
	var errs []error
	for _, file := range targets {
		if at, ok := p.view.Snapshot.Attempts[file]; ok && at.Class != string(acme.ClassWait) && at.NextAttempt.After(p.view.Now) {
			at.NextAttempt = p.view.Now.UTC()
			errs = append(errs, p.Store.SaveAttempt(at))
		}
	}
	return errors.Join(errs...)
}

// linkedTo returns the targets, by file, that own a live name which leads to a
// certificate.
func (v *View) linkedTo(certID string) []string {
	var files []string
	for _, s := range v.Status() {
		if s.Target != "" && s.Certificate != nil && s.Certificate.ID == certID {
			files = append(files, s.Target)
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// revokePending asks for the revocations that a run was cut off from, or that
// acmetool noted and never did. It comes after the orders, so that a CA that hangs
// holds up no renewal; a CA that does not work is left alone until the next pass.
func (p *pass) revokePending(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	down := make(map[string]bool) // by directory
	for id, c := range p.view.Snapshot.Certificates {
		if !c.RevokePending || !c.NotAfter.After(p.view.Now) || ctx.Err() != nil || down[c.Directory] {
			continue
		}
		reason, err := acme.ParseReason(c.RevokeReason)
		if err != nil {
			reason = acme.ReasonUnspecified
		}
		if err := p.revoke(ctx, c, reason); err != nil {
			down[c.Directory] = issue.BlameOf(err) == issue.BlameCA
			p.other(fmt.Errorf("revoke certificate %s: %w", id, err))
			continue
		}
		p.Log.Info("certificate revoked", "certificate", id, "names", c.Names, "reason", reason.String())
	}
}

// revoke asks the CA as the account, or by the certificate's own key where that
// is not ours. A key that has leaked is shown to the CA first: then it will not
// certify it again.
func (p *pass) revoke(ctx context.Context, c *state.Certificate, reason acme.Reason) error {
	leaf, err := p.Store.Leaf(c.ID)
	if err != nil {
		return err
	}
	if c.Directory == "" {
		return fmt.Errorf("nothing tells which CA certificate %s is of", c.ID)
	}
	ways := []func(context.Context, *state.Certificate, []byte, acme.Reason) error{p.revokeByAccount, p.revokeByKey}
	if reason == acme.ReasonKeyCompromise {
		slices.Reverse(ways)
	}
	var errs []error
	for _, way := range ways {
		err := way(ctx, c, leaf.Raw, reason)
		if err == nil {
			return p.Store.MarkRevoked(c.ID, reason.String())
		}
		errs = append(errs, err)
		if isType(err, "badRevocationReason") || ctx.Err() != nil {
			break
		}
	}
	return worst(errs)
}

// worst joins errs with one first that is no refusal, if there is one: what may
// yet come true is no refusal as a whole.
func worst(errs []error) error {
	slices.SortStableFunc(errs, func(a, b error) int {
		switch ra, rb := refused(a), refused(b); {
		case ra == rb:
			return 0
		case rb:
			return -1
		}
		return 1
	})
	return errors.Join(errs...)
}

func (p *pass) revokeByAccount(ctx context.Context, c *state.Certificate, der []byte, reason acme.Reason) error {
	if !p.clients.known(c.Directory) {
		return &acme.Problem{Operation: "revoke", Class: acme.ClassOperator, Status: 403, Detail: "there is no account at " + c.Directory}
	}
	client, err := p.clients.get(ctx, c.Directory)
	if err != nil {
		return err
	}
	return client.Revoke(ctx, der, reason)
}

func (p *pass) revokeByKey(ctx context.Context, c *state.Certificate, der []byte, reason acme.Reason) error {
	ca, err := p.view.Settings.CA(c.Directory)
	if err != nil {
		return &acme.Problem{CA: c.Directory, Operation: "revoke", Class: acme.ClassOperator, Err: err}
	}
	key, err := p.Store.LoadKey(c.KeyID)
	if err != nil {
		return &acme.Problem{CA: ca.Name, Operation: "revoke", Class: acme.ClassOperator, Status: 403, Detail: "by the certificate's key: " + err.Error()}
	}
	client, err := p.clients.open(ca, nil, "")
	if err != nil {
		return err
	}
	defer client.Close()
	return client.RevokeWithKey(ctx, key, der, reason)
}
