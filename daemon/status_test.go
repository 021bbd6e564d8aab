package daemon_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/daemon"
	"certd/hooks"
	"certd/state"
)

// TestStatusFollowsTheTruth: a failure of a renewal that nobody needs does not
// count as failing, an edited target starts afresh, and a typo in a target does
// not turn into "not wanted".
func TestStatusFollowsTheTruth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := acmetest.StartFaulty(t)
	configureFault(t, dir, good)
	if report := pass(t, dir, daemon.Options{}); report.Failed() {
		t.Fatalf("the first certificate was not issued: %+v", report.Results)
	}
	checkStatus(t, dir, daemon.Ready, "")

	refuse := acmetest.Respond("order", http.StatusForbidden, nil, `{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"no such name here"}`)
	bad := acmetest.StartFaulty(t, refuse)
	configureFault(t, dir, bad) // the CA changed, so an order is due, and it fails
	pass(t, dir, daemon.Options{})
	checkStatus(t, dir, daemon.Failing, "no such name here")
	pass(t, dir, daemon.Options{Force: true})
	if pending := look(t, dir).Snapshot.Pending; len(pending) != 0 {
		t.Errorf("events %v are pending although no hook is there to take them", pending)
	}

	write(t, dir+"/desired/"+faultName, "request: {profile: other}\n")
	checkStatus(t, dir, daemon.Due, "")
	configureFault(t, dir, good) // back at the old one nothing is due
	checkStatus(t, dir, daemon.Ready, "")

	write(t, dir+"/desired/"+faultName, "satisfi: {}\n")
	status := look(t, dir).Status()
	if len(status) != 1 || status[0].State != daemon.Ready || !strings.Contains(status[0].Reason, "desired/"+faultName) {
		t.Errorf("status with a typo in the target: %+v, want its reason to name the file", status)
	}
}

// TestFailuresOfOneTargetAreOneEvent: a hook that never takes "failed" does not
// make pending/ grow with each attempt.
func TestFailuresOfOneTargetAreOneEvent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configureFault(t, dir, acmetest.StartFaulty(t, acmetest.Respond("order", http.StatusInternalServerError, nil, "")))
	r := &recorder{answer: func(string, string) hooks.Outcome { return hooks.Failed }}
	for range 3 {
		pass(t, dir, daemon.Options{Hooks: r, Force: true})
	}
	failed := 0
	for _, e := range look(t, dir).Snapshot.Pending {
		if e.Event == "failed" {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d pending events of the failure, want 1", failed)
	}
}

// TestSlowCAHoldsUpNobodyElse: while one CA answers nothing, the targets of
// another get their certificates.
func TestSlowCAHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stall, ok := acmetest.FaultNamed("stall/header/order")
	if !ok {
		t.Fatal("the table has no stall of newOrder")
	}
	slow, quick := acmetest.StartFaulty(t, stall), acmetest.StartFaulty(t)
	configureFault(t, dir, slow)
	bundle := dir + "/both.pem"
	write(t, bundle, string(slow.RootsPEM())+string(quick.RootsPEM()))
	write(t, dir+"/conf/certd.yaml", "parallel: 1\ncas:\n- {name: slow, directory: "+slow.URL()+", ca-bundle: "+bundle+
		"}\n- {name: quick, directory: "+quick.URL()+", ca-bundle: "+bundle+"}\n")
	write(t, dir+"/desired/quick.example.test", "request: {ca: quick}\n")
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = daemon.Reconcile(ctx, daemon.Options{Store: store}) // ended by the cancellation below
	}()
	live := func() bool { _, err := os.Stat(dir + "/live/quick.example.test/cert"); return err == nil }
	for range 2400 {
		if live() {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if !live() {
		t.Error("the other CA's target waits for the slow one's")
	}
	cancel()
	<-done
}

func checkStatus(t *testing.T, dir string, want daemon.State, lastError string) {
	t.Helper()
	status := look(t, dir).Status()
	if len(status) != 1 || status[0].State != want || (lastError == "") != (status[0].LastError == "") || !strings.Contains(status[0].LastError, lastError) {
		t.Errorf("status %+v, want one name, %s, with last error %q", status, want, lastError)
	}
}

// TestMistakesInConfStopThePass: what would make every target unsafe.
func TestMistakesInConfStopThePass(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"conf/target":     "request: {ca: nosuch}\n",
		"conf/certd.yaml": "parallel: many\n",
	} {
		dir := t.TempDir()
		configureFault(t, dir, acmetest.StartFaulty(t))
		write(t, dir+"/"+name, data)
		store, err := state.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		_, err = daemon.Reconcile(t.Context(), daemon.Options{Store: store})
		if mistake, ok := errors.AsType[*daemon.ConfigError](err); !ok || !strings.Contains(mistake.Error(), name) {
			t.Errorf("%s with %q: %v, want a ConfigError that names it", name, data, err)
		}
	}
}

// TestMissingKeyToReuseCostsNoOrder: request.key.id of a key that is gone.
func TestMissingKeyToReuseCostsNoOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := acmetest.StartFaulty(t)
	configureFault(t, dir, ca)
	write(t, dir+"/desired/"+faultName, "request: {key: {id: "+strings.Repeat("a", 52)+"}}\n")
	res := pass(t, dir, daemon.Options{}).Results[0]
	if res.Outcome != daemon.Failed || acme.ClassOf(res.Err) != acme.ClassOperator || !strings.Contains(res.Err.Error(), "request.key.id") {
		t.Errorf("%s, %v; want failed, for the operator, naming the key", res.Outcome, res.Err)
	}
	if n := acmetest.Count(ca.Requests(), "order"); n != 0 {
		t.Errorf("%d orders were spent on it", n)
	}
}

// TestForgottenAccountIsFoundAgain: a CA that does not know the account URL any
// more is asked by key at the next pass.
func TestForgottenAccountIsFoundAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := acmetest.StartFaulty(t)
	configureFault(t, dir, ca)
	if report := pass(t, dir, daemon.Options{}); report.Failed() {
		t.Fatalf("first pass: %+v", report.Results)
	}
	accounts, err := filepath.Glob(dir + "/accounts/*/*/account.json")
	if err != nil || len(accounts) != 1 {
		t.Fatalf("accounts %v, %v", accounts, err)
	}
	data, err := os.ReadFile(accounts[0])
	if err != nil {
		t.Fatal(err)
	}
	write(t, accounts[0], strings.Replace(string(data), "/account/1", "/account/77", 1))
	if report := pass(t, dir, daemon.Options{Force: true}); !report.Failed() {
		t.Fatal("an order with an unknown account went through: the test does not test")
	}
	if report := pass(t, dir, daemon.Options{Force: true}); report.Failed() {
		t.Errorf("the account was not found again: %v", report.Results[0].Err)
	}
}
