package challenge_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"certd/acme"
	"certd/challenge"
	"certd/challenge/challengetest"
	"certd/challenge/dnscheck"
)

// A fakeZone is what hooks, or a provider, have set: values by record name.
type fakeZone struct {
	mu     sync.Mutex
	values map[string][]string
	calls  []string
	fail   error // of the next stop
}

// hook is a hook that sets records in the zone.
func (z *fakeZone) hook(_ context.Context, event string, args []string, stdin []byte, env map[string]string, _ *os.File) (bool, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.calls = append(z.calls, fmt.Sprintf("%s %q %q", event, args, stdin))
	name, value := env["CERTD_DNS_RECORD"], args[2]
	if z.values == nil {
		z.values = map[string][]string{}
	}
	z.values[name] = slices.DeleteFunc(z.values[name], func(v string) bool { return v == value })
	switch event {
	case challenge.EventDNSStart:
		z.values[name] = append(z.values[name], value)
	case challenge.EventDNSStop:
		if err := z.fail; err != nil {
			z.fail = nil
			return false, err
		}
	}
	return true, nil
}

// fetch looks for the value of a token in all records.
func (z *fakeZone) fetch(token string) (string, bool, error) {
	keyAuth := token + "." + challengetest.Thumbprint()
	sum := sha256.Sum256([]byte(keyAuth))
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, values := range z.values {
		if slices.Contains(values, base64.RawURLEncoding.EncodeToString(sum[:])) {
			return keyAuth, true, nil
		}
	}
	return "", false, nil
}

func (z *fakeZone) left() []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	var all []string
	for name, values := range z.values {
		if len(values) > 0 {
			all = append(all, name)
		}
	}
	return all
}

// A journal is a RecordJournal in memory.
type journal struct {
	mu      sync.Mutex
	entries map[string][]byte
	broken  error
	file    string              // that HoldRecord opens; empty means none
	holds   func(time.Duration) // is told of each
}

func (j *journal) SaveRecord(id string, data []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return j.broken
	}
	if j.entries == nil {
		j.entries = map[string][]byte{}
	}
	j.entries[id] = data
	return nil
}

func (j *journal) RemoveRecord(id string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.entries, id)
	return nil
}

// HoldRecord has nobody to wait for: there is one process.
func (j *journal) HoldRecord(_ context.Context, id string, wait time.Duration) (*os.File, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.entries[id] == nil {
		return nil, fs.ErrNotExist
	}
	if j.holds != nil {
		j.holds(wait)
	}
	if j.file == "" {
		return nil, nil
	}
	return os.Open(j.file)
}

func (j *journal) ids() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []string
	for id := range j.entries {
		all = append(all, id)
	}
	return all
}

// nobody is a checker whose resolver does not answer.
func nobody() *dnscheck.Checker { return &dnscheck.Checker{Resolver: "127.0.0.1:1"} }

func TestContractDNSHook(t *testing.T) {
	t.Parallel()
	challengetest.Run(t, challengetest.Harness{NamesOnly: true, Start: func(t *testing.T) challengetest.Subject {
		zone, kept := &fakeZone{}, &journal{}
		dns := &challenge.DNS{Journal: kept, Hook: zone.hook, Checker: nobody(), NoWait: true}
		return challengetest.Subject{
			Solver: &challenge.DNS01{DNS: dns, Target: "www"},
			Fetch:  zone.fetch,
			Left:   func() []string { return append(zone.left(), kept.ids()...) },
		}
	}})
}

// helperScript is a certd-dns that keeps its records as files of a directory. It
// knows no more JSON than it needs.
const helperScript = `#!/bin/sh
read -r request
field() { printf '%%s' "$request" | sed -n 's/.*"'$1'":"\([^"]*\)".*/\1/p'; }
file=%[1]s/$(field value)
case $(field action) in
present) echo "$request" >"$file" ;;
cleanup) rm -f "$file" ;;
esac
echo '{"ok":true,"timeout_seconds":5,"interval_seconds":1%[2]s}'
`

