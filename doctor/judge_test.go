package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"certd/acme"
	"certd/challenge"
	"certd/config"
)

// TestClock: bounds by Date, which has whole seconds.
func TestClock(t *testing.T) {
	t.Parallel()
	base := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	at := func(sent, took, date time.Duration) acme.Exchange {
		return acme.Exchange{Sent: base.Add(sent), Took: took, Date: base.Add(date)}
	}
	const ms = time.Millisecond
	for _, tt := range []struct {
		about               string
		exchanges           []acme.Exchange
		offset, uncertainty time.Duration
		measured            bool
		want                Result
		detail              string
	}{
		{about: "one answer", exchanges: []acme.Exchange{at(500*ms, 100*ms, 0)}, offset: 50 * ms, uncertainty: 550 * ms, measured: true, want: OK, detail: "ahead"},
		{about: "two narrow it", exchanges: []acme.Exchange{at(0, 100*ms, 0), at(900*ms, 50*ms, 0)}, offset: 0, uncertainty: 100 * ms, measured: true, want: OK, detail: "ahead"},
		{about: "ahead by six and a half", exchanges: []acme.Exchange{at(6500*ms, 0, 0)}, offset: 6 * time.Second, uncertainty: 500 * ms, measured: true, want: Warning, detail: "6s ahead of"},
		{about: "five within what is uncertain", exchanges: []acme.Exchange{at(5800*ms, 0, 0)}, offset: 5300 * ms, uncertainty: 500 * ms, measured: true, want: OK, detail: "ahead"},
		{about: "behind by an hour", exchanges: []acme.Exchange{at(-time.Hour, 0, 0)}, offset: -time.Hour - 500*ms, uncertainty: 500 * ms, measured: true, want: Failure, detail: "behind"},
		{about: "servers that disagree", exchanges: []acme.Exchange{at(0, 0, 0), at(0, 0, 10*time.Second)}, offset: -5500 * ms, uncertainty: 5500 * ms, measured: true, want: OK, detail: "behind"},
		{about: "a slow answer says nothing", exchanges: []acme.Exchange{at(0, 6*time.Second, 0)}},
		{about: "a cached answer says nothing", exchanges: []acme.Exchange{{Sent: base, Date: base, Cached: true}}},
		{about: "no answer", exchanges: []acme.Exchange{{Sent: base}}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			offset, uncertainty, ok := clock(tt.exchanges)
			if ok != tt.measured || ok && (offset != tt.offset || uncertainty != tt.uncertainty) {
				t.Fatalf("offset %s ± %s, measured %t; want %s ± %s, %t", offset, uncertainty, ok, tt.offset, tt.uncertainty, tt.measured)
			}
			if !ok {
				return
			}
			result, detail, remedy := judgeClock(offset, uncertainty)
			if result != tt.want || !strings.Contains(detail, tt.detail) || (remedy == "") != (result == OK) {
				t.Errorf("%s, %q, remedy %q; want %s with %q", result, detail, remedy, tt.want, tt.detail)
			}
		})
	}
}

// TestFamily: what a CA would make of the addresses of one IP version.
func TestFamily(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about  string
		family family
		right  bool
		want   Result
		remedy string
	}{
		{"all right", family{tried: 2, right: 2}, true, OK, ""},
		{"one wrong among right ones", family{tried: 2, right: 1, wrong: []string{"404"}}, true, Failure, "each address must be right"},
		{"unreached, the other version right", family{tried: 1, unreached: []string{"refused"}}, true, Warning, "remove the record"},
		{"unreached, and nothing else", family{tried: 1, unreached: []string{"refused"}}, false, Failure, "firewall"},
		{"no route from here", family{tried: 1, unreached: []string{"unreachable"}, noRoute: true}, true, Warning, "look from elsewhere"},
	} {
		result, _, remedy := tt.family.judge(tt.right)
		if result != tt.want || !strings.Contains(remedy, tt.remedy) {
			t.Errorf("%s: %s, %q; want %s, %q", tt.about, result, remedy, tt.want, tt.remedy)
		}
	}
}

