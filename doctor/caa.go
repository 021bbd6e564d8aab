package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"certd/acme"
	"certd/challenge"

	"github.com/miekg/dns"
)

// Bounds of the CAA look-up.
const (
	maxAliases = 8   // CNAME records in a row
	maxRecords = 100 // of one name
	maxServers = 3   // of resolv.conf, as libc has it
)

const critical = 128 // the flag of a property that must be understood (RFC 8659 §4.1)

// A policy is the relevant record set of a name (RFC 8659 §3).
type policy struct {
	owner   string // where the records are; empty if there are none up to the root
	records []*dns.CAA
}

// A query asks the DNS for the CAA records of a name; an error is anything but
// NOERROR and NXDOMAIN.
type query func(ctx context.Context, name string) (*dns.Msg, error)

// checkCAA looks whether the CAs of a subject may issue for it.
func (r *run) checkCAA(ctx context.Context, s subject, add func(string, Result, string, string)) {
	const check = "caa"
	ask, err := r.asker()
	if err != nil {
		add(check, Warning, "not looked at: "+oneLine(err), "set challenge.resolver in conf/certd.yaml")
		return
	}
	name, wildcard := strings.CutPrefix(s.name, "*.")
	found, err := lookUp(ctx, ask, name)
	if err != nil {
		add(check, Failure, oneLine(err), "mend the name servers of the zone: CAs refuse a name whose CAA records they cannot read")
		return
	}
	if len(found.records) == 0 {
		add(check, OK, "no records: every CA may issue", "")
		return
	}
	methods := s.methods()
	for i, ca := range r.casOf(s.target) {
		a := r.cas[ca.Directory]
		bad := Failure
		if i > 0 { // asked only if those before it fail
			bad = Warning
		}
		if a.directory == nil {
			add(check, Warning, fmt.Sprintf("%s has records, and what they mean for %s is not known while it cannot be reached", found.owner, ca.Name), "see the check of the CA")
			continue
		}
		account := ""
		if a.account != nil {
			account = a.account.URL
		}
		switch err := found.allows(a.directory.CAA, wildcard, account, methods); {
		case errors.Is(err, errUnsaid):
			add(check, Warning, fmt.Sprintf("%s: %v", found.owner, err), "read in the CA's documents which issue record it wants")
		case err != nil:
			add(check, bad, fmt.Sprintf("%s does not let %s issue: %v", found.owner, ca.Name, err), found.remedy(a.directory.CAA))
		case methods[0] == challenge.TypeHTTP01 && found.allows(a.directory.CAA, wildcard, account, methods[:1]) != nil:
			add(check, Warning, fmt.Sprintf("the records of %s let %s issue, but not by http-01, which is tried first", found.owner, ca.Name),
				"set request.challenge.method: dns if they allow dns-01; or else let them allow http-01 as well (validationmethods)")
		default:
			add(check, OK, fmt.Sprintf("the records of %s let %s issue", found.owner, ca.Name), "")
		}
	}
}

// resolvers are the configured DNS server, or those of resolv.conf.
func (r *run) resolvers() (servers []string, err error) {
	if s := r.settings.Challenge.Resolver; s != "" {
		return []string{s}, nil
	}
	conf, err := dns.ClientConfigFromFile(r.Resolvers)
	if err != nil {
		return nil, err
	}
	for _, s := range conf.Servers[:min(len(conf.Servers), maxServers)] {
		servers = append(servers, net.JoinHostPort(s, conf.Port))
	}
	if len(servers) == 0 {
		return nil, fmt.Errorf("%s names no DNS server", r.Resolvers)
	}
	return servers, nil
}

// asker is the way to the resolvers in turn.
func (r *run) asker() (query, error) {
	servers, err := r.resolvers()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, name string) (*dns.Msg, error) {
		var last error
		for _, server := range servers {
			m, err := challenge.Query(ctx, server, name, dns.TypeCAA)
			if err == nil {
				return m, nil
			}
			last = fmt.Errorf("look up CAA of %s at %s: %w", name, server, err)
		}
		return nil, last
	}, nil
}

// lookUp climbs from name to the root until it finds records; each name's
// aliases are followed, but the climb goes on from the name (RFC 8659 §3).
func lookUp(ctx context.Context, ask query, name string) (policy, error) {
	for labels := dns.SplitDomainName(name); len(labels) > 0; labels = labels[1:] {
		owner := strings.Join(labels, ".")
		records, err := follow(ctx, ask, owner)
		if err != nil {
			return policy{}, err
		}
		if len(records) > 0 {
			return policy{owner, records}, nil
		}
	}
	return policy{}, nil
}

