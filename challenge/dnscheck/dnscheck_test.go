package dnscheck

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const record = "_acme-challenge.www.example.com"

func TestFollow(t *testing.T) {
	t.Parallel()
	chain := func(n int) (records []string) {
		for i := range n {
			from := fmt.Sprintf("hop%d.example.com.", i)
			if i == 0 {
				from = record + "."
			}
			records = append(records, fmt.Sprintf("%s 1 CNAME hop%d.example.com.", from, i+1))
		}
		return records
	}
	for _, c := range []struct {
		what    string
		records []string
		want    string
		says    string
	}{
		{"no alias", nil, record, ""},
		{"one alias", chain(1), "hop1.example.com", ""},
		{"eight aliases", chain(8), "hop8.example.com", ""},
		{"nine aliases", chain(9), "", "more than 8 in a row"},
		{"an alias of itself", []string{record + ". 1 CNAME " + record + "."}, "", "is a circle"},
		{"a circle", append(chain(3), "hop3.example.com. 1 CNAME hop1.example.com."), "", "is a circle"},
		{"another zone", []string{record + ". 1 CNAME x7.acme.test."}, "x7.acme.test", ""},
		{"upper case", []string{record + ". 1 CNAME X7.ACME.test."}, "x7.acme.test", ""},
		{"a wildcard's alias", []string{"*.example.com. 1 CNAME cdn.acme.test."}, record, ""},
		{"an alias beside a wildcard", []string{"*.example.com. 1 CNAME cdn.acme.test.", record + ". 1 CNAME hop1.acme.test."}, "hop1.acme.test", ""},
		{"a zone that nobody knows", []string{record + ". 1 CNAME x7.nowhere.invalid."}, "x7.nowhere.invalid", ""},
	} {
		w := newWorld(t, "127.0.0.1", "127.0.0.2", "127.0.0.3")
		w.zone("example.com.", "127.0.0.2")
		w.zone("acme.test.", "127.0.0.3")
		w.add("127.0.0.2", c.records...)
		w.add("127.0.0.1", c.records...)
		got, err := w.checker().Follow(t.Context(), record)
		if got != c.want || (err == nil) != (c.says == "") || err != nil && (!errors.Is(err, ErrAliases) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: got %q, %v, want %q %s", c.what, got, err, c.want, c.says)
		}
		if asked := w.questions("127.0.0.1", record); len(asked) > 0 && c.what != "a zone that nobody knows" {
			t.Errorf("%s: the resolver was asked %q, and remembers now what is not there yet", c.what, asked)
		}
	}
}

// A record that is written elsewhere leaves a wildcard's alias as it is.
func TestFollowWildcard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	w.zone("example.com.", "127.0.0.2")
	w.zone("acme.test.", "127.0.0.3")
	w.add("127.0.0.2", "*.example.com. 1 CNAME x7.acme.test.")
	w.add("127.0.0.3", "x7.acme.test. 1 TXT one")
	for delegate, want := range map[string]string{"": record, record: record, "x7.acme.test": "x7.acme.test"} {
		if got, err := w.checker().To(delegate, record).Follow(t.Context(), record); got != want || err != nil {
			t.Errorf("with the delegate %q: got %q, %v, want %q", delegate, got, err, want)
		}
	}
	if err := visible(t, w.checker().To("x7.acme.test", record), false, "one"); err != nil {
		t.Errorf("the record where the wildcard leads: %v", err)
	}
}

// The record may be in a zone of its own, below the one that the resolver knows.
func TestFollowDelegation(t *testing.T) {
	t.Parallel()
	for _, same := range []bool{false, true} {
		w := newWorld(t, "127.0.0.1", "127.0.0.2", "127.0.0.3")
		w.zone("example.com.", "127.0.0.2")
		w.zone(record+".", "127.0.0.3")
		if same { // the parent's server has both zones
			w.zone(record+".", "127.0.0.2")
		}
		w.add("127.0.0.2", record+". 1 NS ns1."+record+".")
		at, err := w.checker().locate(t.Context(), record)
		if err != nil || at.zone != record+"." || at.servers[0].addr != fmt.Sprintf("127.0.0.3:%d", w.port) {
			t.Errorf("a zone of its own (at the same server: %v): got %+v, %v", same, at, err)
		}
	}
}

// A name between the zone and the record that the resolver has trouble with, such
// as an alias of itself, does not hide the zone.
func TestFollowPastTrouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "127.0.0.1", "127.0.0.2")
	w.zone("example.com.", "127.0.0.2")
	w.set("127.0.0.1", func(n *node) { n.trouble = "www.example.com." })
	if got, err := w.checker().Follow(t.Context(), record); got != record || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, record)
	}
}

