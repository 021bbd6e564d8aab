package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"certd/acme"
	"certd/challenge"
	"certd/challenge/dnscheck"
	"certd/config"
	"certd/hooks"
)

// newDNS is reconcile's, but for the journal.
func (r *run) newDNS() *challenge.DNS {
	c := r.settings.Challenge
	d := &challenge.DNS{
		Helper: challenge.HelperOf(r.StateDir),
		NoWait: c.DNSCheck == config.DNSOff,
		Checker: &dnscheck.Checker{
			Resolver: c.Resolver, Port: c.DNSPort, Public: c.DNSResolvers, Settle: c.DNSSettle, Only: c.DNSCheck == config.DNSResolvers,
		},
	}
	if c.Resolver != "" {
		d.Helper.Resolvers = []string{c.Resolver}
	}
	if r.Hooks != nil {
		d.Hook = r.hook
	}
	return d
}

// base is the name without its "*.".
func (s subject) base() string { return strings.TrimPrefix(s.name, "*.") }

func (s subject) wildcard() bool { return strings.HasPrefix(s.name, "*.") }

// onlyDNS reports whether nothing but a DNS record proves the name, inDNS
// whether one may.
func (s subject) onlyDNS() bool {
	return s.target.Challenge.Method == challenge.MethodDNS || s.wildcard()
}

func (s subject) inDNS() bool { return s.onlyDNS() || s.target.Challenge.DNSProvider != "" }

// methods are the challenge types that may prove the name, for CAA records.
func (s subject) methods() []string {
	var kinds []string
	if !s.onlyDNS() {
		kinds = append(kinds, challenge.TypeHTTP01)
		if m := s.target.Challenge.Method; m == challenge.MethodAny || m == challenge.MethodListen {
			kinds = append(kinds, challenge.TypeTLSALPN01)
		}
	}
	if s.inDNS() {
		kinds = append(kinds, challenge.TypeDNS01)
	}
	if s.target.Challenge.DNSProvider != "" {
		kinds = append(kinds, challenge.TypeDNSAccount01)
	}
	if s.onlyDNS() {
		kinds = append(kinds, challenge.TypeDNSPersist01)
	}
	return kinds
}

// testDNS looks where the record of a name is written, and sets and removes a
// random one, as reconcile would.
func (r *run) testDNS(ctx context.Context, s subject, add func(string, Result, string, string)) {
	setter := r.setter(s)
	persists := r.persist(ctx, s, setter != "", add)
	if setter == "" {
		if !persists {
			add("method", Failure, "nothing sets DNS records: no request.challenge.dns-provider, and no challenge-dns-start hook",
				"set dns-provider (certd-dns list shows them), install a hook, or create the record of dns-persist-01; see docs/dns.md")
		}
		return
	}
	if !r.delegation(ctx, s, add) {
		return
	}
	r.tryRecord(ctx, s, setter, add)
}

// setter is what sets DNS records for the name; empty if nothing does.
func (r *run) setter(s subject) string {
	if c := s.target.Challenge; c.DNSProvider != "" {
		return c.DNSProvider
	}
	if r.otherHooks() {
		return "hooks"
	}
	return ""
}

// otherHooks reports whether there is a hook besides the bundled ones.
func (r *run) otherHooks() bool {
	if r.Hooks == nil {
		return false
	}
	list, _ := r.Hooks.List() // r.hooks tells the error
	return slices.ContainsFunc(list, func(h hooks.Hook) bool { return h.Refused == "" && !h.Managed })
}

