package state

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"certd/acme/acmetest"
)

// acmetool returns the path of Debian's acmetool. Without it the test is skipped,
// or fails where CERTD_TEST_REQUIRE=1 says that everything is installed.
func acmetool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("acmetool")
	if err != nil && os.Getenv("CERTD_TEST_REQUIRE") == "1" {
		t.Fatalf("CERTD_TEST_REQUIRE=1, and acmetool is missing: %v", err)
	}
	if err != nil {
		t.Skipf("acmetool is not installed: %v", err)
	}
	return path
}

// pebbleTerms is Pebble's terms of service, which acmetool makes part of a prompt.
const pebbleTerms = "data:text/plain,Do%20what%20thou%20wilt"

// An acmetoolDir is a state directory made by the real acmetool.
type acmetoolDir struct {
	t    *testing.T
	ca   *acmetest.CA
	bin  string
	dir  string // the state directory
	work string // everything else
}

// newAcmetoolDir makes a state directory whose conf/target leads acmetool to a
// Pebble, which finds the challenge files at its HTTP port.
func newAcmetoolDir(t *testing.T, keyType string) *acmetoolDir {
	t.Helper()
	a := &acmetoolDir{t: t, bin: acmetool(t), work: t.TempDir()}
	a.ca = acmetest.StartT(t, acmetest.Options{})
	a.dir = filepath.Join(a.work, "acme")
	webroot := filepath.Join(a.work, "webroot")
	a.write("webroot/.keep", "")
	a.write("hooks/.keep", "")
	a.write("roots.pem", string(a.ca.RootsPEM()))
	a.write("responses", "acme-enter-email: ops@example.com\n\"acme-agreement:"+pebbleTerms+"\": true\n")
	a.write("acme/conf/target", fmt.Sprintf(`request:
  provider: %s
  key:
    type: %s
  challenge:
    webroot-paths: [%s]
    http-self-test: false
`, a.ca.URL(), keyType, webroot))
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", a.ca.HTTPPort()))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.StripPrefix("/.well-known/acme-challenge/", http.FileServer(http.Dir(webroot)))}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return a
}

func (a *acmetoolDir) write(name, text string) {
	a.t.Helper()
	path := filepath.Join(a.work, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		a.t.Fatal(err)
	}
}

