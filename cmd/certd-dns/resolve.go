package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/miekg/dns"
)

const resolveTimeout = 5 * time.Second // of one question to one server

// direct makes lego set exactly the record of req. Its providers compute the
// record from the domain and follow aliases (CNAME) themselves, with resolvers
// that are package variables of lego. certd has followed them already, by its
// own rules, and may have been told to write elsewhere: so where the record is
// not "_acme-challenge." and the domain, a resolver in this process says that
// this is an alias for it. All other questions go to the resolvers of req.
func direct(req request) error {
	resolvers := req.Resolvers
	if len(resolvers) == 0 {
		resolvers = systemResolvers("/etc/resolv.conf")
	}
	alias := dns.CanonicalName("_acme-challenge." + req.Domain)
	record := dns.CanonicalName(req.Name)
	if req.Action == actionDescribe || record == alias {
		if err := os.Setenv("LEGO_DISABLE_CNAME_SUPPORT", "true"); err != nil {
			return err
		}
		return use(resolvers)
	}
	if err := os.Unsetenv("LEGO_DISABLE_CNAME_SUPPORT"); err != nil {
		return err
	}
	addr, err := (&aliasResolver{alias: alias, record: record, upstream: resolvers}).listen()
	if err != nil {
		return fmt.Errorf("start a resolver that knows the alias: %w", err)
	}
	return use([]string{addr})
}

// use sets lego's resolvers.
func use(resolvers []string) error {
	if err := dns01.AddDNSTimeout(resolveTimeout)(nil); err != nil {
		return err
	}
	return dns01.AddRecursiveNameservers(resolvers)(nil)
}

// systemResolvers are those of resolv.conf, or else of this machine.
func systemResolvers(path string) []string {
	config, err := dns.ClientConfigFromFile(path)
	if err != nil || len(config.Servers) == 0 {
		return []string{"127.0.0.1:53"}
	}
	var out []string
	for _, server := range config.Servers {
		out = append(out, net.JoinHostPort(server, config.Port))
	}
	return out
}

// An aliasResolver is a DNS server on a loopback address that knows one alias
// and passes on everything else. It ends with the process.
type aliasResolver struct {
	alias, record string   // canonical
	upstream      []string // "host:port"
}

// listen serves UDP and TCP at one port and returns the address.
func (a *aliasResolver) listen() (string, error) {
	var last error
	for range 50 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		packets, err := net.ListenPacket("udp", listener.Addr().String())
		if err != nil { // taken by somebody else
			last = errors.Join(err, listener.Close())
			continue
		}
		go func() { _ = (&dns.Server{Listener: listener, Handler: a}).ActivateAndServe() }() // whoever asks sees its failure
		go func() { _ = (&dns.Server{PacketConn: packets, Handler: a}).ActivateAndServe() }()
		return listener.Addr().String(), nil
	}
	return "", last
}

// ServeDNS answers one question.
func (a *aliasResolver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	name := ""
	if len(q.Question) == 1 {
		name = dns.CanonicalName(q.Question[0].Name)
	}
	switch {
	case name == "":
		m.SetRcode(q, dns.RcodeFormatError)
	case name == a.alias:
		m.Answer = append(m.Answer, &dns.CNAME{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: a.record})
	case name == a.record && q.Question[0].Qtype == dns.TypeCNAME: // the end of the way, whatever the DNS says
	default:
		m = a.ask(w.RemoteAddr().Network(), q)
	}
	_ = w.WriteMsg(m) // whoever asks sees that there is no answer
}

// ask passes a question on, and returns the first answer.
func (a *aliasResolver) ask(network string, q *dns.Msg) *dns.Msg {
	client := &dns.Client{Net: strings.TrimRight(network, "46"), Timeout: resolveTimeout}
	for _, server := range a.upstream {
		m, _, err := client.Exchange(q.Copy(), server)
		if err == nil && m != nil {
			return m
		}
	}
	m := new(dns.Msg)
	return m.SetRcode(q, dns.RcodeServerFailure)
}
