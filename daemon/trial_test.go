package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/daemon"
	"certd/state"
)

// TestBrokenStaging: names that fail at staging alone, because of what is wrong
// there, get their certificate nevertheless: after four failures, and at once if
// the one they have is about to expire.
func TestBrokenStaging(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name     string
		failures int
		age      time.Duration // of a certificate of 90 days; zero: there is none
		want     daemon.Outcome
	}{
		{"a new name, after three failures", 3, 0, daemon.Failed},
		{"a new name, after four", 4, 0, daemon.Issued},
		{"ten days are left", 3, 80 * day, daemon.Failed},
		{"four days are left", 3, 86 * day, daemon.Issued},
		{"the certificate has expired", 3, 91 * day, daemon.Issued},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			staging, err := acmetest.NewFaulty(acmetest.FaultyOptions{
				Validate: func(context.Context, acme.Identifier, string, string, string) error {
					return errors.New("behind a firewall")
				}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = staging.Close() })
			production, dir := acmetest.StartFaulty(t), t.TempDir()
			configureCAs(t, dir, []caEntry{{"production", production, fmt.Sprintf(", staging: %q", staging.URL())}, {"rehearsal", staging, ""}}, faultName)
			write(t, filepath.Join(dir, "desired", faultName), "request: {ca: production}\n")
			if tt.age > 0 {
				place(t, dir, production.URL(), production.URL()+"/order/1", tt.age)
			}
			saveFailures(t, dir, tt.failures)
			if res := pass(t, dir, daemon.Options{}).Results[0]; res.Outcome != tt.want {
				t.Errorf("%s, %v; want %s", res.Outcome, res.Err, tt.want)
			}
		})
	}
}

// saveFailures notes that faultName failed so often in a row, because of its name.
func saveFailures(t *testing.T, dir string, n int) {
	t.Helper()
	target := look(t, dir).Targets.Targets[0]
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := store.Lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	err = store.SaveAttempt(state.Attempt{Target: target.File, Digest: target.Digest(), Failures: n, Class: string(acme.ClassName),
		LastError: "no such answer", LastAttempt: time.Now().Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
}