// delegation follows the aliases of "_acme-challenge" and the name, and reports
// whether a record can be tried there.
func (r *run) delegation(ctx context.Context, s subject, add func(string, Result, string, string)) bool {
	const check = "delegation"
	name, delegate := "_acme-challenge."+s.base(), strings.ToLower(strings.TrimSuffix(s.target.Challenge.Delegate, "."))
	end, err := r.dns.Checker.To(delegate, name).Follow(ctx, name)
	switch {
	case errors.Is(err, dnscheck.ErrAliases):
		add(check, Failure, oneLine(err), "correct the CNAME records: a CA follows them as well")
		return false
	case err != nil && r.dns.NoWait:
		return true
	case err != nil:
		if _, bogus := r.signatures(ctx, name); bogus != "" { // where its aliases lead, perhaps
			add(check, Failure, name+" is "+fmt.Sprintf(bogusText, bogus), bogusRemedy)
			return false
		}
		add(check, Failure, oneLine(err), "mend the zone, or where this machine cannot ask its name servers set challenge.dns-check in conf/certd.yaml")
		return false
	case delegate != "" && end != delegate:
		add(check, Failure, fmt.Sprintf("%s leads to %s, and request.challenge.delegate is %s", name, end, delegate),
			fmt.Sprintf("create the record: %s. CNAME %s.", name, delegate))
		return false
	case end != name:
		add(check, OK, name+" is an alias for "+end+", where the record is written", "")
	}
	return true
}

// tryRecord sets a random record, looks whether it is visible, and removes it.
func (r *run) tryRecord(ctx context.Context, s subject, setter string, add func(string, Result, string, string)) {
	const check = "dns-01"
	c := s.target.Challenge
	d := &challenge.DNS01{DNS: r.dns, Target: s.target.File, Provider: c.DNSProvider, EnvFile: c.DNSEnvFile, Delegate: c.Delegate, Env: c.Env, Trial: true}
	id, ch := acme.NewIdentifier(s.base()), acme.Challenge{Type: challenge.TypeDNS01, Token: token()}
	ch.KeyAuthorization = ch.Token + "." + token()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
		defer cancel()
		if err := d.CleanUp(ctx, id, ch); err != nil {
			remedy := "remove the record by hand; it proves nothing to anybody"
			if r.dns.Journal != nil {
				remedy = "the next certd doctor or reconcile tries again; the record proves nothing to anybody"
			}
			add(check, Warning, oneLine(err), remedy)
		}
	}()
	if err := d.Present(ctx, id, ch); err != nil {
		add(check, Failure, oneLine(err), "correct the credentials or the hook; docs/dns.md explains both")
		return
	}
	if err := d.Wait(ctx, id, ch); err != nil {
		result, remedy := judgeUnseen(err, d.Patience(ch))
		add(check, result, oneLine(err), remedy)
		return
	}
	seen := ", and seen on every name server"
	if r.dns.NoWait {
		seen = "; dns-check is off, so nobody looked for it"
	}
	add(check, OK, "a random record was set by "+setter+seen, "")
}

// judgeUnseen judges a record that was not seen, while the provider says that its
// servers may take as long as most: the doctor does not wait that long, an order does.
func judgeUnseen(err error, most time.Duration) (result Result, remedy string) {
	if errors.Is(err, context.DeadlineExceeded) && most > dnsTime {
		return Warning, fmt.Sprintf("none, perhaps: the provider's servers may take %v, which an order waits for, and certd doctor does not", most)
	}
	return Failure, "see that the record goes to the zone that the world sees, and to all of its name servers"
}

// persist looks at the records of dns-persist-01, and reports whether one is
// right for a CA. others says that there is another way.
func (r *run) persist(ctx context.Context, s subject, others bool, add func(string, Result, string, string)) bool {
	const check = "dns-persist-01"
	right := false
	for _, ca := range r.casOf(s.target) {
		a := r.cas[ca.Directory]
		if a == nil || a.directory == nil {
			continue
		}
		if a.account == nil || a.account.URL == "" {
			if !others {
				add(check, Warning, ca.Name+": the record names the account, and there is none yet", "certd quickstart registers one; then certd doctor shows the record")
			}
			continue
		}
		p := &challenge.Persist{Checker: r.dns.Checker, Account: a.account.URL}
		err := p.Check(ctx, s.base(), a.directory.CAA, s.wildcard())
		if err == nil {
			right = true
			add(check, OK, fmt.Sprintf("%s lets %s issue, if it offers this challenge", challenge.PersistName(s.name), ca.Name), "")
			continue
		}
		if texts, lookErr := p.Checker.Texts(ctx, challenge.PersistName(s.name)); others && (lookErr != nil || len(texts) == 0) {
			continue // nobody has begun with it
		}
		detail, create, _ := strings.Cut(oneLine(err), "; create ")
		add(check, Warning, ca.Name+": "+detail, "if the CA offers it, create "+create)
	}
	return right
}
