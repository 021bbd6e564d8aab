package daemon_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"testing"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/config"
	"certd/daemon"
	"certd/state"
)

// withAccount runs f with the account at ca, under the lock.
func withAccount(t *testing.T, dir string, f func(*daemon.CAAccount) error) error {
	t.Helper()
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := store.Lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	settings, err := config.LoadSettings(dir)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := settings.CA("")
	if err != nil {
		t.Fatal(err)
	}
	account, err := daemon.OpenAccount(t.Context(), daemon.Options{Store: store}, ca)
	if err != nil {
		return err
	}
	defer account.Close()
	return f(account)
}

func rollover(t *testing.T, dir string) error {
	t.Helper()
	return withAccount(t, dir, func(a *daemon.CAAccount) error { return a.Rollover(t.Context(), config.KeyType{}) })
}

// issued makes sure that a pass obtains a certificate, as the CA's only account.
func issued(t *testing.T, dir string, ca *acmetest.FaultyCA, what string) {
	t.Helper()
	res := pass(t, dir, daemon.Options{Force: true}).Results[0]
	if res.Outcome != daemon.Issued || ca.Accounts() != 1 {
		t.Errorf("%s: %s, %v, with %d accounts at the CA; want issued with one", what, res.Outcome, res.Err, ca.Accounts())
	}
	if all, err := filepath.Glob(dir + "/accounts/*/[^.]*"); err != nil || len(all) != 1 {
		t.Errorf("%s: accounts on disk %q (%v), want one", what, all, err)
	}
}

// TestRolloverSettles: whatever is cut off or lost at a change of the key, and
// whichever key the CA has then, the next run goes on with that.
func TestRolloverSettles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault acmetest.Fault
		fails bool // the first rollover
	}{
		{"nothing goes wrong", acmetest.Fault{}, false},
		{"the answer is lost, and found out at once", acmetest.Lose("keychange").Nth(1), false},
		{"the CA fails", acmetest.Respond("keychange", 500, nil, "").Nth(1), true},
		{"the CA refuses", acmetest.Respond("keychange", 403, nil, `{"type":"urn:ietf:params:acme:error:unauthorized","detail":"no"}`).Nth(1), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir, ca := t.TempDir(), acmetest.StartFaulty(t, tt.fault)
			configureFault(t, dir, ca)
			issued(t, dir, ca, "before")
			if err := rollover(t, dir); (err != nil) != tt.fails {
				t.Fatalf("rollover: %v, want an error: %v", err, tt.fails)
			}
			issued(t, dir, ca, "after")
			if err := rollover(t, dir); err != nil {
				t.Errorf("rollover, again: %v", err)
			}
			issued(t, dir, ca, "in the end")
		})
	}
}

// TestRolloverCutOff: a run is killed before or after the CA takes the new key.
func TestRolloverCutOff(t *testing.T) {
	t.Parallel()
	for _, reached := range []bool{false, true} {
		dir, ca := t.TempDir(), acmetest.StartFaulty(t)
		what := fmt.Sprintf("the CA has the new key: %v", reached)
		configureFault(t, dir, ca)
		issued(t, dir, ca, what)
		begin(t, dir, ca, reached)
		issued(t, dir, ca, what)
		err := withAccount(t, dir, func(a *daemon.CAAccount) error {
			if pending := a.State.Next != nil; pending == reached {
				t.Errorf("%s: a key change is pending: %v", what, pending)
			}
			return a.Rollover(t.Context(), config.KeyType{})
		})
		if err != nil {
			t.Errorf("%s: going on: %v", what, err)
		}
		issued(t, dir, ca, what)
	}
}

