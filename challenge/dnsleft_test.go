package challenge_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"certd/challenge"
	"certd/challenge/challengetest"
	"certd/challenge/dnscheck"
)

// emptyZone is a checker for a zone example.com without any TXT record, whose
// names are aliases as told.
func emptyZone(t *testing.T, aliases map[string]string) *dnscheck.Checker {
	t.Helper()
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Authoritative = true
		name, qtype := dns.CanonicalName(q.Question[0].Name), q.Question[0].Qtype
		answer := ""
		switch alias, ok := aliases[name]; {
		case ok:
			answer = "CNAME " + alias
		case qtype == dns.TypeSOA && name == "example.com.":
			answer = "SOA ns.example.com. x.example.com. 1 1 1 1 1"
		case qtype == dns.TypeNS && name == "example.com.":
			answer = "NS ns.example.com."
		case qtype == dns.TypeA && name == "ns.example.com.":
			answer = "A 127.0.0.1"
		}
		if answer != "" {
			rr, err := dns.NewRR(fmt.Sprintf("%s 1 IN %s", name, answer))
			if err != nil {
				t.Error(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		_ = w.WriteMsg(m)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = packets.Close(); <-done })
	addr := packets.LocalAddr().(*net.UDPAddr)
	return &dnscheck.Checker{Resolver: addr.String(), Port: addr.Port}
}

// A record that was set and that nobody has seen yet may still come up: that no
// server shows it does not mean that it was removed.
func TestDNSNotSeenYet(t *testing.T) {
	t.Parallel()
	zone, kept := &fakeZone{}, &journal{}
	checker := emptyZone(t, nil)
	start := func() *challenge.DNS { return &challenge.DNS{Journal: kept, Hook: zone.hook, Checker: checker} }
	d := &challenge.DNS01{DNS: start()}
	id, ch := challengetest.New("www.example.com")
	if err := d.Present(t.Context(), id, ch); err != nil {
		t.Fatal(err)
	}
	zone.fail = errors.New("the provider is down")
	if err := d.CleanUp(t.Context(), id, ch); err == nil || len(kept.ids()) != 1 {
		t.Errorf("the removal of a fresh record failed: got the error %v and %d journaled, want it kept", err, len(kept.ids()))
	}
	next := start()
	if err := next.Load(kept.entries); err != nil {
		t.Fatal(err)
	}
	if err := next.Sweep(t.Context()); err != nil || len(kept.ids()) > 0 {
		t.Errorf("the next run: %v, and %d journaled, want it removed", err, len(kept.ids()))
	}
}

// So may one whose Present failed and left open what became of it. What was
// refused is not there.
func TestDNSPresentedPerhaps(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]int{
		`echo '{"error":"exec: it hangs","perhaps":true}'`:                 1,
		`echo '{"error":"exec: half of it","memory":{"ids":{"x":"1"}}}'`:   1,
		`echo 'panic: out of paper' >&2; exit 2`:                           1,
		`echo '{"error":"exec: 403: the token may not change this zone"}'`: 0,
	} {
		script := helper(t, `#!/bin/sh
read -r request
case $request in
*'"action":"describe"'*) echo '{"ok":true}' ;;
*) `+answer+` ;;
esac
`)
		kept := &journal{}
		d := &challenge.DNS01{Provider: "exec", DNS: &challenge.DNS{Journal: kept, Helper: &challenge.Helper{Path: script}, Checker: emptyZone(t, nil)}}
		id, ch := challengetest.New("www.example.com")
		if err := d.Present(t.Context(), id, ch); err == nil {
			t.Errorf("%s: Present succeeds", answer)
		}
		if err := d.CleanUp(t.Context(), id, ch); err != nil || len(kept.ids()) != want {
			t.Errorf("%s, and no removal either: got the error %v and %d journaled, want %d and no word", answer, err, len(kept.ids()), want)
		}
	}
}

// A name from the DNS reaches hooks only if it is made of letters, digits and "-._".
func TestDNSOddAlias(t *testing.T) {
	t.Parallel()
	zone := &fakeZone{}
	for name, alias := range map[string]string{"a": `$(reboot).example.com.`, "b": `x\010y.example.com.`, "c": `a/b.example.com.`, "d": `-rf.example.com.`} {
		checker := emptyZone(t, map[string]string{"_acme-challenge." + name + ".example.com.": alias})
		d := &challenge.DNS01{DNS: &challenge.DNS{Hook: zone.hook, Checker: checker}}
		id, ch := challengetest.New(name + ".example.com")
		if err := d.Present(t.Context(), id, ch); err == nil || len(zone.calls) > 0 || strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("an alias for %s: got the error %v and the calls %q, want an error and none", alias, err, zone.calls)
		}
	}
}

