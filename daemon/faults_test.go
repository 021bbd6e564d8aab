package daemon_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/daemon"
	"certd/state"
)

const faultName = "www.example.test"

// TestLiveSurvivesEveryMisbehaviour renews a live certificate at a CA that
// misbehaves, once for each fault of the table: live/ stays byte for byte what it
// was, the error is typed and readable, and nothing reaches a foreign host.
func TestLiveSurvivesEveryMisbehaviour(t *testing.T) {
	t.Parallel()
	good := acmetest.StartFaulty(t)
	template := t.TempDir()
	configureFault(t, template, good)
	if report := pass(t, template, daemon.Options{}); report.Failed() || !report.Changed() {
		t.Fatalf("the first certificate was not issued: %+v", report.Results)
	}
	faults := acmetest.Faults()
	if len(faults) < 60 {
		t.Fatalf("the table has %d misbehaviours, want at least 60", len(faults))
	}
	for _, f := range faults {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "acme")
			if out, err := exec.Command("cp", "-a", template, dir).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			surviveFault(t, dir, f)
		})
	}
}

func surviveFault(t *testing.T, dir string, f acmetest.Fault) {
	ca := acmetest.StartFaulty(t, f)
	configureFault(t, dir, ca)
	o := daemon.Options{RequestTimeout: 30 * time.Second, OrderTimeout: time.Minute}
	if f.Endless {
		o = daemon.Options{RequestTimeout: time.Second, OrderTimeout: 4 * time.Second}
	}
	if f.Endless && f.Class == acme.ClassWait { // it answers, and a busy machine must not look like silence
		o = daemon.Options{RequestTimeout: 10 * time.Second, OrderTimeout: 10 * time.Second}
	}
	before := liveTree(t, dir)
	report := pass(t, dir, o)
	if len(report.Results) != 1 {
		t.Fatalf("%d results, want 1: %+v", len(report.Results), report)
	}
	res := report.Results[0]
	switch {
	case res.Outcome == daemon.Issued && f.Terminal && f.Acceptance:
		t.Fatalf("a certificate was accepted although the CA %s", f.Doc)
	case res.Outcome == daemon.Issued: // a lost answer, say, that asking again made good
		checkIssued(t, dir, ca)
		return
	case !f.Terminal && !f.Optional:
		t.Fatalf("gave up where it could go on: the CA %s: %v", f.Doc, res.Err)
	}
	if !maps.Equal(before, liveTree(t, dir)) {
		t.Errorf("live/ changed although the CA %s", f.Doc)
	}
	checkFailure(t, dir, f, res.Err)
	if stray := ca.Strays(); len(stray) > 0 {
		t.Errorf("requests went where they must not: %v", stray)
	}
}

// checkIssued expects that what is live now is a good certificate of this CA.
func checkIssued(t *testing.T, dir string, ca *acmetest.FaultyCA) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "live", faultName, "fullchain"), filepath.Join(dir, "live", faultName, "privkey"))
	if err != nil {
		t.Fatal(err)
	}
	roots, middle := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.IssuerRootsPEM())
	for _, der := range pair.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		middle.AddCert(c)
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: faultName, Roots: roots, Intermediates: middle}); err != nil {
		t.Error(err)
	}
	if len(pair.Leaf.DNSNames) != 1 {
		t.Errorf("the certificate is for %v, want %s alone", pair.Leaf.DNSNames, faultName)
	}
}

// checkFailure expects a typed, readable error that was kept with a next time.
func checkFailure(t *testing.T, dir string, f acmetest.Fault, err error) {
	t.Helper()
	problem, ok := errors.AsType[*acme.Problem](err)
	if !ok {
		t.Fatalf("the error is a %T, want an *acme.Problem in it: %v", err, err)
	}
	if f.Class != "" && acme.ClassOf(err) != f.Class {
		t.Errorf("class %q, want %q: %v", acme.ClassOf(err), f.Class, err)
	}
	text := err.Error()
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }); i >= 0 || len(text) > 4096 {
		t.Errorf("the error is not readable (%d bytes, unprintable at %d): %q", len(text), i, text)
	}
	if strings.Contains(text, "internal error") {
		t.Errorf("a panic was contained: %v", err)
	}
	store, openErr := state.Open(dir)
	if openErr != nil {
		t.Fatal(openErr)
	}
	snapshot, openErr := store.Snapshot()
	if openErr != nil {
		t.Fatal(openErr)
	}
	at := snapshot.Attempts[faultName]
	if at.Failures != 1 || at.Class != string(acme.ClassOf(err)) || !at.NextAttempt.After(at.LastAttempt) {
		t.Errorf("the attempt kept is %+v, want one failure of class %s and a next time (%v)", at, acme.ClassOf(err), problem)
	}
	if len(snapshot.Broken) > 0 {
		t.Errorf("broken entries: %v", snapshot.Broken)
	}
}

// authority is what a site needs to know of a CA.
type authority interface {
	URL() string
	RootsPEM() []byte
}

// configureFault points a state directory to a CA that validates nothing, or
// nothing that is not in the webroot.
func configureFault(t testing.TB, dir string, ca authority) {
	t.Helper()
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	webroot := t.TempDir()
	write(t, bundle, string(ca.RootsPEM()))
	write(t, filepath.Join(dir, "conf", "certd.yaml"), fmt.Sprintf("cas: [{name: faulty, directory: %q, ca-bundle: %q}]\n", ca.URL(), bundle))
	write(t, filepath.Join(dir, "conf", "target"),
		fmt.Sprintf("request: {challenge: {method: webroot, http-self-test: false, webroot-paths: [%q]}}\n", webroot))
	write(t, filepath.Join(dir, "desired", faultName), "")
}

func write(t testing.TB, path, data string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(data), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// pass runs one reconcile that must come to its end.
func pass(t testing.TB, dir string, o daemon.Options) *daemon.Report {
	t.Helper()
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	o.Store = store
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	report, err := daemon.Reconcile(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatal("the pass did not end by its own deadlines")
	}
	return report
}

// liveTree maps the files that servers can reach through live/ to their content.
func liveTree(t testing.TB, dir string) map[string]string {
	t.Helper()
	tree := make(map[string]string)
	links, err := os.ReadDir(filepath.Join(dir, "live"))
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		base := filepath.Join(dir, "live", link.Name())
		to, err := os.Readlink(base)
		if err != nil {
			t.Fatal(err)
		}
		tree[link.Name()] = to
		err = fs.WalkDir(os.DirFS(base), ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(filepath.Join(base, path))
			if errors.Is(err, fs.ErrNotExist) || (err != nil && path == "account") {
				return nil // a link to a directory
			}
			tree[link.Name()+"/"+path] = fmt.Sprintf("%x", sha256.Sum256(data))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(tree) == 0 {
		t.Fatal("live/ is empty")
	}
	return tree
}
