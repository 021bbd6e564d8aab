package daemon_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/daemon"
)

// boulder is a CA that answers newOrder with an order that is open already for
// the same names, and whose validation a test can make fail.
func boulder(t *testing.T, validate func() error) *acmetest.FaultyCA {
	t.Helper()
	ca, err := acmetest.NewFaulty(acmetest.FaultyOptions{
		ReuseOrders: true,
		Validate:    func(context.Context, acme.Identifier, string, string, string) error { return validate() },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	return ca
}

// TestTwoKeyTypesForTheSameNames: both are issued in one pass, although the CA
// would answer the second order with the first.
func TestTwoKeyTypesForTheSameNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := boulder(t, func() error { return nil })
	configureFault(t, dir, ca)
	write(t, dir+"/desired/rsa", "satisfy: {names: ["+faultName+"], key: {type: rsa}}\nlabel: rsa\n")
	report := pass(t, dir, daemon.Options{})
	for _, res := range report.Results {
		if res.Outcome != daemon.Issued {
			t.Errorf("%s: %s, %v; want issued", res.Action.Target, res.Outcome, res.Err)
		}
	}
	live := look(t, dir).Snapshot.Live
	if live[faultName] == "" || live[faultName+":rsa"] == "" || live[faultName] == live[faultName+":rsa"] {
		t.Errorf("live %v, want two certificates", live)
	}
	if again := pass(t, dir, daemon.Options{}); again.Changed() || again.Failed() {
		t.Errorf("the next pass changed %v (failed: %t), want nothing", again.Updated, again.Failed())
	}
}

// TestStaleOrderThatComesAgain: after the target was changed the CA answers the
// new order with the one that had become stale; it is not given up then.
func TestStaleOrderThatComesAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	refuse := errors.New("not yet")
	var verdict error = refuse
	ca := boulder(t, func() error { return verdict })
	configureFault(t, dir, ca)
	// A self-test that cannot succeed keeps the order open.
	write(t, dir+"/desired/"+faultName, "request: {challenge: {http-self-test: true}}\n")
	pass(t, dir, daemon.Options{})
	if n := len(look(t, dir).Snapshot.Orders); n != 1 {
		t.Fatalf("%d orders are journaled after a failed self-test, want 1", n)
	}
	verdict = nil
	write(t, dir+"/desired/"+faultName, "satisfy: {key: {type: rsa}}\n")
	report := pass(t, dir, daemon.Options{})
	if res := report.Results[0]; res.Outcome != daemon.Issued {
		t.Errorf("%s, %v; want issued with the order that the CA handed out again", res.Outcome, res.Err)
	}
	if n := len(look(t, dir).Snapshot.Orders); n != 0 {
		t.Errorf("%d orders are journaled at the end, want none", n)
	}
}

// TestRenamedTargetTakesItsOrderAlong: the file of a target is renamed while its
// order is open.
func TestRenamedTargetTakesItsOrderAlong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := boulder(t, func() error { return nil })
	configureFault(t, dir, ca)
	write(t, dir+"/desired/"+faultName, "request: {challenge: {http-self-test: true}}\n")
	pass(t, dir, daemon.Options{})
	rename(t, dir+"/desired/"+faultName, dir+"/desired/renamed")
	write(t, dir+"/desired/renamed", "satisfy: {names: ["+faultName+"]}\n")
	if res := pass(t, dir, daemon.Options{}).Results[0]; res.Outcome != daemon.Issued {
		t.Errorf("%s, %v; want issued under the target's new name", res.Outcome, res.Err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
