package acmetest

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"sync"

	"github.com/letsencrypt/challtestsrv"
	"github.com/miekg/dns"
)

// A dnsServer answers on UDP and TCP at one address of 127.0.0.1 from what a
// ChallSrv was told. The ChallSrv's own DNS server is not used: it registers
// its handler process-wide, so two of them would answer each other's questions.
type dnsServer struct {
	data    *challtestsrv.ChallSrv
	addr    string
	servers []*dns.Server
	running sync.WaitGroup
}

// startDNS returns a running DNS server where every name is at 127.0.0.1, and
// has no AAAA record, until its data say otherwise.
func startDNS() (*dnsServer, error) {
	data, err := challtestsrv.New(challtestsrv.Config{
		Log:          log.New(io.Discard, "", 0),
		HTTPOneAddrs: []string{"127.0.0.1:0"}, // New wants one server; it is never run
	})
	if err != nil {
		return nil, fmt.Errorf("making the DNS data: %w", err)
	}
	data.SetDefaultDNSIPv4("127.0.0.1")
	data.SetDefaultDNSIPv6("")
	packets, listener, err := listenBoth()
	if err != nil {
		return nil, fmt.Errorf("finding a port for DNS: %w", err)
	}
	s := &dnsServer{data: data, addr: listener.Addr().String()}
	s.servers = []*dns.Server{
		{PacketConn: packets, Handler: s},
		{Listener: listener, Handler: s},
	}
	for _, server := range s.servers {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		s.running.Go(func() {
			// It ends with an error only if its socket breaks, which the
			// resolver's clients then see.
			_ = server.ActivateAndServe()
		})
		<-started
	}
	return s, nil
}

// listenBoth opens UDP and TCP on the same free port of 127.0.0.1.
func listenBoth() (net.PacketConn, net.Listener, error) {
	var last error
	for range 50 {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		packets, err := net.ListenPacket("udp4", listener.Addr().String())
		if err == nil {
			return packets, listener, nil
		}
		last = errors.Join(err, listener.Close())
	}
	return nil, nil, last
}

// close stops both servers and waits for them.
func (s *dnsServer) close() error {
	var errs []error
	for _, server := range s.servers {
		errs = append(errs, server.Shutdown())
	}
	s.running.Wait()
	return errors.Join(errs...)
}

// ServeDNS answers the one question of r.
func (s *dnsServer) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(r)
	switch {
	case len(r.Question) != 1:
		m.SetRcode(r, dns.RcodeFormatError)
	default:
		s.answer(m, r.Question[0])
	}
	// The client's failure to read an answer is the client's to notice.
	_ = w.WriteMsg(m)
}

// answer adds the records for q to m, following one CNAME.
func (s *dnsServer) answer(m *dns.Msg, q dns.Question) {
	q.Name = strings.ToLower(q.Name)
	s.data.AddRequestEvent(challtestsrv.DNSRequestEvent{Question: q})
	if s.data.GetDNSServFailRecord(q.Name) {
		m.Rcode = dns.RcodeServerFailure
		return
	}
	owner := q.Name
	if target := s.data.GetDNSCNAMERecord(owner); target != "" {
		m.Answer = append(m.Answer, &dns.CNAME{Hdr: header(owner, dns.TypeCNAME), Target: target})
		owner = target
	}
	switch q.Qtype {
	case dns.TypeA:
		for _, ip := range orDefault(s.data.GetDNSARecord(owner), s.data.GetDefaultDNSIPv4()) {
			m.Answer = append(m.Answer, &dns.A{Hdr: header(owner, dns.TypeA), A: net.ParseIP(ip)})
		}
	case dns.TypeAAAA:
		for _, ip := range orDefault(s.data.GetDNSAAAARecord(owner), s.data.GetDefaultDNSIPv6()) {
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: header(owner, dns.TypeAAAA), AAAA: net.ParseIP(ip)})
		}
	case dns.TypeTXT:
		for _, text := range s.data.GetDNSTXTRecords(owner) {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: header(owner, dns.TypeTXT), Txt: chunks(text)})
		}
	case dns.TypeCAA:
		for _, policy := range s.data.GetDNSCAARecord(owner) {
			m.Answer = append(m.Answer, &dns.CAA{Hdr: header(owner, dns.TypeCAA), Tag: policy.Tag, Value: policy.Value})
		}
	}
}

// header returns a record header that must not be cached.
func header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET}
}

// orDefault returns values, or the fallback if there are none; an empty
// fallback means no answer.
func orDefault(values []string, fallback string) []string {
	if len(values) == 0 && fallback != "" {
		return []string{fallback}
	}
	return values
}

// chunks cuts a text into strings that fit a TXT record (RFC 1035 §3.3).
func chunks(text string) []string {
	var out []string
	for len(text) > 255 {
		out = append(out, text[:255])
		text = text[255:]
	}
	return append(out, text)
}
