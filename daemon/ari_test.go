package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/config"
	"certd/daemon"
	"certd/hooks"
	"certd/metrics"
	"certd/plan"
	"certd/state"
)

// liveCertificate is the certificate of faultName and what is known of its renewal.
func liveCertificate(t testing.TB, dir string) (*state.Certificate, state.Renewal) {
	t.Helper()
	snap := look(t, dir).Snapshot
	c := snap.Certificates[snap.Live[faultName]]
	if c == nil {
		t.Fatal("there is no live certificate")
	}
	return c, snap.Renewals[c.ID]
}

// edit changes what is kept of a certificate's renewal.
func edit(t testing.TB, dir string, change func(*state.Renewal)) {
	t.Helper()
	_, r := liveCertificate(t, dir)
	change(&r)
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := store.Lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	if err := store.SaveRenewal(r); err != nil {
		t.Fatal(err)
	}
}

// comeDue lets the time come at which the CA wants to be asked again.
func comeDue(r *state.Renewal) { r.NextPoll = time.Now().Add(-time.Second) }

// A listener notes the details that hooks are told.
type listener struct {
	mu   sync.Mutex
	told []string
}

func (l *listener) Run(_ context.Context, ev hooks.Event, _ func(string) bool) ([]hooks.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, ev.Name+" "+ev.Env["CERTD_DETAIL"])
	return nil, nil
}

// TestRenewalAsTheCASuggests goes through the life of a certificate at a CA that
// wants it replaced, whatever else that CA does.
func TestRenewalAsTheCASuggests(t *testing.T) {
	t.Parallel()
	for _, o := range []acmetest.Options{{AlwaysValid: true, NonceReject: 40}, {AlwaysValid: true, AuthzReuse: 100}, {AlwaysValid: true, RetryAfterOrder: 1}} {
		t.Run(fmt.Sprintf("nonce-reject-%d-reuse-%d", o.NonceReject, o.AuthzReuse), func(t *testing.T) {
			t.Parallel()
			testRenewalAsTheCASuggests(t, acmetest.StartT(t, o))
		})
	}
}

func testRenewalAsTheCASuggests(t *testing.T, ca *acmetest.CA) {
	dir := t.TempDir()
	configureFault(t, dir, ca)
	asked := func() int { return acmetest.Count(ca.Requests(), "ari") }
	pass(t, dir, daemon.Options{})
	first, known := liveCertificate(t, dir)
	if asked() != 1 || known.Chosen.IsZero() || known.Chosen.Before(known.Start) || known.Chosen.After(known.End) {
		t.Fatalf("after it was issued the CA was asked %d times, and %+v is known", asked(), known)
	}
	ca.ResetRequests()
	before := liveTree(t, dir)
	pass(t, dir, daemon.Options{})
	if n := len(ca.Requests()); n != 0 {
		t.Errorf("a pass with nothing to do sent %d requests: %v", n, ca.Requests())
	}
	status := look(t, dir).Status()[0]
	if !status.RenewAt.Equal(known.Chosen) || !strings.Contains(status.Reason, "as the CA suggested") {
		t.Errorf("status says renewal at %v because %q, want %v", status.RenewAt, status.Reason, known.Chosen)
	}

	cert, err := os.ReadFile(filepath.Join(dir, "live", faultName, "cert"))
	if err != nil {
		t.Fatal(err)
	}
	ca.SetWindowT(t, cert, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour), "https://ca.example/incident")
	edit(t, dir, comeDue)
	var log bytes.Buffer
	if report := pass(t, dir, daemon.Options{Log: slog.New(slog.NewTextHandler(&log, nil))}); report.Changed() || asked() != 1 {
		t.Errorf("a certificate just issued is replaced at the CA's first word (asked %d times)", asked())
	}
	if n := strings.Count(log.String(), "https://ca.example/incident"); n != 1 {
		t.Errorf("the CA's explanation is logged %d times, want once:\n%s", n, &log)
	}
	if reason := look(t, dir).Status()[0].Reason; !strings.Contains(reason, "see https://ca.example/incident") {
		t.Errorf("status does not show the explanation: %q", reason)
	}

	edit(t, dir, comeDue)
	log.Reset()
	l := &listener{}
	report := pass(t, dir, daemon.Options{Hooks: l, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if !report.Changed() || report.Results[0].Action.Cause != plan.CauseARI {
		t.Fatalf("the CA says it twice, and the pass is %+v", report.Results)
	}
	if strings.Contains(log.String(), "the CA explains") || len(l.told) != 1 || l.told[0] != "live-updated https://ca.example/incident" {
		t.Errorf("hooks were told %q, want the explanation once:\n%s", l.told, &log)
	}
	second, known := liveCertificate(t, dir)
	if second.ID == first.ID || second.Reason != "ari" || known.ARIID != second.ARIID || known.Explanation != "" || !known.Chosen.After(time.Now()) {
		t.Errorf("the successor is %+v, of which %+v is known", second, known)
	}
	if tree := liveTree(t, dir); tree[faultName] == before[faultName] {
		t.Error("live/ was not switched")
	}
	ca.ResetRequests()
	if report := pass(t, dir, daemon.Options{}); report.Changed() || len(ca.Requests()) > 0 {
		t.Errorf("the window of the predecessor is followed again: %v", ca.Requests())
	}

	if cert, err = os.ReadFile(filepath.Join(dir, "live", faultName, "cert")); err != nil {
		t.Fatal(err)
	}
	ca.SetWindowT(t, cert, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour), "")
	for range 3 {
		edit(t, dir, comeDue)
		if report := pass(t, dir, daemon.Options{}); report.Changed() {
			t.Error("the CA is followed again within a day")
		}
	}
}

