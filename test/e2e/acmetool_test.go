package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"certd/acme/acmetest"
)

// TestTakesOverFromAcmetool lets Debian's acmetool obtain a certificate, and
// then certd work on the same directory: nothing is ordered that is not due, the
// renewal uses acmetool's account, and acmetool can go back to work on it.
func TestTakesOverFromAcmetool(t *testing.T) {
	t.Parallel()
	const name = "www.example.test"
	binary := needProgram(t, "acmetool")
	ca := acmetest.StartT(t, acmetest.Options{})
	s := webrootSite(t, ca, serveWebroot(t, ca.HTTPPort()))
	target, err := os.ReadFile(filepath.Join(s.state, "conf", "target"))
	if err != nil {
		t.Fatal(err)
	}
	// The provider and acmetool's own way of saying "do not test first"; certd
	// learns the CA's roots from its certd.yaml, acmetool from SSL_CERT_FILE.
	acmetoolTarget := fmt.Sprintf("request:\n  provider: %s\n  challenge:\n    http-self-test: false\n    webroot-paths: %s\n",
		ca.URL(), string(target)[len("request: {challenge: {method: webroot, webroot-paths: "):len(target)-len("}}\n")])
	s.write("acme/conf/target", acmetoolTarget)
	s.write("responses", "acme-enter-email: ops@example.com\n\"acme-agreement:data:text/plain,Do%20what%20thou%20wilt\": true\n")
	acmetool := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		args = append([]string{"--state", s.state, "--hooks", s.hooks, "--batch", "--stdio", "--response-file", filepath.Join(s.dir, "responses")}, args...)
		cmd := exec.CommandContext(ctx, binary, args...)
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+filepath.Join(s.dir, "ca.pem"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("acmetool %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	acmetool("want", name)
	old := s.leaf(name).SerialNumber

	ca.ResetRequests()
	if row := s.rows(0, "reconcile")[0]; row["outcome"] != "unchanged" || len(ca.Requests()) != acmetest.Count(ca.Requests(), "directory")+acmetest.Count(ca.Requests(), "ari") {
		t.Errorf("certd on acmetool's fresh directory: %v after %v, want unchanged, and the CA only asked when to renew", row, ca.Requests())
	}
	if row := s.rows(0, "status")[0]; row["state"] != "ready" || row["ca"] != "testca" {
		t.Errorf("status of acmetool's certificate: %v, want it ready and from testca", row)
	}
	s.must(0, "reconcile", "--force")
	if s.leaf(name).SerialNumber.Cmp(old) == 0 {
		t.Error("the forced renewal left acmetool's certificate live")
	}
	if got := acmetest.Count(ca.Requests(), "account"); got != 1 {
		t.Errorf("%d account requests, want one look-up by key", got)
	}
	if accounts, err := filepath.Glob(filepath.Join(s.state, "accounts", "*", "*")); err != nil || len(accounts) != 1 {
		t.Errorf("accounts %v, %v: want acmetool's alone", accounts, err)
	}
	ca.ResetRequests()
	s.must(0, "reconcile", "--force")
	if got := acmetest.Count(ca.Requests(), "account"); got != 0 {
		t.Errorf("%d account requests at the second renewal, want none: the URL is kept", got)
	}

	acmetool("reconcile")
	if got := acmetest.Count(ca.Requests(), "order"); got != 1 {
		t.Errorf("%d orders after acmetool's reconcile, want only certd's: acmetool has to recognise its certificate", got)
	}
	s.must(0, "reconcile")

	s.must(0, "account", "rollover")
	s.must(0, "rollback", name)
	checkStrangers(t, s, func() {
		ca.ResetRequests()
		acmetool("reconcile")
		if got := acmetest.Count(ca.Requests(), "order"); got != 0 {
			t.Errorf("%d orders by acmetool after a rollover and a rollback, want none", got)
		}
	})
}

// checkStrangers has acmetool run over what it has never heard of: account keys
// that were replaced or are about to be, and limits. The keys stay private.
func checkStrangers(t *testing.T, s *site, run func()) {
	t.Helper()
	keys, err := filepath.Glob(filepath.Join(s.state, "accounts", "*", "*", "privkey"))
	if err != nil || len(keys) != 2 { // one is retired
		t.Fatalf("account keys %v, %v: want two", keys, err)
	}
	for _, key := range keys {
		data, err := os.ReadFile(key)
		if err == nil {
			err = os.WriteFile(filepath.Join(filepath.Dir(key), "next-privkey"), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.write("acme/limits.json", `{"version":1,"cas":{}}`)
	run()
	private, err := filepath.Glob(filepath.Join(s.state, "accounts", "*", "*", "*privkey"))
	if err != nil || len(private) != 4 {
		t.Errorf("account keys %v, %v: want four", private, err)
	}
	for _, key := range private {
		if fi, err := os.Stat(key); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v after acmetool; want 0600", key, fi.Mode(), err)
		}
	}
}
