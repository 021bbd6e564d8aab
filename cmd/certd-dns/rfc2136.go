package main

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/go-acme/lego/v4/challenge"
	"github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/go-acme/lego/v4/providers/dns/rfc2136"
	"github.com/miekg/dns"
)

// additive returns provider, or in place of lego's rfc2136 one that takes the
// same variables and leaves other values of the record alone: lego's removes
// them, so that a name and its wildcard could only be proven one after the
// other. What is signed by Kerberos stays lego's.
func additive(provider challenge.Provider) challenge.Provider {
	lego, ok := provider.(*rfc2136.DNSProvider)
	if !ok {
		return provider
	}
	config, ok := open(reflect.ValueOf(lego).Elem().FieldByName("config")).Interface().(*rfc2136.Config)
	if !ok || config == nil || strings.HasPrefix(config.TSIGAlgorithm, "gss-tsig") {
		return provider
	}
	return &updater{config: config}
}

// An updater is a provider by DNS UPDATE (RFC 2136), signed by TSIG (RFC 8945)
// if there is a key.
type updater struct {
	config *rfc2136.Config
}

func (u *updater) Timeout() (timeout, interval time.Duration) {
	return u.config.PropagationTimeout, u.config.PollingInterval
}

func (u *updater) Present(domain, _, keyAuth string) error {
	info := dns01.GetChallengeInfo(domain, keyAuth)
	if err := u.update(info, (*dns.Msg).Insert); err != nil {
		return fmt.Errorf("rfc2136: add %s: %w", info.EffectiveFQDN, err)
	}
	return nil
}

func (u *updater) CleanUp(domain, _, keyAuth string) error {
	info := dns01.GetChallengeInfo(domain, keyAuth)
	if err := u.update(info, (*dns.Msg).Remove); err != nil {
		return fmt.Errorf("rfc2136: remove %s: %w", info.EffectiveFQDN, err)
	}
	return nil
}

// update sends one change of the record's value.
func (u *updater) update(info dns01.ChallengeInfo, change func(*dns.Msg, []dns.RR)) error {
	zone, err := u.zone(info.EffectiveFQDN)
	if err != nil {
		return err
	}
	m := new(dns.Msg).SetUpdate(zone)
	change(m, []dns.RR{&dns.TXT{
		Hdr: dns.RR_Header{Name: info.EffectiveFQDN, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: uint32(u.config.TTL)},
		Txt: []string{info.Value},
	}})
	client := &dns.Client{Timeout: u.config.DNSTimeout}
	if u.config.TSIGKey != "" {
		m.SetTsig(u.config.TSIGKey, u.config.TSIGAlgorithm, 300, time.Now().Unix())
		client.TsigSecret = map[string]string{u.config.TSIGKey: u.config.TSIGSecret}
	}
	reply, _, err := client.Exchange(m, u.config.Nameserver)
	switch {
	case errors.Is(err, dns.ErrAuth), errors.Is(err, dns.ErrSig), errors.Is(err, dns.ErrKeyAlg), errors.Is(err, dns.ErrTime), errors.Is(err, dns.ErrSecret):
		return fmt.Errorf("zone %s at %s: %w%s", zone, u.config.Nameserver, err, hint(dns.RcodeNotAuth))
	case err != nil:
		return fmt.Errorf("zone %s at %s: %w", zone, u.config.Nameserver, err)
	case reply.Rcode != dns.RcodeSuccess:
		return fmt.Errorf("zone %s at %s: the server answered %s%s", zone, u.config.Nameserver, dns.RcodeToString[reply.Rcode], hint(reply.Rcode))
	}
	return nil
}

// hint is what to look at after a refusal.
func hint(rcode int) string {
	switch rcode {
	case dns.RcodeRefused:
		return "; does its update-policy or allow-update let this key change the zone?"
	case dns.RcodeNotAuth, dns.RcodeBadSig, dns.RcodeBadKey, dns.RcodeBadTime:
		return "; are name, algorithm and secret of the key (RFC2136_TSIG_*) those of the server, and its clock right?"
	case dns.RcodeNotZone:
		return "; is it the primary server of the zone?"
	}
	return ""
}

// zone is the zone of fqdn: one of RFC2136_ZONES, or what the server says.
func (u *updater) zone(fqdn string) (string, error) {
	if len(u.config.Zones) == 0 {
		return dns01.FindZoneByFqdnCustom(fqdn, []string{u.config.Nameserver})
	}
	for _, zone := range u.config.Zones { // lego sorted them, the longest first
		if zone = dns.CanonicalName(strings.TrimSpace(zone)); dns.IsSubDomain(zone, dns.CanonicalName(fqdn)) {
			return zone, nil
		}
	}
	return "", errors.New("it is in none of RFC2136_ZONES")
}
