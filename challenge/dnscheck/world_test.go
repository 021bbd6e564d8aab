package dnscheck

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// A world is a resolver and the name servers of its zones, all at one port of
// different loopback addresses.
type world struct {
	t    *testing.T
	port int

	mu    sync.Mutex
	nodes map[string]*node // by address
}

// A node is one server of a world.
type node struct {
	records []dns.RR // in any zone
	zones   []string // it is authoritative for; none for the resolver
	rcode   int      // instead of an answer
	trouble string   // a name that is answered with SERVFAIL
	mute    bool     // no answer at all
	cut     bool     // answers by UDP are truncated
	lame    bool     // knows nothing of its zones, and does not refuse either
	junk    []byte   // instead of an answer
	asked   []string // questions, in order
}

// newWorld starts servers at 127.0.0.N for each address given.
func newWorld(t *testing.T, addrs ...string) *world {
	t.Helper()
	w := &world{t: t, nodes: map[string]*node{}}
	for range 50 {
		if w.listen(addrs) {
			return w
		}
	}
	t.Fatal("no port is free at all addresses")
	return nil
}

func (w *world) listen(addrs []string) bool {
	w.port = 0
	var servers []*dns.Server
	for _, addr := range addrs {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", addr, w.port))
		if err == nil {
			w.port = l.Addr().(*net.TCPAddr).Port
			var p net.PacketConn
			if p, err = net.ListenPacket("udp", l.Addr().String()); err == nil {
				w.nodes[addr] = &node{}
				handler := dns.HandlerFunc(func(rw dns.ResponseWriter, q *dns.Msg) { w.serve(addr, rw, q) })
				servers = append(servers, &dns.Server{Listener: l, Handler: handler}, &dns.Server{PacketConn: p, Handler: handler})
				continue
			}
			_ = l.Close()
		}
		for _, s := range servers {
			if s.Listener != nil {
				_ = s.Listener.Close()
			} else {
				_ = s.PacketConn.Close()
			}
		}
		return false
	}
	var running sync.WaitGroup
	for _, s := range servers {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		running.Go(func() { _ = s.ActivateAndServe() })
		<-up
	}
	w.t.Cleanup(func() {
		for _, s := range servers {
			_ = s.Shutdown()
		}
		running.Wait()
	})
	return true
}

// set changes a node.
func (w *world) set(addr string, change func(n *node)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w.nodes[addr])
}

// zone makes the addresses authoritative for a zone, and tells the resolver.
func (w *world) zone(zone string, addrs ...string) {
	soa := zone + " 1 SOA ns." + zone + " host." + zone + " 1 2 3 4 1"
	records := []string{soa}
	for i, addr := range addrs {
		host := fmt.Sprintf("ns%d.%s", i+1, zone)
		records = append(records, zone+" 1 NS "+host, host+" 1 A "+addr)
	}
	for _, addr := range append(addrs, "127.0.0.1") {
		w.add(addr, records...)
		if addr != "127.0.0.1" {
			w.set(addr, func(n *node) { n.zones = append(n.zones, zone) })
		}
	}
}

// add adds records, in the form of zone files, to a node.
func (w *world) add(addr string, records ...string) {
	w.t.Helper()
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			w.t.Fatalf("%s: %v", text, err)
		}
		w.set(addr, func(n *node) { n.records = append(n.records, rr) })
	}
}

func (w *world) serve(addr string, rw dns.ResponseWriter, q *dns.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.nodes[addr]
	question := q.Question[0]
	name := dns.CanonicalName(question.Name)
	n.asked = append(n.asked, name+" "+dns.TypeToString[question.Qtype])
	if n.mute {
		return
	}
	if n.junk != nil {
		_, _ = rw.Write(slices.Concat([]byte{byte(q.Id >> 8), byte(q.Id)}, n.junk))
		return
	}
	m := new(dns.Msg)
	m.SetReply(q)
	m.Rcode = n.rcode
	if n.cut && rw.RemoteAddr().Network() == "udp" {
		m.Truncated = true
		_ = rw.WriteMsg(m)
		return
	}
	switch {
	case name == n.trouble:
		m.Rcode = dns.RcodeServerFailure
	case n.rcode == 0:
		n.answer(m, name, question.Qtype)
	}
	_ = rw.WriteMsg(m)
}

// answer looks name up as servers do: its records, its alias, the zone below that
// it is in, or which zone knows that there is nothing.
func (n *node) answer(m *dns.Msg, name string, qtype uint16) {
	zone := ""
	if n.lame {
		return
	}
	for _, z := range n.zones {
		if dns.IsSubDomain(z, name) && len(z) > len(zone) {
			zone = z
		}
	}
	m.Authoritative = zone != ""
	for _, rr := range n.records {
		h := rr.Header()
		owner := dns.CanonicalName(h.Name)
		switch {
		case owner == "*."+zone && dns.IsSubDomain(zone, name) && !n.has(name): // RFC 4592
			synthesized := dns.Copy(rr)
			synthesized.Header().Name = name
			m.Answer = append(m.Answer, synthesized)
		case owner == name && (h.Rrtype == qtype || h.Rrtype == dns.TypeCNAME):
			m.Answer = append(m.Answer, rr)
		case h.Rrtype == dns.TypeNS && zone != "" && owner != zone && dns.IsSubDomain(zone, owner) && dns.IsSubDomain(owner, name):
			m.Authoritative, m.Ns = false, append(m.Ns, rr)
		case h.Rrtype == dns.TypeSOA && (owner == zone || zone == "" && dns.IsSubDomain(owner, name)):
			m.Ns = append(m.Ns, rr)
		}
	}
	if len(m.Answer) > 0 {
		m.Ns = nil
	}
}

// has reports whether there is something of this name.
func (n *node) has(name string) bool {
	return slices.ContainsFunc(n.records, func(rr dns.RR) bool { return dns.IsSubDomain(name, dns.CanonicalName(rr.Header().Name)) })
}

// checker asks this world.
func (w *world) checker() *Checker {
	return &Checker{Resolver: fmt.Sprintf("127.0.0.1:%d", w.port), Port: w.port}
}

// questions are those that a node was asked which begin with prefix.
func (w *world) questions(addr, prefix string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.nodes[addr].asked), func(q string) bool { return !strings.HasPrefix(q, prefix) })
}
