package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"certd/acme/acmetest"
	"certd/config"
	"certd/daemon"
	"certd/state"
)

// TestRegister: an account is made once; with it on disk the CA is not asked.
func TestRegister(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		eab     bool
		answers daemon.Answers
		err     string
	}{
		{"with a contact", false, daemon.Answers{Contact: "ops@example.com"}, ""},
		{"refused terms", false, daemon.Answers{Refused: true}, "does not agree"},
		{"a missing external account binding", true, daemon.Answers{}, "external account binding"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const terms = "https://ca.example/terms/1"
			options := acmetest.Options{Wrap: acmetest.Terms(func() string { return terms })}
			if tt.eab {
				options.RequireEAB = map[string]string{"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}
			}
			ca := acmetest.StartT(t, options)
			bundle := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(bundle, ca.RootsPEM(), 0o644); err != nil {
				t.Fatal(err)
			}
			store, err := state.Open(filepath.Join(t.TempDir(), "acme"))
			if err != nil {
				t.Fatal(err)
			}
			lock, err := store.Lock(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Unlock()
			o, entry := daemon.Options{Store: store, Answers: tt.answers}, config.CA{Name: "testca", Directory: ca.URL(), Bundle: bundle}
			first, err := daemon.Register(t.Context(), o, entry)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || acmetest.Count(ca.Requests(), "account") > 0 {
					t.Errorf("error %v, want %q and no request for an account", err, tt.err)
				}
				return
			}
			if err != nil || first.URL == "" || len(first.Thumbprint) != 43 {
				t.Fatalf("registered %+v, %v; want a URL and a thumbprint", first, err)
			}
			if a, err := store.Account(ca.URL()); err != nil || a.Terms != terms {
				t.Errorf("the account keeps the terms %q (%v), want %q", a.Terms, err, terms)
			}
			ca.ResetRequests()
			second, err := daemon.Register(t.Context(), o, entry)
			if err != nil || second != first {
				t.Errorf("a second time it is %+v, %v; want %+v", second, err, first)
			}
			if n := len(ca.Requests()); n > 0 {
				t.Errorf("the CA saw %d requests for an account that is on disk, want none", n)
			}
		})
	}
}
