package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"certd/acme"
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

// TestListening reads a /proc file system, half of it nonsense.
func TestListening(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	if listening(proc) != nil {
		t.Error("without /proc/net, ports are told")
	}
	write := func(name, text string) {
		path := filepath.Join(proc, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	line := func(port, state, inode string) string {
		return fmt.Sprintf("   0: 0100007F:%s 00000000:0000 %s 00000000:00000000 00:00000000 00000000     0        0 %s 1 x\n", port, state, inode)
	}
	write("net/tcp", "  sl  local_address ...\n"+line("0050", "0A", "11")+line("1F90", "01", "12")+"garbage\n"+line("ZZZZ", "0A", "13"))
	write("net/tcp6", line("01BB", "0A", "14"))
	write("77/comm", "nginx\n")
	write("77/fd/0", "no link")
	write("self/comm", "x")
	for fd, target := range map[string]string{"3": "socket:[11]", "4": "/dev/null", "5": "socket:[12]"} {
		if err := os.Symlink(target, filepath.Join(proc, "77/fd", fd)); err != nil {
			t.Fatal(err)
		}
	}
	h := listening(proc)
	if len(h) != 2 || h[80] != "nginx (process 77)" || h[443] != "" || h.certd(80) {
		t.Errorf("ports %v, want 80 of nginx and 443 of somebody", h)
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