// visible runs Wait with short times, for 3 seconds if that will be in vain.
func visible(t *testing.T, c *Checker, inVain bool, values ...string) error {
	t.Helper()
	limit := time.Minute
	if inVain {
		limit = 3 * time.Second
	}
	return c.Wait(t.Context(), record, values, limit, shortest)
}

func TestWait(t *testing.T) {
	t.Parallel()
	txt := record + ". 1 TXT "
	for _, c := range []struct {
		what  string
		world func(w *world)
		says  string
	}{
		{"both servers show both values", func(w *world) {
			w.add("127.0.0.2", txt+"one", txt+"two")
			w.add("127.0.0.3", txt+"two", txt+"one", txt+"old")
		}, ""},
		{"a value in two parts", func(w *world) {
			w.add("127.0.0.2", txt+"o ne", txt+"two")
			w.add("127.0.0.3", txt+"two", txt+"one")
		}, ""},
		{"one server has one value", func(w *world) {
			w.add("127.0.0.2", txt+"one", txt+"two")
			w.add("127.0.0.3", txt+"one")
		}, "ns2.example.com (127.0.0.3) has the TXT record " + record + ", with 1 of the 2 values missing"},
		{"one server has none", func(w *world) { w.add("127.0.0.2", txt+"one", txt+"two") }, "ns2.example.com (127.0.0.3) has no TXT record"},
		{"one server is down", func(w *world) {
			w.add("127.0.0.2", txt+"one", txt+"two")
			w.set("127.0.0.3", func(n *node) { n.rcode = dns.RcodeServerFailure })
		}, ""},
		{"one server is lame", func(w *world) {
			w.add("127.0.0.3", txt+"one", txt+"two")
			w.set("127.0.0.2", func(n *node) { n.lame = true })
		}, ""},
		{"one server is lame, and the record an alias", func(w *world) {
			w.add("127.0.0.3", record+". 1 CNAME x.example.com.", "x.example.com. 1 TXT one", "x.example.com. 1 TXT two")
			w.set("127.0.0.2", func(n *node) { n.lame = true })
		}, ""},
		{"both are lame", func(w *world) {
			for _, addr := range []string{"127.0.0.2", "127.0.0.3"} {
				w.set(addr, func(n *node) { n.lame = true })
			}
		}, "has no TXT record"},
		{"a wildcard's alias at the server that comes late", func(w *world) {
			w.add("127.0.0.2", "*.example.com. 1 CNAME cdn.acme.test.")
			w.add("127.0.0.3", "*.example.com. 1 CNAME cdn.acme.test.", txt+"one", txt+"two")
		}, "ns1.example.com (127.0.0.2) has no TXT record"},
		{"one server sends junk", func(w *world) {
			w.add("127.0.0.2", txt+"one", txt+"two")
			w.set("127.0.0.3", func(n *node) { n.junk = []byte{0x84, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0, 0xc0, 0x0c} })
		}, ""},
		{"both are down", func(w *world) {
			for _, addr := range []string{"127.0.0.2", "127.0.0.3"} {
				w.set(addr, func(n *node) { n.rcode = dns.RcodeRefused })
			}
		}, "none of its name servers answers"},
		{"answers are long", func(w *world) {
			for _, addr := range []string{"127.0.0.2", "127.0.0.3"} {
				for i := range 300 {
					w.add(addr, fmt.Sprintf("%s%d%s", txt, i, strings.Repeat("x", 100)))
				}
				w.add(addr, txt+"one", txt+"two")
				w.set(addr, func(n *node) { n.cut = true })
			}
		}, ""},
		{"an alias", func(w *world) {
			w.add("127.0.0.2", record+". 1 CNAME x.example.com.", "x.example.com. 1 TXT one", "x.example.com. 1 TXT two")
			w.add("127.0.0.3", record+". 1 CNAME x.example.com.", "x.example.com. 1 TXT one", "x.example.com. 1 TXT two")
		}, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "127.0.0.1", "127.0.0.2", "127.0.0.3")
			w.zone("example.com.", "127.0.0.2", "127.0.0.3")
			c.world(w)
			err := visible(t, w.checker(), c.says != "", "one", "two")
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

// A secondary that comes late is waited for, and only then the resolver asked.
func TestWaitForSecondary(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")
	w.zone("example.com.", "127.0.0.2", "127.0.0.3")
	w.add("127.0.0.2", record+". 1 TXT one")
	c := w.checker()
	c.Public = []string{fmt.Sprintf("127.0.0.4:%d", w.port)}
	done := make(chan error, 1)
	go func() { done <- c.Wait(t.Context(), record, []string{"one"}, time.Minute, shortest) }()
	for len(w.questions("127.0.0.3", record+". TXT")) < 3 {
		time.Sleep(10 * time.Millisecond)
	}
	if asked := w.questions("127.0.0.4", ""); len(asked) > 0 {
		t.Errorf("the public resolver was asked %q while a secondary had no record", asked)
	}
	w.add("127.0.0.3", record+". 1 TXT one")
	for len(w.questions("127.0.0.4", record+". TXT")) < 2 {
		time.Sleep(10 * time.Millisecond)
	}
	select {
	case err := <-done:
		t.Errorf("Wait ended although the public resolver shows nothing: %v", err)
	default:
	}
	w.add("127.0.0.4", record+". 1 TXT one")
	if err := <-done; err != nil {
		t.Errorf("everybody shows it: %v", err)
	}
}

// Resolvers alone: nobody else is asked.
func TestWaitOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "127.0.0.1", "127.0.0.2")
	w.add("127.0.0.2", record+". 1 TXT one")
	c := &Checker{Resolver: fmt.Sprintf("127.0.0.1:%d", w.port), Only: true, Public: []string{fmt.Sprintf("127.0.0.2:%d", w.port)}}
	if err := visible(t, c, false, "one"); err != nil || len(w.questions("127.0.0.1", "")) > 0 {
		t.Errorf("got %v, and the resolver was asked %q", err, w.questions("127.0.0.1", ""))
	}
	if err := visible(t, c, true, "two"); err == nil || !strings.Contains(err.Error(), "resolver 127.0.0.2") {
		t.Errorf("a value that the resolver does not show: got %v", err)
	}
}