// renewing is the scripted CA with renewal information.
func renewing(t testing.TB, r *acmetest.Renewal, validate func() error) *acmetest.FaultyCA {
	t.Helper()
	ca, err := acmetest.NewFaulty(acmetest.FaultyOptions{Renewal: r, Validate: func(context.Context, acme.Identifier, string, string, string) error {
		if validate == nil {
			return nil
		}
		return validate()
	}})
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

// TestNoRenewalInfo: whatever the CA answers, the pass is a good one, the
// certificate stays and is renewed by its lifetime, or by what was known.
func TestNoRenewalInfo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status int
		header http.Header
		body   string
		pause  time.Duration
		kept   bool // what was known
	}{
		{"malformed", 200, nil, "malformed", 6 * time.Hour, true},
		{"vanished", 404, nil, `{"type":"urn:ietf:params:acme:error:malformed"}`, 6 * time.Hour, false},
		{"forbidden", 403, nil, `{}`, 6 * time.Hour, true},
		{"broken", 500, nil, `{}`, 10 * time.Second, true},
		{"overloaded", 503, http.Header{"Retry-After": {"1800"}}, ``, 30 * time.Minute, true},
		{"after the end", 200, nil, acmetest.Window(time.Now(), time.Now().Add(20000*24*time.Hour), ""), 6 * time.Hour, true},
		{"unchanged", 200, http.Header{"Retry-After": {"60"}}, "", time.Minute, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			good := acmetest.Window(time.Now().Add(30*24*time.Hour), time.Now().Add(31*24*time.Hour), "")
			status, header, body := 200, http.Header{"Retry-After": {"3600"}}, good
			ca := renewing(t, &acmetest.Renewal{Info: func(string) (int, http.Header, string) { return status, header, body }}, nil)
			dir := t.TempDir()
			configureFault(t, dir, ca)
			pass(t, dir, daemon.Options{})
			c, known := liveCertificate(t, dir)
			edit(t, dir, comeDue)
			status, header = tt.status, tt.header
			if tt.body != "" || tt.status != 200 {
				body = tt.body
			}
			asked := time.Now()
			if report := pass(t, dir, daemon.Options{}); report.Failed() || report.Changed() {
				t.Errorf("the pass is %+v, want one that changes nothing", report)
			}
			_, now := liveCertificate(t, dir)
			if kept := now.Chosen.Equal(known.Chosen); kept != tt.kept || !tt.kept && !now.Chosen.IsZero() {
				t.Errorf("%v was chosen before and is %v now, want it kept: %v", known.Chosen, now.Chosen, tt.kept)
			}
			if pause := now.NextPoll.Sub(asked).Round(2 * time.Second); pause < tt.pause || pause > tt.pause+2*time.Minute {
				t.Errorf("the CA is asked again after %v, want %v: %+v", pause, tt.pause, now)
			}
			if want := plan.RenewAt(c.NotBefore, c.NotAfter, 0); !tt.kept && !look(t, dir).Status()[0].RenewAt.Equal(want) {
				t.Errorf("renewal is due at %v, want %v by its lifetime", look(t, dir).Status()[0].RenewAt, want)
			}
		})
	}
}

// TestFailingCAIsNotAskedForEach: a CA that answers nothing useful is not asked
// about every certificate in a pass.
func TestFailingCAIsNotAskedForEach(t *testing.T) {
	t.Parallel()
	ca := renewing(t, &acmetest.Renewal{Info: func(string) (int, http.Header, string) { return 500, nil, "{}" }}, nil)
	dir := t.TempDir()
	configureFault(t, dir, ca)
	for i := range 30 {
		write(t, fmt.Sprintf("%s/desired/n%d.example.test", dir, i), "")
	}
	if report := pass(t, dir, daemon.Options{}); report.Failed() {
		t.Fatalf("not everything was issued: %+v", report.Results)
	}
	if n := acmetest.Count(ca.Requests(), "ari"); n > 12 {
		t.Errorf("a failing CA was asked %d times in one pass", n)
	}
}

