package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"certd/acme/acmetest"
)

// killWhen starts certd and kills it, and it alone, as soon as ready.
func (s *site) killWhen(what string, ready func() bool, args ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := s.command(ctx, args...)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	waitFor(s.t, what, ready)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// Records that a killed run left behind are removed by the next one, by whatever
// means they were set, also when neither order nor target are there any more.
func TestDNSKilled(t *testing.T) {
	t.Parallel()
	needHelper(t)
	b := startBIND(t, "")
	ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
	for _, way := range []string{"rfc2136", "hook"} {
		s := dnsSite(t, b, ca, "")
		if way == "rfc2136" {
			s.write("acme/conf/target", fmt.Sprintf("request: {challenge: {method: dns, dns-provider: rfc2136, dns-env-file: %q}}\n", b.envFile(s)))
		} else {
			s.script("hooks/dns.hook", b.nsupdate()+`
case $1 in
challenge-dns-start) nsupdate_ "update add _acme-challenge.$2. 1 TXT $4" ;;
challenge-dns-stop) nsupdate_ "update delete _acme-challenge.$2. TXT $4" ;;
*) exit 42 ;;
esac
`)
		}
		journal := func() int {
			entries, _ := os.ReadDir(filepath.Join(s.state, "dns"))
			return len(entries)
		}
		for i, forget := range []func(name string){
			func(string) {}, // the order is taken up again
			func(name string) { _ = os.Remove(filepath.Join(s.state, "desired", name)) },
			func(name string) {
				_ = os.Remove(filepath.Join(s.state, "desired", name))
				_ = os.RemoveAll(filepath.Join(s.state, "orders"))
			},
		} {
			name := fmt.Sprintf("%s%d.example.com", way, i)
			record := "_acme-challenge." + name
			s.killWhen("a record of "+name, func() bool { return len(b.texts(record)) > 0 }, "want", name)
			if journal() == 0 {
				t.Errorf("%s: there is a record, and no journal of it", name)
			}
			forget(name)
			s.must(0, "reconcile")
			wantNoRecord(t, b, s, record)
		}
	}
}

// Killed at random moments, over and over: in the end nothing is left.
func TestDNSKilledAnywhere(t *testing.T) {
	t.Parallel()
	needHelper(t)
	b := startBIND(t, "")
	ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
	s := dnsSite(t, b, ca, "")
	s.write("acme/conf/target", fmt.Sprintf("request: {challenge: {method: dns, dns-provider: rfc2136, dns-env-file: %q}}\n", b.envFile(s)))
	s.must(0, "want", "first.example.com")
	for i := range 12 {
		name := fmt.Sprintf("kill%d.example.com", i)
		s.write("acme/desired/"+name, fmt.Sprintf("satisfy: {names: [%q, \"*.%s\"]}\n", name, name))
		s.runAndKill(time.Duration(rand.IntN(3000))*time.Millisecond, "reconcile")
	}
	s.must(0, "reconcile")
	for i := range 12 {
		wantNoRecord(t, b, s, fmt.Sprintf("_acme-challenge.kill%d.example.com", i))
	}
}