// Every wait ends with its context, whatever servers do.
func TestWaitEnds(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"mute resolver", "mute servers", "settling"} {
		w := newWorld(t, "127.0.0.1", "127.0.0.2")
		w.zone("example.com.", "127.0.0.2")
		w.add("127.0.0.2", record+". 1 TXT one")
		c := w.checker()
		switch what {
		case "mute resolver":
			w.set("127.0.0.1", func(n *node) { n.mute = true })
		case "mute servers":
			w.set("127.0.0.2", func(n *node) { n.mute = true })
		case "settling":
			c.Settle = time.Hour
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		err := c.Wait(ctx, record, []string{"one"}, time.Hour, time.Minute)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want the context's end", what, err)
		}
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	w.zone("example.com.", "127.0.0.2", "127.0.0.3")
	w.add("127.0.0.3", record+". 1 TXT one")
	for value, want := range map[string]bool{"one": true, "two": false} {
		if got, err := w.checker().Shown(t.Context(), record, value); got != want || err != nil {
			t.Errorf("Shown %q, which one of two servers has: got %v, %v", value, got, err)
		}
	}
	for _, addr := range []string{"127.0.0.2", "127.0.0.3"} {
		w.set(addr, func(n *node) { n.rcode = dns.RcodeServerFailure })
	}
	if _, err := w.checker().Shown(t.Context(), record, "one"); err == nil {
		t.Error("no server answers, and yet it is said whether the record is shown")
	}
}

// Whatever servers answer, nothing panics and nothing grows.
func FuzzAnswer(f *testing.F) {
	m := new(dns.Msg).SetQuestion(record+".", dns.TypeTXT)
	for _, text := range []string{record + ". 1 TXT a b", record + ". 1 CNAME x.example.com.", "example.com. 1 NS ns.example.com.", "example.com. 1 SOA a. b. 1 2 3 4 5"} {
		rr, err := dns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
		m.Ns = append(m.Ns, rr)
	}
	wire, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire)
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		name := dns.CanonicalName(record)
		if target := alias(m, name); len(target) > 1100 {
			t.Errorf("an alias of %d bytes", len(target))
		}
		if cut := referral(m, "example.com.", name); cut != "" && !dns.IsSubDomain(cut, name) {
			t.Errorf("led to the zone %q, which %q is not in", cut, name)
		}
		if owner := soa(m.Ns, name); owner != "" && !dns.IsSubDomain(owner, name) {
			t.Errorf("the zone %q has not %q in it", owner, name)
		}
		if all := addresses(m.Answer, name, "53"); len(all) > maxPerHost {
			t.Errorf("%d addresses of one host", len(all))
		}
		_ = texts(m)
	})
}