// TestReplaces: orders say what they replace, also after a failed validation, and
// a refusal is not asked for twice.
func TestReplaces(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var replaced []string
	var refuse *acme.Problem
	valid := error(nil)
	ca := renewing(t, &acmetest.Renewal{
		Info: func(string) (int, http.Header, string) {
			return 200, http.Header{"Retry-After": {"3600"}}, acmetest.Window(time.Now().Add(time.Hour), time.Now().Add(2*time.Hour), "")
		},
		Refuse: func(certID string) *acme.Problem {
			mu.Lock()
			defer mu.Unlock()
			replaced = append(replaced, certID)
			return refuse
		},
	}, func() error { return valid })
	take := func() string {
		mu.Lock()
		defer mu.Unlock()
		out := strings.Join(replaced, " ")
		replaced = nil
		return out
	}
	dir := t.TempDir()
	configureFault(t, dir, ca)
	pass(t, dir, daemon.Options{})
	if got := take(); got != "" {
		t.Errorf("the first order replaces %s", got)
	}
	first, _ := liveCertificate(t, dir)
	valid = errors.New("not found there")
	pass(t, dir, daemon.Options{Force: true})
	if got := take(); got != first.ARIID {
		t.Errorf("the renewal replaces %q, want %q", got, first.ARIID)
	}
	valid = nil
	pass(t, dir, daemon.Options{Force: true})
	if got := take(); got != first.ARIID {
		t.Errorf("after a failed validation the renewal replaces %q, want %q still", got, first.ARIID)
	}

	second, _ := liveCertificate(t, dir)
	m := metrics.New(metrics.Options{})
	refuse = &acme.Problem{Status: http.StatusConflict, Type: "alreadyReplaced", Detail: "replaced before"}
	valid = errors.New("not found there")
	var log bytes.Buffer
	pass(t, dir, daemon.Options{Force: true, Metrics: m, KeepCounters: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if got := take(); got != second.ARIID || !strings.Contains(log.String(), "replaced before") {
		t.Errorf("the renewal replaces %q, want %q and the refusal logged:\n%s", got, second.ARIID, &log)
	}
	if _, r := liveCertificate(t, dir); !strings.Contains(r.Unreplaced, "alreadyReplaced") {
		t.Errorf("the refusal is not kept: %+v", r)
	}
	var text bytes.Buffer
	if err := m.WriteText(&text); err != nil || !strings.Contains(text.String(), `certd_ari_replaces_rejected_total{ca="faulty"} 1`) ||
		!strings.Contains(text.String(), `certd_certificate_ari_window_start_timestamp_seconds{ca="faulty",name="`+faultName+`"}`) {
		t.Errorf("the metrics do not tell of it, or of the window: %v", err)
	}
	valid = nil
	if report := pass(t, dir, daemon.Options{Force: true}); !report.Changed() || take() != "" {
		t.Error("after the refusal an order replaces the same certificate again, or there is none")
	}
}

// TestAnotherCAReplacesNothing: what one CA issued is not replaced at another.
func TestAnotherCAReplacesNothing(t *testing.T) {
	t.Parallel()
	asked := 0
	r := &acmetest.Renewal{Refuse: func(string) *acme.Problem { asked++; return nil }}
	dir := t.TempDir()
	configureFault(t, dir, renewing(t, r, nil))
	pass(t, dir, daemon.Options{})
	configureFault(t, dir, renewing(t, r, nil))
	if report := pass(t, dir, daemon.Options{}); !report.Changed() || asked != 0 {
		t.Errorf("at another CA %d orders replace a certificate, want none: %+v", asked, report.Results)
	}
}

// TestShortLives: certificates of minutes and days are asked about and renewed
// within their life.
func TestShortLives(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{AlwaysValid: true, Profiles: map[string]time.Duration{
		"minutes": 10 * time.Minute, "days": 6 * 24 * time.Hour, "weeks": 47 * 24 * time.Hour}})
	dir := t.TempDir()
	configureFault(t, dir, ca)
	if err := os.Remove(dir + "/desired/" + faultName); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"minutes", "days", "weeks"} {
		write(t, dir+"/desired/"+p+".example.test", "request: {profile: "+p+"}\n")
	}
	if report := pass(t, dir, daemon.Options{}); report.Failed() {
		t.Fatalf("not issued: %+v", report.Results)
	}
	ca.ResetRequests()
	view := look(t, dir)
	for _, a := range view.Plan(func(*config.Target) bool { return true }, false) {
		c, r := view.Snapshot.Certificates[a.CertID], view.Snapshot.Renewals[a.CertID]
		if c == nil || a.Due.Before(c.NotBefore) || a.Due.After(c.NotAfter) || r.ARIID != c.ARIID || !r.NextPoll.After(view.Now) {
			t.Errorf("%s: due at %v, certificate %+v, known %+v", a.Target, a.Due, c, r)
		}
	}
}
