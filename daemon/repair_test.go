package daemon_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/daemon"
	"certd/hooks"
)

// TestBrokenAccountIsNotReplaced: rubbish in place of an account key is told and
// costs no second account; moved away, another is registered.
func TestBrokenAccountIsNotReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := acmetest.StartFaulty(t)
	configureFault(t, dir, ca)
	if report := pass(t, dir, daemon.Options{}); report.Failed() {
		t.Fatalf("first pass: %+v", report.Results)
	}
	keys, err := filepath.Glob(dir + "/accounts/*/*/privkey")
	if err != nil || len(keys) != 1 {
		t.Fatalf("accounts %v, %v", keys, err)
	}
	write(t, keys[0], "x\n")
	if broken := look(t, dir).Snapshot.Broken; len(broken) != 1 || !strings.HasPrefix(broken[0].Path, "accounts/") {
		t.Errorf("broken entries %v, want the account", broken)
	}
	ca.ResetRequests()
	report := pass(t, dir, daemon.Options{Force: true})
	res := report.Results[0]
	if res.Outcome != daemon.Failed || acme.ClassOf(res.Err) != acme.ClassOperator {
		t.Fatalf("%s, %v; want failed, for the operator", res.Outcome, res.Err)
	}
	for _, words := range []string{filepath.Dir(keys[0]), "restore it from a backup, or move it away"} {
		if !strings.Contains(res.Err.Error(), words) {
			t.Errorf("the error %q does not say %q", res.Err, words)
		}
	}
	if n := acmetest.Count(ca.Requests(), "account"); n != 0 || !report.Failed() {
		t.Errorf("%d requests for accounts, want none; failed is %t, want true", n, report.Failed())
	}
	if err := os.RemoveAll(filepath.Dir(keys[0])); err != nil {
		t.Fatal(err)
	}
	if report := pass(t, dir, daemon.Options{Force: true}); report.Failed() {
		t.Errorf("after the account was moved away: %v", report.Results[0].Err)
	}
}

// TestRepairsAreNotFailures: a live link that was absolute is made anew and not
// reported, and a key that everybody could read is closed.
func TestRepairsAreNotFailures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configureFault(t, dir, acmetest.StartFaulty(t))
	if report := pass(t, dir, daemon.Options{}); report.Failed() {
		t.Fatalf("first pass: %+v", report.Results)
	}
	link := filepath.Join(dir, "live", faultName)
	to, err := filepath.EvalSymlinks(link)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, link); err != nil {
		t.Fatal(err)
	}
	key, err := filepath.EvalSymlinks(filepath.Join(to, "privkey"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	report := pass(t, dir, daemon.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if report.Failed() || len(report.Broken) != 0 {
		t.Errorf("broken %v, results %+v; want the link repaired and nothing to report", report.Broken, report.Results)
	}
	if text, err := os.Readlink(link); err != nil || filepath.IsAbs(text) {
		t.Errorf("the link leads to %q (%v), want a relative one", text, err)
	}
	if fi, err := os.Stat(key); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("the key has %v (%v), want mode 0640", fi, err)
	}
	if !strings.Contains(log.String(), "everybody could read") {
		t.Errorf("nothing was said of the key:\n%s", &log)
	}
}

// TestFilesOfATarget: files is obeyed, and refused before an order is spent.
func TestFilesOfATarget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := acmetest.StartFaulty(t)
	configureFault(t, dir, ca)
	write(t, dir+"/desired/"+faultName, "files: {mode: 0644}\n")
	report := pass(t, dir, daemon.Options{})
	if err := report.Results[0].Err; err == nil || acme.ClassOf(err) != acme.ClassOperator || !strings.Contains(err.Error(), "files.mode") {
		t.Errorf("a key for everybody: %v, want an error for the operator that names files.mode", err)
	}
	if n := acmetest.Count(ca.Requests(), "order"); n != 0 {
		t.Errorf("%d orders were spent on it", n)
	}
	write(t, dir+"/desired/"+faultName, fmt.Sprintf("files: {group: %d}\n", os.Getgid()))
	if report := pass(t, dir, daemon.Options{Force: true}); report.Failed() {
		t.Fatalf("with a group: %v", report.Results[0].Err)
	}
	if fi, err := os.Stat(filepath.Join(dir, "live", faultName, "privkey")); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("the key has %v (%v), want mode 0640", fi, err)
	}
}

// TestGivenUpOrdersAreCleanedUp: an order without a target is given up, and what
// may still be presented for it is removed.
func TestGivenUpOrdersAreCleanedUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configureFault(t, dir, acmetest.StartFaulty(t))
	write(t, dir+"/conf/target", "request: {challenge: {method: hook, http-self-test: false}}\n")
	r := &recorder{answer: func(_, event string) hooks.Outcome {
		if event == "challenge-http-start" {
			return hooks.Failed
		}
		return hooks.OK
	}}
	pass(t, dir, daemon.Options{Hooks: r})
	if n := len(look(t, dir).Snapshot.Orders); n != 1 {
		t.Fatalf("%d open orders, want 1: the test does not test", n)
	}
	if err := os.Remove(dir + "/desired/" + faultName); err != nil {
		t.Fatal(err)
	}
	r.take()
	pass(t, dir, daemon.Options{Hooks: r})
	stops := slices.DeleteFunc(r.take(), func(call string) bool { return !strings.Contains(call, "challenge-http-stop") })
	if n := len(look(t, dir).Snapshot.Orders); n != 0 || len(stops) != 2 {
		t.Errorf("%d open orders, want none; the hooks were called with %q, want each to be stopped", n, stops)
	}
}

// TestNoSuchChainIsSaid: a chain that the CA does not offer costs a warning.
func TestNoSuchChainIsSaid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configureFault(t, dir, acmetest.StartFaulty(t))
	write(t, dir+"/desired/"+faultName, "request: {preferred-chain: Nobody Root X1}\n")
	var log bytes.Buffer
	report := pass(t, dir, daemon.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if report.Failed() || !strings.Contains(log.String(), "Nobody Root X1") {
		t.Errorf("results %+v, want a certificate and a warning; log:\n%s", report.Results, &log)
	}
	if _, err := os.Stat(filepath.Join(dir, "live", faultName, "fullchain")); err != nil {
		t.Error(err)
	}
}
