package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

const (
	dnssecTime  = 5 * time.Second // of one question
	wholePacket = 1232            // bytes of an answer by UDP that no path splits
)

// Remedy and text of a zone whose signatures are not valid.
const (
	bogusText   = "bogus: the resolver %s has an answer, and refuses it because its signatures are not valid; CAs do so as well"
	bogusRemedy = "sign the zone again, or correct the DS records at its parent; until then no CA issues"
)

// checkDNSSEC looks whether CAs, which validate, get an answer about a name.
func (r *run) checkDNSSEC(ctx context.Context, s subject, add func(string, Result, string, string)) {
	const check = "dnssec"
	switch signed, bogus := r.signatures(ctx, s.base()); {
	case bogus != "":
		add(check, Failure, fmt.Sprintf(bogusText, bogus), bogusRemedy)
	case signed:
		add(check, OK, "the zone is signed, and the resolver finds it valid", "")
	}
}

// signatures asks the resolver for a name with and without validation: what it
// only gives without is bogus, and the resolver is named.
func (r *run) signatures(ctx context.Context, name string) (valid bool, bogus string) {
	servers, err := r.resolvers()
	if err != nil {
		return false, "" // checkCAA tells it
	}
	for _, server := range servers {
		m, err := validated(ctx, server, name, false)
		if err != nil {
			continue
		}
		if m.Rcode != dns.RcodeServerFailure {
			return m.AuthenticatedData, ""
		}
		bare, err := validated(ctx, server, name, true)
		if err == nil && (bare.Rcode == dns.RcodeSuccess || bare.Rcode == dns.RcodeNameError) {
			return false, server
		}
		return false, ""
	}
	return false, ""
}

// validated asks for an address; bare asks a validating resolver not to validate
// (CD, RFC 4035 §3.2.2).
func validated(ctx context.Context, server, name string, bare bool) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, dnssecTime)
	defer cancel()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	q.CheckingDisabled, q.AuthenticatedData = bare, true
	q.SetEdns0(wholePacket, false)
	m, _, err := (&dns.Client{Timeout: dnssecTime}).ExchangeContext(ctx, q, server)
	if err == nil && m.Truncated {
		m, _, err = (&dns.Client{Net: "tcp", Timeout: dnssecTime}).ExchangeContext(ctx, q, server)
	}
	return m, err
}
