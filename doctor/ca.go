package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"certd/acme"
	"certd/config"
	"certd/state"

	"golang.org/x/sync/errgroup"
)

// An authority is what is known of a CA in use.
type authority struct {
	config.CA
	directory  *acme.Directory // nil if it could not be read
	account    *state.Account  // nil if there is none
	thumbprint string          // of the account key; empty without an account
	findings   []Finding

	mu        sync.Mutex // guards exchanges
	exchanges []acme.Exchange
}

func (a *authority) add(check string, result Result, detail, remedy string) {
	a.findings = append(a.findings, finding(check, a.Name, result, detail, remedy))
}

// authorities asks every CA that one of the subjects would be ordered from.
func (r *run) authorities(ctx context.Context, subjects []subject) {
	r.cas = map[string]*authority{}
	var all []*authority
	for _, s := range subjects {
		for _, ca := range r.casOf(s.target) {
			if r.cas[ca.Directory] == nil {
				a := &authority{CA: ca}
				r.cas[ca.Directory] = a
				all = append(all, a)
			}
		}
	}
	if len(subjects) == 0 { // nothing is wanted yet: the default CA will be asked first
		for _, ca := range r.casOf(r.targets.Default) {
			all = append(all, &authority{CA: ca})
		}
	}
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, a := range all {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, caTime)
			defer cancel()
			r.ask(ctx, a)
			return nil
		})
	}
	_ = g.Wait() // always nil: every failure is a finding
	for _, a := range all {
		r.findings = append(r.findings, a.findings...)
	}
}

// casOf returns the CAs of a target in their order; unknown ones are told elsewhere.
func (r *run) casOf(t *config.Target) []config.CA {
	names := t.CAs
	if len(names) == 0 {
		names = []string{""}
	}
	var out []config.CA
	for _, name := range names {
		ca, err := r.settings.CA(name)
		if err == nil && !slices.ContainsFunc(out, func(c config.CA) bool { return c.Directory == ca.Directory }) {
			out = append(out, ca)
		}
	}
	return out
}

// ask looks at one CA: directory, account, clock.
func (r *run) ask(ctx context.Context, a *authority) {
	roots, err := a.RootsPEM()
	if err != nil {
		a.add("ca", Failure, oneLine(err), "correct ca-bundle of this CA in conf/certd.yaml")
		return
	}
	broken := r.findAccount(a)
	o := acme.Options{Name: a.Name, Directory: a.Directory, RootsPEM: roots, UserAgent: r.UserAgent, Timeout: r.Timeout, Observe: a.observe}
	if a.account != nil {
		o.Key = a.account.Key
	} else if o.Key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		a.add("ca", Failure, oneLine(err), "this machine has no randomness")
		return
	}
	client, err := acme.New(o)
	if err != nil {
		a.add("ca", Failure, oneLine(err), "correct this CA in conf/certd.yaml")
		return
	}
	defer client.Close()
	if a.account != nil {
		a.thumbprint, err = client.Thumbprint()
		if err != nil {
			a.add("account", Failure, oneLine(err), "restore the account key from a backup")
			return
		}
	}
	if a.directory, err = client.Directory(ctx); err != nil {
		a.add("ca", Failure, oneLine(err), unreachable(err))
	} else {
		a.add("ca", OK, a.Directory+" answers", "")
		if !broken {
			a.checkAccount(ctx, client)
		}
	}
	if offset, uncertainty, ok := clock(a.exchanges); ok {
		result, detail, remedy := judgeClock(offset, uncertainty)
		a.add("clock", result, detail, remedy)
	}
}

// observe keeps what the clock is measured by.
func (a *authority) observe(e acme.Exchange) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.exchanges) < 100 {
		a.exchanges = append(a.exchanges, e)
	}
}

// unreachable is the remedy for a CA that does not answer. A certificate outside
// its time is told first to be the fault of this clock.
func unreachable(err error) string {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "is this machine's clock right? By it the CA's certificate is not valid now"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "install ca-certificates, or set ca-bundle of this CA in conf/certd.yaml"
	}
	return "see that this machine reaches it: network, DNS, firewall, https_proxy; the CA may be down as well"
}

// findAccount reads the account that is on disk; broken reports that it cannot
// be used, which has been told then.
func (r *run) findAccount(a *authority) (broken bool) {
	account, err := r.store.Account(a.Directory)
	switch {
	case err == nil:
		a.account = account
	case errors.Is(err, fs.ErrPermission):
		a.add("account", Failure, oneLine(err), "run certd doctor as the user that certd runs as, or as root")
		return true
	case !errors.Is(err, fs.ErrNotExist):
		a.add("account", Failure, oneLine(err), "restore it from a backup, or move it away to have a new one registered")
		return true
	}
	return false
}

// checkAccount asks the CA for the account by its key, which registers nothing
// (RFC 8555 §7.3.1), or sees whether one could be registered.
func (a *authority) checkAccount(ctx context.Context, client *acme.Client) {
	kid, _, errEAB := a.EAB()
	const eab = "set eab.kid and eab.hmac-file of this CA in conf/certd.yaml; the CA's web page has the values"
	if a.account == nil {
		switch {
		case errEAB != nil:
			a.add("account", Failure, oneLine(errEAB), "correct eab of this CA in conf/certd.yaml")
		case a.directory.EABRequired && kid == "":
			a.add("account", Failure, "none yet, and this CA wants an external account binding", eab)
		default:
			a.add("account", OK, "none yet; the first order registers one", "")
		}
		return
	}
	found, err := client.FindAccount(ctx)
	switch {
	case errors.Is(err, acme.ErrNoAccount) && a.directory.EABRequired && (kid == "" || errEAB != nil):
		a.add("account", Failure, "the CA does not know the key in "+a.account.ID, eab)
	case errors.Is(err, acme.ErrNoAccount) && a.account.URL == "":
		a.add("account", OK, "the CA does not know the key yet; the first order registers it", "")
	case errors.Is(err, acme.ErrNoAccount):
		a.add("account", Failure, fmt.Sprintf("the CA does not know %s any more", a.account.URL),
			"restore accounts/ from a backup; without one, reconcile registers the key anew after one failed order")
	case err != nil:
		a.add("account", Failure, oneLine(err), "if the account was deactivated, move accounts/"+a.account.ID+" away to have a new one registered")
	case found.Status != acme.StatusValid && found.Status != "":
		a.add("account", Failure, fmt.Sprintf("%s is %s", found.URL, found.Status), "move accounts/"+a.account.ID+" away to have a new one registered")
	case a.account.URL != "" && found.URL != a.account.URL:
		a.add("account", Warning, fmt.Sprintf("the CA calls it %s, and on disk it is %s", found.URL, a.account.URL), "see whether accounts/ was restored from another machine")
	default:
		a.add("account", OK, found.URL+" is known to the CA", "")
		a.checkTerms()
	}
}

// checkTerms compares the CA's terms of service with those agreed to, by their
// URL: CAs give a new version a new one. Of some accounts it is not known.
func (a *authority) checkTerms() {
	switch agreed, now := a.account.Terms, a.directory.Terms; {
	case agreed == "" || now == "":
	case agreed == now:
		a.add("terms", OK, "agreed to "+now, "")
	default:
		a.add("terms", Warning, "the CA now has "+now+"; agreed to were "+agreed,
			"read them, then run certd quickstart, which asks whether you agree; unattended: certd-agreement: true in its response file")
	}
}
