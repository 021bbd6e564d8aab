package daemon_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"certd/acme/acmetest"
	"certd/daemon"
	"certd/hooks"
	"certd/state"
	"certd/state/statetest"
)

// place publishes a certificate for faultName of this age, of 90 days, and links it.
func place(t *testing.T, dir, directory, url string, age time.Duration) string {
	t.Helper()
	ca, err := statetest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now().Add(-age)
	got, err := ca.IssueFor(start, start.Add(90*24*time.Hour), faultName)
	if err != nil {
		t.Fatal(err)
	}
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := store.Lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	keyID, err := store.SaveKey(got.Key)
	if err != nil {
		t.Fatal(err)
	}
	account, err := state.AccountID(directory, got.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	id, err := store.Publish(state.NewCertificate{URL: url, Directory: directory, Account: account, KeyID: keyID, Cert: got.Cert, Chain: got.Chain,
		Target: faultName, Reason: "expiry", Names: []string{faultName}, NotBefore: got.Leaf.NotBefore, NotAfter: got.Leaf.NotAfter})
	if err == nil {
		err = store.Link(faultName, id)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestExpiring: one event for each certificate and stage, although each pass
// fails, and although a hook does or the run is killed before its mark.
func TestExpiring(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	dir, ca := t.TempDir(), acmetest.StartFaulty(t, acmetest.Respond("order", 500, nil, ""))
	configureFault(t, dir, ca)
	r := &recorder{answer: func(_, event string) hooks.Outcome { return hooks.OK }}
	events := func(what string, want int) {
		t.Helper()
		pass(t, dir, daemon.Options{Hooks: r, Force: true})
		calls := slices.DeleteFunc(r.take(), func(c string) bool { return c != "/h/a expiring "+faultName })
		if len(calls) != want {
			t.Errorf("%s: the hook was called for expiring %d times, want %d", what, len(calls), want)
		}
	}
	place(t, dir, ca.URL(), "https://ca.example/1", 65*day)
	events("a third is left, the renewal fails", 0)
	id := place(t, dir, ca.URL(), "https://ca.example/2", 75*day)
	r.answer = func(_, event string) hooks.Outcome { return hooks.Failed }
	events("a fifth is left, the hook fails", 1)
	pending := look(t, dir).Snapshot.Pending
	i := slices.IndexFunc(pending, func(e state.Event) bool { return e.Event == "expiring" })
	if i < 0 || !strings.HasPrefix(pending[i].Detail, "less than a fifth of its lifetime is left, NotAfter 20") {
		t.Errorf("pending is %+v, want the event with its detail", pending)
	}
	r.answer = func(_, event string) hooks.Outcome { return hooks.OK }
	events("again, and the hook works", 1)
	events("again", 0)
	if got := look(t, dir).Snapshot.Certificates[id].Expiring; got != "fifth" {
		t.Errorf("the certificate is marked %q, want fifth", got)
	}
	place(t, dir, ca.URL(), "https://ca.example/3", 87*day)
	events("a twentieth is left", 1)
	dir = t.TempDir()
	configureFault(t, dir, ca)
	place(t, dir, ca.URL(), "https://ca.example/4", 91*day)
	events("it has expired", 1)
	events("it is still expired", 0)
}

// TestNotExpiring: where the renewal succeeds, or is not due, nothing is said.
func TestNotExpiring(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, target := range []string{"", "satisfy: {margin: 3}\n"} {
		dir, ca := t.TempDir(), acmetest.StartFaulty(t)
		configureFault(t, dir, ca)
		write(t, dir+"/desired/"+faultName, target)
		id := place(t, dir, ca.URL(), "https://ca.example/1", 75*day)
		r := &recorder{answer: func(_, event string) hooks.Outcome { return hooks.OK }}
		pass(t, dir, daemon.Options{Hooks: r})
		for _, call := range r.take() {
			if strings.Contains(call, " expiring ") {
				t.Errorf("%q: %s", target, call)
			}
		}
		if replaced := look(t, dir).Snapshot.Live[faultName] != id; replaced != (target == "") {
			t.Errorf("%q: replaced %v", target, replaced)
		}
	}
}
