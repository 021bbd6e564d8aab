package doctor

import (
	"context"
	"time"

	"github.com/miekg/dns"
)

const dnssecTime = 5 * time.Second // of one question

// checkDNSSEC asks the resolver for a name with and without validation: what it
// only gives without is bogus, and CAs, which validate, do not get it.
func (r *run) checkDNSSEC(ctx context.Context, s subject, add func(string, Result, string, string)) {
	const check = "dnssec"
	servers, err := r.resolvers()
	if err != nil {
		return // checkCAA tells it
	}
	for _, server := range servers {
		m, err := validated(ctx, server, s.base(), false)
		if err != nil {
			continue
		}
		switch {
		case m.Rcode == dns.RcodeServerFailure:
			bare, err := validated(ctx, server, s.base(), true)
			if err == nil && (bare.Rcode == dns.RcodeSuccess || bare.Rcode == dns.RcodeNameError) {
				add(check, Failure, "bogus: the resolver "+server+" has an answer, and refuses it because its signatures are not valid; CAs do so as well",
					"sign the zone again, or correct the DS records at its parent; until then no CA issues")
			}
		case m.AuthenticatedData:
			add(check, OK, "the zone is signed, and the resolver finds it valid", "")
		}
		return
	}
}

// validated asks for an address; bare asks a validating resolver not to validate
// (CD, RFC 4035 §3.2.2).
func validated(ctx context.Context, server, name string, bare bool) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, dnssecTime)
	defer cancel()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	q.CheckingDisabled, q.AuthenticatedData = bare, true
	q.SetEdns0(dns.DefaultMsgSize, false)
	m, _, err := (&dns.Client{Timeout: dnssecTime}).ExchangeContext(ctx, q, server)
	if err == nil && m.Truncated {
		m, _, err = (&dns.Client{Net: "tcp", Timeout: dnssecTime}).ExchangeContext(ctx, q, server)
	}
	return m, err
}
