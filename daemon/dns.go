package daemon

import (
	"context"
	"maps"
	"time"

	"certd/challenge"
	"certd/challenge/dnscheck"
	"certd/config"
	"certd/issue"
	"certd/plan"
)

// sweepTime bounds the removal of DNS records that earlier runs left behind.
const sweepTime = 5 * time.Minute

// newDNS is what sets DNS records in a pass.
func newDNS(p *pass) *challenge.DNS {
	c := p.view.Settings.Challenge
	d := &challenge.DNS{
		Journal: p.Store,
		Helper:  challenge.HelperOf(p.Store.Dir()),
		NoWait:  c.DNSCheck == config.DNSOff,
		Checker: &dnscheck.Checker{
			Resolver: c.Resolver, Port: c.DNSPort, Public: c.DNSResolvers, Settle: c.DNSSettle,
			Only: c.DNSCheck == config.DNSResolvers,
		},
	}
	if c.Resolver != "" {
		d.Helper.Resolvers = []string{c.Resolver}
	}
	return d
}

// inDNS adds the solvers of challenges in the DNS for a target to by.
func (s *solvers) inDNS(t *config.Target, client *caClient, by map[string]issue.Solver) {
	how := s.ways(t).How
	if how[challenge.TypeDNS01] != "" {
		by[challenge.TypeDNS01] = s.dns01(t)
	}
	if how[challenge.TypeDNSAccount01] != "" {
		account := s.dns01(t)
		account.Label = challenge.AccountLabel(client.kid)
		by[challenge.TypeDNSAccount01] = account
	}
	by[challenge.TypeDNSPersist01] = &challenge.Persist{Checker: s.dns.Checker, Account: client.kid}
}

// ready says how a target can be proven, as ways does. Where the DNS is needed,
// certd-dns has been asked: it has to be there, and content with its file.
func (s *solvers) ready(ctx context.Context, t *config.Target) Ways {
	w := s.ways(t)
	if t.Challenge.DNSProvider == "" || !w.needDNS(t.RequestNames) {
		return w
	}
	if err := s.dns.Ready(ctx, t.Challenge.DNSProvider, t.Challenge.DNSEnvFile); err != nil {
		return w.without(err)
	}
	return w
}

// persisted reports whether a TXT record that stays lets one of the CAs of a
// issue for name. Which names those CAs go by they only say with an order.
func (p *pass) persisted(ctx context.Context, a plan.Action, name string) bool {
	for _, directory := range a.CAs {
		account, err := p.Store.Account(directory)
		if err != nil || account.URL == "" {
			continue
		}
		look := &challenge.Persist{Checker: p.solvers.dns.Checker, Account: account.URL}
		if look.Check(ctx, name, nil, isWildcard(name)) == nil {
			return true
		}
	}
	return false
}

// dns01 is the solver of dns-01 for a target.
func (s *solvers) dns01(t *config.Target) *challenge.DNS01 {
	c := &t.Challenge
	return &challenge.DNS01{DNS: s.dns, Target: t.File, Provider: c.DNSProvider, EnvFile: c.DNSEnvFile, Delegate: c.Delegate, Env: c.Env}
}

// sweepRecords begins to remove DNS records that earlier runs left behind. The
// function it returns waits for the end of that.
func (p *pass) sweepRecords(ctx context.Context) (join func()) {
	if !p.lonely() { // what is journaled may be in use
		return func() {}
	}
	records, err := p.Store.Records()
	if err != nil {
		p.other(err)
	}
	if len(records) > 0 && p.Store.Doctor(ctx) { // looked for after the records, which may be those of one that lives
		maps.DeleteFunc(records, func(_ string, entry []byte) bool { return challenge.IsTrial(entry) })
	}
	if len(records) == 0 {
		return func() {}
	}
	if err := p.solvers.dns.Load(records); err != nil {
		p.other(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(ctx, sweepTime)
		defer cancel()
		if err := p.solvers.dns.Sweep(ctx); err != nil && ctx.Err() == nil {
			p.other(err)
		}
	}()
	return func() { <-done }
}