func helper(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "certd-dns")
	syscall.ForkLock.RLock() // or a process being started keeps it open, and it cannot be executed
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestContractDNSHelper(t *testing.T) {
	t.Parallel()
	for _, more := range []string{"", `,"memory":{"recordIDs":{"x":"1"}}`} {
		challengetest.Run(t, challengetest.Harness{NamesOnly: true, Start: func(t *testing.T) challengetest.Subject {
			dir, kept := t.TempDir(), &journal{}
			dns := &challenge.DNS{Journal: kept, Checker: nobody(), NoWait: true,
				Helper: &challenge.Helper{Path: helper(t, fmt.Sprintf(helperScript, dir, more))}}
			return challengetest.Subject{
				Solver: &challenge.DNS01{DNS: dns, Provider: "exec"},
				Fetch: func(token string) (string, bool, error) {
					keyAuth := token + "." + challengetest.Thumbprint()
					sum := sha256.Sum256([]byte(keyAuth))
					_, err := os.Stat(filepath.Join(dir, base64.RawURLEncoding.EncodeToString(sum[:])))
					return keyAuth, err == nil, nil
				},
				Left: func() []string { return append(entries(t, dir), kept.ids()...) },
			}
		}})
	}
}

// What an earlier process has left is removed: by Sweep, by CleanUp of its
// challenge, and not at all if it has been set anew.
func TestDNSSweep(t *testing.T) {
	t.Parallel()
	zone, kept := &fakeZone{}, &journal{}
	start := func() *challenge.DNS {
		return &challenge.DNS{Journal: kept, Hook: zone.hook, Checker: nobody(), NoWait: true}
	}
	killed := &challenge.DNS01{DNS: start()}
	type proof struct {
		id acme.Identifier
		ch acme.Challenge
	}
	var proofs []proof
	for _, name := range []string{"a.example.com", "b.example.com", "c.example.com"} {
		id, ch := challengetest.New(name)
		proofs = append(proofs, proof{id, ch})
		if err := killed.Present(t.Context(), id, ch); err != nil {
			t.Fatal(err)
		}
	}
	if len(kept.ids()) != 3 {
		t.Fatalf("three records are set, and %d journaled", len(kept.ids()))
	}
	dns := start()
	if err := dns.Load(kept.entries); err != nil {
		t.Fatal(err)
	}
	next := &challenge.DNS01{DNS: dns}
	if err := next.CleanUp(t.Context(), proofs[0].id, proofs[0].ch); err != nil || len(zone.left()) != 2 {
		t.Errorf("CleanUp of a challenge that an earlier process presented: %v, and %q are left", err, zone.left())
	}
	if err := next.Present(t.Context(), proofs[1].id, proofs[1].ch); err != nil {
		t.Error(err)
	}
	zone.fail = errors.New("no")
	if err := dns.Sweep(t.Context()); err == nil || !strings.Contains(err.Error(), "_acme-challenge.c.example.com") || len(kept.ids()) != 2 {
		t.Errorf("a record that cannot be removed: got the error %v and %d journaled, want it named and kept", err, len(kept.ids()))
	}
	if err := dns.Sweep(t.Context()); err != nil || len(kept.ids()) != 1 || !slices.Equal(zone.left(), []string{"_acme-challenge.b.example.com"}) {
		t.Errorf("Sweep: %v; %d journaled and %q left, want the record that was set anew", err, len(kept.ids()), zone.left())
	}
	if err := next.CleanUp(t.Context(), proofs[1].id, proofs[1].ch); err != nil || len(zone.left())+len(kept.ids()) > 0 {
		t.Errorf("CleanUp of what was set anew: %v; %q left", err, zone.left())
	}
}

