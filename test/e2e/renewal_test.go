package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"certd/acme/acmetest"
)

// TestAddresses: certificates for addresses of both versions are proven by
// http-01 at the address itself, and renewed.
func TestAddresses(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{Profiles: map[string]time.Duration{"shortlived": 160 * time.Hour}})
	s := newSite(t, ca, fmt.Sprintf("challenge: {http-port: %d, resolver: %q}\n", ca.HTTPPort(), ca.Resolver()))
	s.write("acme/conf/target", "request: {challenge: {method: listen}, profile: shortlived}\n")
	names := []string{"127.0.0.1"}
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		_ = l.Close()
		names = append(names, "::1")
	}
	for _, name := range names {
		s.must(0, "want", name, "--batch")
		leaf := s.leaf(name)
		if len(leaf.DNSNames) != 0 || len(leaf.IPAddresses) != 1 || !leaf.IPAddresses[0].Equal(net.ParseIP(name)) {
			t.Errorf("live/%s is for %v and %v", name, leaf.DNSNames, leaf.IPAddresses)
		}
		s.must(0, "reconcile", "--force", name)
		if again := s.leaf(name); again.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
			t.Errorf("the certificate for %s was not renewed", name)
		}
	}
}

// TestDaemonRenewsAtTheInstant: certd run wakes at the moment that was drawn from
// the CA's window, far from any run by the schedule, and tells the hook why.
func TestDaemonRenewsAtTheInstant(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	s := pebbleSite(t, ca)
	s.write("acme/conf/certd.yaml", s.read("acme/conf/certd.yaml")+"schedule: '@every 1000h'\nlisten: ''\n")
	s.must(0, "want", "www.example.com", "--batch")
	before := s.leaf("www.example.com")
	files, err := filepath.Glob(filepath.Join(s.state, "renewal", "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("renewal/ has %v, %v, want what the CA said of one certificate", files, err)
	}
	name := "acme/renewal/" + filepath.Base(files[0])
	var known map[string]any
	if err := json.Unmarshal([]byte(s.read(name)), &known); err != nil {
		t.Fatal(err)
	}
	instant := time.Now().Add(20 * time.Second)
	known["chosen"], known["explanation"] = instant.UTC(), "https://ca.example/incident"
	data, err := json.Marshal(known)
	if err != nil {
		t.Fatal(err)
	}
	s.write(name, string(data))
	if out := s.must(0, "status").out; !strings.Contains(out, "as the CA suggested") {
		t.Errorf("status does not say who wants the renewal:\n%s", out)
	}
	if rows := s.rows(0, "status"); rows[0]["renew_at"] != instant.UTC().Format(time.RFC3339) || !strings.Contains(fmt.Sprint(rows[0]["reason"]), "https://ca.example/incident") {
		t.Errorf("status tells %v, want renewal at %v and the CA's explanation", rows[0], instant)
	}
	s.daemon(nil)
	waitFor(t, "the certificate is renewed", func() bool { return s.leaf("www.example.com").SerialNumber.Cmp(before.SerialNumber) != 0 })
	if time.Now().Before(instant) {
		t.Error("it was renewed before its time")
	}
}