// begin does what a rollover does before it is killed: with reached, behind the
// CA's taking the key.
func begin(t *testing.T, dir string, ca *acmetest.FaultyCA, reached bool) {
	t.Helper()
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := store.Lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	a, err := store.Account(ca.URL())
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.BeginRollover(a, key); err != nil {
		t.Fatal(err)
	}
	if !reached {
		return
	}
	client, err := acme.New(acme.Options{Directory: ca.URL(), Key: a.Key, KID: a.URL, RootsPEM: ca.RootsPEM()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Rollover(t.Context(), a.Next); err != nil {
		t.Fatal(err)
	}
}

// TestRolloverCutOffThenDeactivated: the CA took the new key and the run was
// killed, and then the account was ended from elsewhere. It can be put away, and
// another one made.
func TestRolloverCutOffThenDeactivated(t *testing.T) {
	t.Parallel()
	for _, reached := range []bool{false, true} {
		dir, ca := t.TempDir(), acmetest.StartFaulty(t)
		what := fmt.Sprintf("the CA has the new key: %v", reached)
		configureFault(t, dir, ca)
		issued(t, dir, ca, what)
		begin(t, dir, ca, reached)
		store, err := state.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		account, err := store.Account(ca.URL())
		if err != nil {
			t.Fatal(err)
		}
		key := account.Key
		if reached {
			key = account.Next
		}
		client, err := acme.New(acme.Options{Directory: ca.URL(), Key: key, KID: account.URL, RootsPEM: ca.RootsPEM()})
		if err != nil {
			t.Fatal(err)
		}
		err = client.Deactivate(t.Context())
		client.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := withAccount(t, dir, func(a *daemon.CAAccount) error { return a.Deactivate(t.Context()) }); err != nil {
			t.Fatalf("%s: the account cannot be put away: %v", what, err)
		}
		if res := pass(t, dir, daemon.Options{Force: true}).Results[0]; res.Outcome != daemon.Issued || ca.Accounts() != 2 {
			t.Errorf("%s: the next order: %s, %v, with %d accounts; want it with another account", what, res.Outcome, res.Err, ca.Accounts())
		}
	}
}

func TestDeactivate(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), acmetest.StartFaulty(t, acmetest.Lose("account").Nth(2)) // the answer to the deactivation
	configureFault(t, dir, ca)
	issued(t, dir, ca, "before")
	deactivate := func(a *daemon.CAAccount) error { return a.Deactivate(t.Context()) }
	if err := withAccount(t, dir, deactivate); err == nil {
		t.Error("a deactivation without an answer is taken for one")
	}
	if err := withAccount(t, dir, deactivate); err != nil {
		t.Errorf("deactivation of what is deactivated: %v", err)
	}
	if _, status := ca.Contacts(); status != "deactivated" {
		t.Errorf("at the CA the account is %s", status)
	}
	if err := withAccount(t, dir, deactivate); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("then the account is still there: %v", err)
	}
	if res := pass(t, dir, daemon.Options{Force: true}).Results[0]; res.Outcome != daemon.Issued || ca.Accounts() != 2 {
		t.Errorf("the next order: %s, %v, with %d accounts; want it with another account", res.Outcome, res.Err, ca.Accounts())
	}
}

// TestDeactivatedElsewhere: a CA may show an account that was ended instead of
// refusing to (RFC 8555 §7.3.6). It can be put away all the same.
func TestDeactivatedElsewhere(t *testing.T) {
	t.Parallel()
	shown := acmetest.Respond("account", 200, http.Header{"Location": {"/account/1"}, "Content-Type": {"application/json"}}, `{"status":"deactivated"}`)
	refused := acmetest.Respond("account", 403, nil, `{"type":"urn:ietf:params:acme:error:unauthorized","detail":"it is deactivated"}`)
	dir, ca := t.TempDir(), acmetest.StartFaulty(t, refused.Nth(2), shown.Nth(3))
	configureFault(t, dir, ca)
	issued(t, dir, ca, "before")
	if err := withAccount(t, dir, func(a *daemon.CAAccount) error { return a.Deactivate(t.Context()) }); err != nil {
		t.Errorf("the account cannot be put away: %v", err)
	}
}
