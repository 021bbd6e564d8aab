package daemon

import (
	"context"
	"time"

	"certd/challenge"
	"certd/challenge/dnscheck"
	"certd/config"
)

// sweepTime bounds the removal of DNS records that earlier runs left behind.
const sweepTime = 5 * time.Minute

// newDNS is what sets DNS records in a pass.
func newDNS(p *pass) *challenge.DNS {
	c := p.view.Settings.Challenge
	d := &challenge.DNS{
		Journal: p.Store,
		Helper:  &challenge.Helper{},
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

// dns01 is the solver of dns-01 for a target.
func (s *solvers) dns01(t *config.Target) *challenge.DNS01 {
	c := &t.Challenge
	return &challenge.DNS01{DNS: s.dns, Target: t.File, Provider: c.DNSProvider, EnvFile: c.DNSEnvFile, Delegate: c.Delegate, Env: c.Env}
}

// sweepRecords begins to remove DNS records that earlier runs left behind. The
// function it returns waits for the end of that.
func (p *pass) sweepRecords(ctx context.Context) (join func()) {
	records, err := p.Store.Records()
	if err != nil {
		p.other(err)
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