// TestOwnership: who else than the owner and root looks, sees less.
func TestOwnership(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	for euid, want := range map[int]Result{os.Geteuid(): OK, 0: OK, 4711: Warning} {
		if _, _, got, detail, _ := ownership(dir, info, euid); got != want {
			t.Errorf("user %d: %s (%s), want %s", euid, got, detail, want)
		}
	}
}

// TestPrintable: strangers' text is one bounded line.
func TestPrintable(t *testing.T) {
	t.Parallel()
	if got := printable("a\x1b[31m\n\tb\xff  c "); got != "a?[31m b? c" {
		t.Errorf("got %q", got)
	}
	if got := printable(strings.Repeat("ä", 5000)); len(got) > 2<<10+3 || !strings.HasSuffix(got, "ä…") {
		t.Errorf("%d bytes, ends with %q", len(got), got[len(got)-8:])
	}
}

// Root tries the daemon's file of credentials as an order would.
func TestHelperOwner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := int(info.Sys().(*syscall.Stat_t).Uid)
	if os.Geteuid() == 0 {
		want = 4242
		if err := os.Chown(dir, want, want); err != nil {
			t.Fatal(err)
		}
	}
	r := &run{Options: Options{StateDir: dir}, settings: &config.Settings{}}
	if got := r.newDNS().Helper.Owner; got != want {
		t.Errorf("the doctor takes files of user %d, want those of %d, whose the state directory is", got, want)
	}
}

// Ports 80 and 443 belong to a proxy that passes handshakes on to tls-ports: then
// the method listen has all it needs.
func TestListenBehindProxy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tlsPorts []string
		want     Result
	}{{nil, Failure}, {[]string{"127.0.0.1:8443"}, OK}} {
		r := &run{settings: &config.Settings{Challenge: config.ChallengeSettings{HTTPPort: 80, TLSPort: 443}},
			holders: challenge.Holders{80: "haproxy (pid 812)", 443: "haproxy (pid 812)"}}
		target := &config.Target{Challenge: config.Challenge{Method: challenge.MethodListen, TLSPorts: c.tlsPorts}}
		r.httpPort([]subject{{"www.example.com", target, true}})
		if len(r.findings) != 1 || r.findings[0].Result != c.want {
			t.Errorf("ports 80 and 443 are taken, and tls-ports are %q: found %+v, want %s", c.tlsPorts, r.findings, c.want)
		}
	}
}

// CAA records may allow any type that an order would use.
func TestMethodsForCAA(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		how  config.Challenge
		want string
	}{
		{"www.example.com", config.Challenge{}, "http-01 tls-alpn-01"},
		{"www.example.com", config.Challenge{Method: challenge.MethodWebroot, DNSProvider: "exec"}, "http-01 dns-01 dns-account-01"},
		{"*.example.com", config.Challenge{}, "dns-01 dns-persist-01"},
		{"www.example.com", config.Challenge{Method: challenge.MethodDNS, DNSProvider: "exec"}, "dns-01 dns-account-01 dns-persist-01"},
	} {
		s := subject{c.name, &config.Target{Challenge: c.how}, true}
		if got := strings.Join(s.methods(), " "); got != c.want {
			t.Errorf("%s by %+v: the types are %q, want %q", c.name, c.how, got, c.want)
		}
	}
}

// TestUnseenRecord: only a provider whose servers may take longer than the doctor has makes it a warning.
func TestUnseenRecord(t *testing.T) {
	t.Parallel()
	late := fmt.Errorf("%w (seen until then: nothing)", context.DeadlineExceeded)
	for _, tt := range []struct {
		about string
		err   error
		most  time.Duration
		want  Result
	}{
		{"a provider that may take an hour", late, time.Hour, Warning},
		{"a provider that should be done by then", late, time.Minute, Failure},
		{"an alias that leads elsewhere", errors.New("it leads to x.example.net"), time.Hour, Failure},
	} {
		if got, remedy := judgeUnseen(tt.err, tt.most); got != tt.want {
			t.Errorf("%s: %v (%s), want %v", tt.about, got, remedy, tt.want)
		}
	}
}