// An entry that is none is named and left alone.
func TestDNSLoad(t *testing.T) {
	t.Parallel()
	good := challenge.DNSRecord{Domain: "example.com", Name: "_acme-challenge.example.com", Value: "v"}
	data, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Repeat("a", 52)
	err = (&challenge.DNS{}).Load(map[string][]byte{good.ID(): data, other: data})
	if err == nil || !strings.Contains(err.Error(), "dns/"+other+".json") || strings.Contains(err.Error(), good.ID()) {
		t.Errorf("got the error %v, want one about the entry with the wrong name alone", err)
	}
}

// Without a journal of it no record is set.
func TestDNSJournalFirst(t *testing.T) {
	t.Parallel()
	zone := &fakeZone{}
	dns := &challenge.DNS{Journal: &journal{broken: errors.New("disk full")}, Hook: zone.hook, Checker: nobody(), NoWait: true}
	id, ch := challengetest.New("www.example.com")
	if err := (&challenge.DNS01{DNS: dns}).Present(t.Context(), id, ch); err == nil || !strings.Contains(err.Error(), "disk full") || len(zone.calls) > 0 {
		t.Errorf("a record that cannot be journaled: got the error %v and the calls %q, want none", err, zone.calls)
	}
}

// A provider that keeps one value has one at a time, of all targets.
func TestDNSTurns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dns := &challenge.DNS{Checker: nobody(), NoWait: true,
		Helper: &challenge.Helper{Path: helper(t, fmt.Sprintf(helperScript, dir, `,"sequential":true,"pause_seconds":7`))}}
	first, second := &challenge.DNS01{DNS: dns, Provider: "exec"}, &challenge.DNS01{DNS: dns, Provider: "exec"}
	if queue, pause := first.Sequence(t.Context()); queue == "" || pause != 7*time.Second {
		t.Errorf("Sequence gave %q and %v, want a queue with 7 seconds", queue, pause)
	}
	id, ch := challengetest.New("a.example.com")
	if err := first.Present(t.Context(), id, ch); err != nil {
		t.Fatal(err)
	}
	id2, ch2 := challengetest.New("b.example.com")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := second.Present(ctx, id2, ch2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second record beside the first: got %v, want it to wait", err)
	}
	if err := first.CleanUp(t.Context(), id, ch); err != nil {
		t.Error(err)
	}
	if err := second.Present(t.Context(), id2, ch2); err != nil {
		t.Errorf("after the first is gone: %v", err)
	}
}

func TestDNSRefusesAddresses(t *testing.T) {
	t.Parallel()
	zone := &fakeZone{}
	d := &challenge.DNS01{DNS: &challenge.DNS{Hook: zone.hook, Checker: nobody(), NoWait: true}}
	for _, name := range []string{"192.0.2.1", "2001:db8::1"} {
		id, ch := challengetest.New(name)
		if err := d.Present(t.Context(), id, ch); err == nil || len(zone.calls) > 0 {
			t.Errorf("%s was presented in the DNS", name)
		}
	}
}

// How long a wait may take says the provider, once there is something to wait for.
func TestDNSPatience(t *testing.T) {
	t.Parallel()
	for _, noWait := range []bool{false, true} {
		d := &challenge.DNS01{Provider: "exec", Delegate: "a.example.net", DNS: &challenge.DNS{NoWait: noWait,
			Checker: &dnscheck.Checker{Resolver: "127.0.0.1:1", Settle: time.Minute},
			Helper:  &challenge.Helper{Path: helper(t, "#!/bin/sh\nread -r request\necho '{\"ok\":true,\"timeout_seconds\":3600}'\n")}}}
		id, ch := challengetest.New("a.example.com")
		if got := d.Patience(ch); got != 0 {
			t.Errorf("before the record is set: %v, want none", got)
		}
		if err := d.Present(t.Context(), id, ch); err != nil {
			t.Fatal(err)
		}
		want := 61 * time.Minute
		if noWait {
			want = 0
		}
		if got := d.Patience(ch); got != want {
			t.Errorf("without a wait (%t): %v, want %v", noWait, got, want)
		}
	}
}