// run runs acmetool and returns what it printed.
func (a *acmetoolDir) run(args ...string) string {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 3*time.Minute)
	defer cancel()
	args = append([]string{"--state", a.dir, "--hooks", filepath.Join(a.work, "hooks"), "--batch", "--stdio", "--response-file", filepath.Join(a.work, "responses")}, args...)
	cmd := exec.CommandContext(ctx, a.bin, args...)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+filepath.Join(a.work, "roots.pem"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		a.t.Fatalf("acmetool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestAcmetoolDirectoryOpensAsItIs: what acmetool made is found, all of it and
// under the same IDs, and nothing is changed by looking.
func TestAcmetoolDirectoryOpensAsItIs(t *testing.T) {
	t.Parallel()
	a := newAcmetoolDir(t, "ecdsa")
	a.run("want", "www.example.com", "example.com")
	before := image(t, a.dir, true)
	s, err := Open(a.dir)
	if err != nil {
		t.Fatal(err)
	}
	snap := snapshot(t, s)
	noBroken(t, snap)
	account := a.checkAccount(s)
	id := a.checkCertificate(snap, account)
	for _, name := range []string{"example.com", "www.example.com"} {
		if snap.Live[name] != id {
			t.Errorf("live/%s leads to %q, want %q", name, snap.Live[name], id)
		}
	}
	if len(snap.Live) != 2 {
		t.Errorf("live links: %v, want two", snap.Live)
	}
	key, err := s.LoadKey(snap.Certificates[id].KeyID)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := key.(*ecdsa.PrivateKey); !ok {
		t.Errorf("acmetool's key is a %T, want ECDSA", key)
	}
	if _, err := s.Cull(Culling{Now: time.Now().Add(10 * 365 * 24 * time.Hour), Keys: map[string]bool{}, DryRun: true}); err != nil {
		t.Errorf("cull --dry-run: %v", err)
	}
	sameImage(t, "reading acmetool's directory", before, image(t, a.dir, true))
}

// checkAccount looks for the one account, by the CA's URL.
func (a *acmetoolDir) checkAccount(s *Store) *Account {
	a.t.Helper()
	accounts, broken, err := s.Accounts()
	if err != nil || len(broken) > 0 || len(accounts) != 1 {
		a.t.Fatalf("accounts: %d, broken: %v, error: %v; want one account", len(accounts), broken, err)
	}
	account, err := s.Account(a.ca.URL())
	if err != nil {
		a.t.Fatal(err)
	}
	if account.Directory != a.ca.URL() {
		a.t.Errorf("the account's directory is %q, want %q", account.Directory, a.ca.URL())
	}
	again, err := AccountID(account.Directory, account.Key.Public())
	if err != nil || again != account.ID {
		a.t.Errorf("account ID is %q, recomputed %q (%v)", account.ID, again, err)
	}
	if _, err := os.Stat(s.Path("accounts", filepath.FromSlash(again), "privkey")); err != nil {
		a.t.Errorf("acmetool keeps the account elsewhere: %v", err)
	}
	return account
}

// checkCertificate looks for the one certificate and returns its ID.
func (a *acmetoolDir) checkCertificate(snap *Snapshot, account *Account) string {
	a.t.Helper()
	ids := slices.Collect(maps.Keys(snap.Certificates))
	if len(ids) != 1 {
		a.t.Fatalf("certificates: %q, want one", ids)
	}
	c := snap.Certificates[ids[0]]
	if c.ID != ids[0] || CertID(c.URL) != c.ID {
		a.t.Errorf("certificate ID %q, of its URL %q", c.ID, CertID(c.URL))
	}
	if !c.Usable() {
		a.t.Errorf("acmetool's certificate is not usable: damage %q, key %v, revoked %v", c.Damage, c.HasKey, c.Revoked)
	}
	if want := []string{"example.com", "www.example.com"}; !slices.Equal(c.Names, want) {
		a.t.Errorf("names %q, want %q", c.Names, want)
	}
	if c.Directory != a.ca.URL() || c.Account != account.ID || c.KeyType != "ecdsa-p256" {
		a.t.Errorf("directory %q, account %q, key type %q", c.Directory, c.Account, c.KeyType)
	}
	return c.ID
}

// TestAcmetoolAndCertdShareADirectory: certd's writes leave a directory that
// acmetool still opens, and finds certd's certificate good.
func TestAcmetoolAndCertdShareADirectory(t *testing.T) {
	t.Parallel()
	a := newAcmetoolDir(t, "rsa")
	a.run("want", "example.com")
	s := lockStore(t, a.dir)
	snap := snapshot(t, s)
	noBroken(t, snap)
	account, err := s.Account(a.ca.URL())
	if err != nil {
		t.Fatal(err)
	}
	account.URL = a.ca.URL() + "/account/1"
	if err := s.SaveAccount(account); err != nil {
		t.Fatal(err)
	}
	ca := newTestCA(t)
	key := newKey(t)
	if _, err := s.SaveKey(key); err != nil {
		t.Fatal(err)
	}
	n := ca.issue(t, key, "https://ca.example/order/1", day(200), "example.com")
	n.Account = account.ID
	id, err := s.Publish(n)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Link("example.com", id); err != nil {
		t.Fatal(err)
	}
	next := newKey(t)
	if err := s.BeginRollover(account, next); err != nil {
		t.Fatal(err)
	}
	if out := a.run("account-thumbprint"); strings.Count(out, "%2fdir/") != 1 {
		t.Errorf("amid a key change acmetool sees other accounts than one:\n%s", out)
	}
	if account, err = s.FinishRollover(account); err != nil {
		t.Fatal(err)
	}
	if err := s.MarkExpiring(id, "fifth"); err != nil {
		t.Fatal(err)
	}
	if out := a.run("status"); !strings.Contains(out, id) {
		t.Errorf("acmetool status does not know certificate %s:\n%s", id, out)
	}
	if link, err := os.Readlink(s.Path("certs", id, "account")); err != nil || link != "../../accounts/"+account.ID {
		t.Errorf("after a key change the certificate's account is %q (%v), want %s", link, err, account.ID)
	}
	// acmetool's own certificate too has an account it can open; then its CA, which
	// knows nothing of the new key, makes a new account for it.
	a.run("reconcile")
	after := snapshot(t, s)
	noBroken(t, after)
	if len(after.Certificates) != 2 || after.Live["example.com"] != id {
		t.Errorf("after acmetool's reconcile there are %d certificates and live/example.com is %q, want 2 and %q", len(after.Certificates), after.Live["example.com"], id)
	}
	thumbprints := a.run("account-thumbprint")
	if !strings.Contains(thumbprints, account.ID) {
		t.Errorf("acmetool does not know account %s:\n%s", account.ID, thumbprints)
	}
	if err := s.RetireAccount(account); err != nil {
		t.Fatal(err)
	}
	if out := a.run("status"); !strings.Contains(out, "best: Certificate("+id) {
		t.Errorf("without its account, acmetool status does not know certificate %s:\n%s", id, out)
	}
	for _, c := range after.Certificates {
		loaded, err := s.LoadKey(c.KeyID)
		if err != nil {
			t.Errorf("key of certificate %s: %v", c.ID, err)
			continue
		}
		if kid, err := KeyID(loaded.Public()); err != nil || kid != c.KeyID {
			t.Errorf("key ID %q, recomputed %q (%v)", c.KeyID, kid, err)
		}
	}
}

// TestAcmetoolReadsOurKeys: a key written by certd is one that acmetool imports
// under the same ID.
func TestAcmetoolReadsOurKeys(t *testing.T) {
	t.Parallel()
	a := &acmetoolDir{t: t, bin: acmetool(t), work: t.TempDir()}
	a.dir = filepath.Join(a.work, "acme")
	a.write("hooks/.keep", "")
	a.write("responses", "{}\n")
	a.write("roots.pem", "")
	s := lockedStore(t)
	id, err := s.SaveKey(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	a.run("import-key", s.Path("keys", id, "privkey"))
	theirs, err := os.ReadFile(filepath.Join(a.dir, "keys", id, "privkey"))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile(s.Path("keys", id, "privkey"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.TrimSpace(ours), bytes.TrimSpace(theirs)) {
		t.Errorf("acmetool writes the key as\n%swe as\n%s", theirs, ours)
	}
}