// follow returns the records of name, or of what it is an alias of.
func follow(ctx context.Context, ask query, name string) ([]*dns.CAA, error) {
	at := dns.CanonicalName(name)
	for range maxAliases {
		m, err := ask(ctx, at)
		if err != nil {
			return nil, err
		}
		records, last, err := parse(m.Answer, at)
		if err != nil {
			return nil, fmt.Errorf("CAA of %s: %w", name, err)
		}
		if len(records) > 0 || last == at {
			return records, nil
		}
		at = last
	}
	return nil, fmt.Errorf("CAA of %s: more than %d aliases (CNAME) in a row", name, maxAliases)
}

// parse walks the aliases of an answer from name to the last one, and returns
// the CAA records of that.
func parse(answer []dns.RR, name string) (records []*dns.CAA, last string, err error) {
	last = name
	for range maxAliases {
		i := slices.IndexFunc(answer, func(rr dns.RR) bool {
			_, ok := rr.(*dns.CNAME)
			return ok && dns.CanonicalName(rr.Header().Name) == last
		})
		if i < 0 {
			break
		}
		last = dns.CanonicalName(answer[i].(*dns.CNAME).Target)
	}
	for _, rr := range answer {
		caa, ok := rr.(*dns.CAA)
		if !ok || dns.CanonicalName(rr.Header().Name) != last {
			continue
		}
		if len(records) == maxRecords {
			return nil, last, fmt.Errorf("more than %d records", maxRecords)
		}
		records = append(records, caa)
	}
	return records, last, nil
}

// errUnsaid reports records that cannot be compared with anything.
var errUnsaid = errors.New("it limits who may issue, and the CA's directory does not say which name the CA goes by")

// allows is nil if a CA that goes by one of identities may issue to the account
// (its URL, empty if there is none yet) by one of methods; else it says what is in
// the way (RFC 8659 §4, RFC 8657).
func (p policy) allows(identities []string, wildcard bool, account string, methods []string) error {
	var issue, issuewild []*dns.CAA
	for _, rr := range p.records {
		switch strings.ToLower(rr.Tag) {
		case "issue":
			issue = append(issue, rr)
		case "issuewild":
			issuewild = append(issuewild, rr)
		case "iodef", "issuemail": // known, and not about this
		default:
			if rr.Flag&critical != 0 {
				return fmt.Errorf("the property %q is critical, and CAs do not know it", acme.Sanitize(rr.Tag))
			}
		}
	}
	relevant := issue
	if wildcard && len(issuewild) > 0 {
		relevant = issuewild
	}
	if len(relevant) == 0 {
		return nil
	}
	if len(identities) == 0 {
		return errUnsaid
	}
	var why []string
	for _, rr := range relevant {
		reason := authorizes(rr.Value, identities, account, methods)
		if reason == "" {
			return nil
		}
		if len(why) < most {
			why = append(why, fmt.Sprintf("%s %q: %s", strings.ToLower(rr.Tag), acme.Sanitize(rr.Value), reason))
		}
	}
	return errors.New(strings.Join(why, "; "))
}

// authorizes is empty if the value of an issue property allows one of
// identities, else why it does not (RFC 8659 §4.2, RFC 8657 §3 and §4).
func authorizes(value string, identities []string, account string, methods []string) string {
	const blank = " \t"
	issuer, rest, more := strings.Cut(value, ";")
	issuer = strings.Trim(issuer, blank)
	switch {
	case issuer == "":
		return "nobody may"
	case !slices.ContainsFunc(identities, func(s string) bool { return strings.EqualFold(s, issuer) }):
		return "another CA"
	}
	seen := map[string]bool{}
	for more {
		var param string
		param, rest, more = strings.Cut(rest, ";")
		if param = strings.Trim(param, blank); param == "" {
			continue
		}
		key, text, ok := strings.Cut(param, "=")
		key, text = strings.ToLower(strings.Trim(key, blank)), strings.Trim(text, blank)
		if !ok || key == "" || strings.ContainsFunc(text, func(c rune) bool { return c < '!' || c > '~' }) {
			return "its parameters are malformed"
		}
		if seen[key] { // nothing satisfies two of them (RFC 8657 §3)
			return fmt.Sprintf("%.40q comes twice", key)
		}
		seen[key] = true
		switch key {
		case "accounturi":
			if account == "" {
				return "only for one account, and there is none yet"
			}
			if text != account {
				return "only for another account than " + account
			}
		case "validationmethods":
			allowed := strings.Split(text, ",")
			if !slices.ContainsFunc(methods, func(m string) bool { return slices.Contains(allowed, m) }) {
				return "not by " + strings.Join(methods, " or ")
			}
		}
	}
	return ""
}

// remedy is what would let the CA issue.
func (p policy) remedy(identities []string) string {
	if len(identities) == 0 {
		return "correct the CAA records of " + p.owner
	}
	return fmt.Sprintf("add the record: %s. CAA 0 issue %q, or correct what is there", p.owner, identities[0])
}
