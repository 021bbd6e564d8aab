package challenge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"certd/test/ports"
)

// serve answers UDP and TCP on one port with h.
func serve(t *testing.T, h dns.HandlerFunc) string {
	t.Helper()
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ports.Free(t)))
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: ln, Handler: h}} {
		started, done := make(chan struct{}), make(chan error, 1)
		s.NotifyStartedFunc = func() { close(started) }
		go func() { done <- s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			_ = s.Shutdown()
			<-done
		})
	}
	return ln.Addr().String()
}

// records answers every question with all of these, whatever was asked.
func records(t *testing.T, texts ...string) dns.HandlerFunc {
	var all []dns.RR
	for _, text := range texts {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rr)
	}
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		m.Answer = all
		_ = w.WriteMsg(m)
	}
}

// byName answers with the records of the name that was asked for.
func byName(t *testing.T, texts ...string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		var of []string
		for _, text := range texts {
			if strings.HasPrefix(text, strings.ToLower(q.Question[0].Name)+" ") {
				of = append(of, text)
			}
		}
		records(t, of...)(w, q)
	}
}

func code(rcode int) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetRcode(q, rcode)
		_ = w.WriteMsg(m)
	}
}

// one answers one type with a record and the other with a code.
func one(t *testing.T, qtype uint16, record string, otherwise int) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype == qtype {
			records(t, record)(w, q)
			return
		}
		code(otherwise)(w, q)
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	chain := []string{"www.test. CNAME x0.test."}
	for i := range 20 {
		chain = append(chain, fmt.Sprintf("x%d.test. CNAME x%d.test.", i, i+1))
	}
	for _, c := range []struct {
		name string
		h    dns.HandlerFunc
		want string // addresses, or the start of the error
	}{
		{"v6 first, once each", records(t, "www.test. A 192.0.2.1", "www.test. AAAA 2001:db8::1", "www.test. A 192.0.2.1", "www.test. A 192.0.2.2"), "[2001:db8::1 192.0.2.1 192.0.2.2]"},
		{"mapped", records(t, "www.test. AAAA ::ffff:192.0.2.1"), "[192.0.2.1]"},
		{"upper case", records(t, "WWW.Test. A 192.0.2.1"), "[192.0.2.1]"},
		{"alias followed by the server", records(t, "www.test. CNAME a.test.", "a.test. CNAME b.test.", "b.test. A 192.0.2.1"), "[192.0.2.1]"},
		{"alias to be followed", byName(t, "www.test. CNAME a.test.", "a.test. CNAME b.test.", "b.test. A 192.0.2.1"), "[192.0.2.1]"},
		{"another name's address", records(t, "evil.test. A 192.0.2.1"), "no A or AAAA record of www.test found at "},
		{"alias to itself", records(t, "www.test. CNAME www.test."), "no A or AAAA record"},
		{"aliases in a circle", byName(t, "www.test. CNAME a.test.", "a.test. CNAME www.test."), "look up www.test. at ADDR: more than 8 aliases"},
		{"aliases without end", records(t, chain...), "no A or AAAA record"},
		{"alias to nothing", byName(t, "www.test. CNAME a.test."), "no A or AAAA record"},
		{"no such name", code(dns.RcodeNameError), "no A or AAAA record of www.test found at ADDR"},
		{"broken server", code(dns.RcodeServerFailure), "look up www.test. at ADDR: the DNS server answered SERVFAIL"},
		{"refused", code(dns.RcodeRefused), "look up www.test. at ADDR: the DNS server answered REFUSED"},
		{"made-up code", code(14), "look up www.test. at ADDR: the DNS server answered code 14"},
		{"AAAA fails, A is there", one(t, dns.TypeA, "www.test. A 192.0.2.1", dns.RcodeServerFailure), "[192.0.2.1]"},
		{"A fails, AAAA is empty", one(t, dns.TypeAAAA, "x.test. AAAA ::1", dns.RcodeServerFailure), "look up www.test. at ADDR: the DNS server answered SERVFAIL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, c.h)
			addrs, err := lookup(t.Context(), server, "www.test")
			got := fmt.Sprint(addrs)
			if err != nil {
				got = err.Error()
			}
			if want := strings.ReplaceAll(c.want, "ADDR", server); !strings.HasPrefix(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestLookupOverTCP(t *testing.T) {
	t.Parallel()
	server := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			m := new(dns.Msg)
			m.SetReply(q)
			m.Truncated = true
			_ = w.WriteMsg(m)
			return
		}
		records(t, "www.test. A 192.0.2.1")(w, q)
	})
	addrs, err := lookup(t.Context(), server, "www.test.")
	if len(addrs) != 1 || err != nil {
		t.Errorf("got %v and the error %v, want the address that TCP gives", addrs, err)
	}
}

// Datagrams that answer other questions are passed over, and garbage is an error.
func TestLookupHostileServer(t *testing.T) {
	t.Parallel()
	stray := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		for _, change := range []func(*dns.Msg){
			func(m *dns.Msg) { m.Id++ },
			func(m *dns.Msg) { m.Question[0].Name = "other.test." },
			func(m *dns.Msg) { m.Question = nil },
			func(m *dns.Msg) { m.Response = false },
		} {
			wrong := new(dns.Msg)
			wrong.SetReply(q.Copy())
			change(wrong)
			_ = w.WriteMsg(wrong)
		}
		records(t, "www.test. A 192.0.2.1")(w, q)
	})
	if addrs, err := lookup(t.Context(), stray, "www.test"); err != nil || len(addrs) != 1 {
		t.Errorf("after strays: got %v and the error %v, want the answer", addrs, err)
	}
	for _, garbage := range []string{"x", strings.Repeat("\xc0", 600)} {
		server := serve(t, func(w dns.ResponseWriter, _ *dns.Msg) { _, _ = w.Write([]byte(garbage)) })
		if addrs, err := lookup(t.Context(), server, "www.test"); err == nil {
			t.Errorf("a server that answers %.20q gave %v", garbage, addrs)
		}
	}
}

// A server that never answers does not outlast the context.
func TestLookupCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := serve(t, func(dns.ResponseWriter, *dns.Msg) { cancel() })
	if addrs, err := lookup(ctx, server, "www.test"); err == nil {
		t.Errorf("got %v from a server that never answers", addrs)
	}
	if _, err := lookup(ctx, server, "www.test"); !errors.Is(err, context.Canceled) {
		t.Errorf("look-up under a cancelled context: got %v, want context.Canceled", err)
	}
}

func TestSystemLookup(t *testing.T) {
	t.Parallel()
	addrs, err := lookup(t.Context(), "", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range addrs {
		if !addr.IsLoopback() {
			t.Errorf("localhost is %v", addr)
		}
	}
}

func FuzzFollow(f *testing.F) {
	m := new(dns.Msg)
	m.SetQuestion("www.test.", dns.TypeA)
	for _, text := range []string{"www.test. CNAME a.test.", "a.test. A 192.0.2.1", "a.test. AAAA ::1", "a.test. CNAME www.test."} {
		rr, err := dns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
		data, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := new(dns.Msg)
		if m.Unpack(data) != nil {
			return
		}
		addrs, _ := follow(m.Answer, "www.test.")
		for _, addr := range addrs {
			if !addr.IsValid() || addr == (netip.Addr{}) {
				t.Errorf("follow gave the invalid address %v", addr)
			}
		}
	})
}
