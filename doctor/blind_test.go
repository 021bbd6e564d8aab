package doctor

import (
	"testing"

	"certd/acme"
	"certd/challenge"
	"certd/config"
)

// TestUnlessBlind: a failure is only doubted where the daemon has the port and
// nothing can be put where it would answer from.
func TestUnlessBlind(t *testing.T) {
	t.Parallel()
	daemon, nginx := challenge.Holders{8080: "certd (pid 7)"}, challenge.Holders{8080: "nginx (pid 8)"}
	for _, tt := range []struct {
		name    string
		holders challenge.Holders
		beside  string
		want    Result
	}{
		{"no daemon runs", daemon, "", Failure},
		{"a daemon runs, and another server has the port", nginx, "/proc/none", Failure},
		{"the daemon answers for us", daemon, t.TempDir(), Failure},
		{"the daemon cannot answer for us", daemon, "/proc/none", Warning},
	} {
		r := &run{settings: &config.Settings{Challenge: config.ChallengeSettings{HTTPPort: 8080}}, holders: tt.holders}
		token := token()
		ch := acme.Challenge{Type: challenge.TypeHTTP01, Token: token, KeyAuthorization: token + ".x"}
		var got Result
		add := r.unlessBlind(t.Context(), challenge.Config{Beside: tt.beside}, acme.NewIdentifier("www.example.com"), ch,
			func(_ string, result Result, _, _ string) { got = result })
		if add("http-01", Failure, "404", "mend it"); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		if add("http-01", OK, "right", ""); got != OK {
			t.Errorf("%s: what is well is %v", tt.name, got)
		}
	}
}