// What a provider wants to know again of a record is kept when another process
// sets it anew: it may be there already.
func TestDNSMemoryKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := helper(t, fmt.Sprintf(`#!/bin/sh
read -r request
case $request in
*'"action":"present"'*'"memory"'*) echo '{"error":"a memory at present"}'; exit 1 ;;
*'"action":"present"'*) [ ! -e %[1]s/record ] || { echo '{"error":"identical record already exists"}'; exit 1; }
	touch %[1]s/record; echo '{"ok":true,"memory":{"recordIDs":{"x":"1"}}}'; exit ;;
*'"action":"cleanup"'*'"memory":{"recordIDs":{"x":"1"}}'*) rm %[1]s/record ;;
*'"action":"cleanup"'*) echo '{"error":"unknown record ID"}'; exit 1 ;;
esac
echo '{"ok":true}'
`, dir))
	kept := &journal{}
	start := func() *challenge.DNS {
		return &challenge.DNS{Journal: kept, Helper: &challenge.Helper{Path: script}, Checker: nobody(), NoWait: true}
	}
	id, ch := challengetest.New("www.example.com")
	if err := (&challenge.DNS01{DNS: start(), Provider: "exec"}).Present(t.Context(), id, ch); err != nil {
		t.Fatal(err)
	}
	dns := start()
	if err := dns.Load(kept.entries); err != nil {
		t.Fatal(err)
	}
	d := &challenge.DNS01{DNS: dns, Provider: "exec"}
	if err := d.Present(t.Context(), id, ch); err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("the same record again: got %v", err)
	}
	if err := d.CleanUp(t.Context(), id, ch); err != nil || len(entries(t, dir))+len(kept.ids()) > 0 {
		t.Errorf("CleanUp: %v; left are %q, and %d journaled", err, entries(t, dir), len(kept.ids()))
	}
}

// Before anything is done about a record of an earlier process, what that has
// started is waited for; and certd-dns has the record's entry open.
func TestDNSHeld(t *testing.T) {
	t.Parallel()
	calls := filepath.Join(t.TempDir(), "calls")
	script := helper(t, fmt.Sprintf(`#!/bin/sh
read -r request
action=${request#*\"action\":\"}
open=$(readlink /proc/$$/fd/3)
echo "${action%%%%\"*} with ${open##pipe:*}" >>%s
echo '{"ok":true}'
`, calls))
	kept := &journal{file: script}
	kept.holds = func(wait time.Duration) {
		f, err := os.OpenFile(calls, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err == nil {
			fmt.Fprintln(f, "hold", wait)
			f.Close()
		}
	}
	start := func() *challenge.DNS01 {
		dns := &challenge.DNS{Journal: kept, Helper: &challenge.Helper{Path: script}, Checker: nobody(), NoWait: true}
		if err := dns.Load(kept.entries); err != nil {
			t.Fatal(err)
		}
		return &challenge.DNS01{DNS: dns, Provider: "exec"}
	}
	id, ch := challengetest.New("www.example.com")
	with := " with " + script
	for _, c := range []struct {
		what string
		do   func() error
		want []string
	}{
		{"a record", func() error { return start().Present(t.Context(), id, ch) }, []string{"describe with", "hold 0s", "present" + with}},
		{"the record again, by the next process", func() error { return start().Present(t.Context(), id, ch) },
			[]string{"describe with", "hold 40s", "hold 0s", "present" + with}},
		{"its removal by the third", func() error { return start().DNS.Sweep(t.Context()) }, []string{"hold 40s", "cleanup" + with}},
		{"set and removed by one", func() error {
			d := start()
			return errors.Join(d.Present(t.Context(), id, ch), d.CleanUp(t.Context(), id, ch))
		}, []string{"describe with", "hold 0s", "present" + with, "hold 40s", "cleanup" + with}},
	} {
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		data, _ := os.ReadFile(calls)
		var got []string
		for line := range strings.Lines(string(data)) {
			got = append(got, strings.TrimSpace(line))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
		if err := os.Remove(calls); err != nil {
			t.Fatal(err)
		}
	}
	if len(kept.ids()) > 0 {
		t.Errorf("left in the journal: %q", kept.ids())
	}
}

// What another process has removed is not removed again.
func TestDNSGoneMeanwhile(t *testing.T) {
	t.Parallel()
	zone, kept := &fakeZone{}, &journal{}
	id, ch := challengetest.New("www.example.com")
	first := &challenge.DNS01{DNS: &challenge.DNS{Journal: kept, Hook: zone.hook, Checker: nobody(), NoWait: true}, Trial: true}
	if err := first.Present(t.Context(), id, ch); err != nil {
		t.Fatal(err)
	}
	for _, entry := range kept.entries {
		if !challenge.IsTrial(entry) {
			t.Errorf("not known for a trial: %s", entry)
		}
	}
	next := &challenge.DNS{Journal: kept, Hook: zone.hook, Checker: nobody(), NoWait: true}
	if err := errors.Join(next.Load(kept.entries), first.CleanUp(t.Context(), id, ch), next.Sweep(t.Context())); err != nil {
		t.Error(err)
	}
	if len(zone.calls) != 2 {
		t.Errorf("the hook was called %q, want once to set and once to remove", zone.calls)
	}
}

// Credentials do not get into errors, however a provider's code writes them.
func TestHelperHidesCredentials(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "dns.env")
	if err := os.WriteFile(file, []byte("DUCKDNS_TOKEN='se/cret+value'\nNAMECHEAP_API_USER=somebody\nX_PASSWORD=short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, script := range map[string]string{
		"answers": `echo "{\"error\":\"duckdns: somebody: Get https://www.duckdns.org/update?token=se%2Fcret%2Bvalue&raw=$DUCKDNS_TOKEN\"}"`,
		"panics":  `echo "panic: somebody: $DUCKDNS_TOKEN se%2Fcret+value" >&2; exit 2`,
	} {
		err := present(t, t.Context(), "#!/bin/sh\n"+script+"\n", file)
		if err == nil || strings.Contains(err.Error(), "cret") || !strings.Contains(err.Error(), "***") || !strings.Contains(err.Error(), "somebody") {
			t.Errorf("a provider that %s: got the error %v, want one without the token", what, err)
		}
	}
}
