package metrics

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestEveryFamilyIsWritten: after one of everything, each family of the
// catalogue has a series, and the values are what was counted.
func TestEveryFamilyIsWritten(t *testing.T) {
	t.Parallel()
	m := New(Options{Version: "1.2.3", Revision: "abc", GoVersion: "go1.26"})
	everything(m)
	written := text(t, m)
	for _, f := range catalogue() {
		if !strings.Contains(written, fmt.Sprintf("# HELP %s %s\n# TYPE %s %s\n%s", f.name, f.help, f.name, f.kind, f.name)) {
			t.Errorf("%s is not in the text as a %s with its help", f.name, f.kind)
		}
	}
	at := float64(start().Unix())
	for series, want := range map[string]float64{
		`certd_build_info{goversion="go1.26",revision="abc",version="1.2.3"}`:                         1,
		`certd_config_info{digest="0123abcd"}`:                                                        1,
		`certd_config_last_reload_successful`:                                                         1,
		`certd_targets{state="ready"}`:                                                                2,
		`certd_targets{state="expired"}`:                                                              0,
		`certd_certificate_info{ca="testca",key_type="ecdsa-p256",name="www.example.com",profile=""}`: 1,
		`certd_certificate_not_after_timestamp_seconds{ca="testca",name="www.example.com"}`:           at + 3600,
		`certd_certificate_last_attempt_successful{name="www.example.com"}`:                           0,
		`certd_certificate_consecutive_failures{name="www.example.com"}`:                              3,
		`certd_issuances_total{ca="testca",outcome="ok",reason="expiry"}`:                             1,
		`certd_issuances_total{ca="testca",outcome="ok",reason="manual"}`:                             0,
		`certd_issuance_failures_total{ca="testca",cause="dns",phase="validate"}`:                     1,
		`certd_issuance_duration_seconds_bucket{ca="testca",outcome="ok",le="2.5"}`:                   0,
		`certd_issuance_duration_seconds_bucket{ca="testca",outcome="ok",le="5"}`:                     1,
		`certd_issuance_duration_seconds_sum{ca="testca",outcome="ok"}`:                               3,
		`certd_orders_in_flight{ca="testca"}`:                                                         2,
		`certd_order_oldest_start_timestamp_seconds{ca="testca"}`:                                     at - 3600,
		`certd_challenges_presented{type="http-01"}`:                                                  1,
		`certd_hook_runs_total{event="live-updated",hook="reload",outcome="ok"}`:                      1,
		`certd_hook_runs_total{event="live-updated",hook="reload",outcome="timeout"}`:                 0,
		`certd_hook_pending{hook="reload"}`:                                                           1,
		`certd_reconciles_total{outcome="error",trigger="timer"}`:                                     1,
		`certd_reconcile_last_run_timestamp_seconds`:                                                  at + 3600,
		`certd_reconcile_last_success_timestamp_seconds`:                                              at,
		`certd_reconcile_last_duration_seconds`:                                                       2,
		`certd_reconcile_last_errors`:                                                                 5,
		`certd_reconcile_interval_seconds`:                                                            3600,
		`certd_reconcile_next_timestamp_seconds`:                                                      at + 3600,
		`certd_acme_requests_total{ca="testca",code="429",operation="order"}`:                         1,
		`certd_acme_problems_total{ca="testca",type="rateLimited"}`:                                   1,
		`certd_acme_problems_total{ca="testca",type="caa"}`:                                           -1,
		`certd_acme_nonce_retries_total{ca="testca"}`:                                                 1,
		`certd_acme_last_success_timestamp_seconds{ca="testca"}`:                                      at + .02,
		`certd_acme_request_duration_seconds_count{ca="testca",operation="directory"}`:                1,
	} {
		if want < 0 {
			noSeries(t, m, series)
			continue
		}
		wantValue(t, m, series, want)
	}
}

// TestSetViewForgets: a name that is wanted no longer leaves no series behind.
func TestSetViewForgets(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	everything(m)
	m.SetView(View{Time: start(), Names: []Name{{Name: "other.example.com", CA: "testca", NotAfter: start()}}})
	noSeries(t, m, "www.example.com")
	noSeries(t, m, `certd_hook_pending{hook="reload"}`)
	noSeries(t, m, "certd_orders_in_flight")
	noSeries(t, m, "certd_config_info")
	wantValue(t, m, `certd_certificate_not_after_timestamp_seconds{ca="testca",name="other.example.com"}`, float64(start().Unix()))
	wantValue(t, m, "certd_config_last_reload_successful", 0)
	wantValue(t, m, "certd_config_last_reload_success_timestamp_seconds", float64(start().Unix()))
}

// TestUnappliedConfiguration: one that was read and could not be put into force
// did not succeed.
func TestUnappliedConfiguration(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	noSeries(t, m, "certd_config_last_reload_successful")
	m.SetView(View{Time: start(), ConfigOK: true})
	wantValue(t, m, "certd_config_last_reload_successful", 1)
	m.SetDaemon(time.Time{}, false)
	wantValue(t, m, "certd_config_last_reload_successful", 0)
}

// TestManyNames: beyond the limit, those that expire first have series; a name
// that comes twice has them once.
func TestManyNames(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	v := View{Time: start()}
	for i := range maxNames + 500 {
		v.Names = append(v.Names, Name{Name: fmt.Sprintf("host%d.example.com", i), NotAfter: start().Add(-time.Duration(i) * time.Hour)})
	}
	v.Names = append(v.Names, v.Names[len(v.Names)-1])
	m.SetView(v)
	n := 0
	for series := range values(t, m) {
		if strings.HasPrefix(series, "certd_certificate_not_after_timestamp_seconds{") {
			n++
		}
	}
	if n != maxNames {
		t.Errorf("%d names have series, want %d", n, maxNames)
	}
	noSeries(t, m, `"host0.example.com"`)
	wantValue(t, m, `certd_certificate_consecutive_failures{name="host1499.example.com"}`, 0)
}

// TestLabelsAreBounded: whatever comes from outside, the series stay few and
// every value is valid.
func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	for i := range 3000 {
		evil := fmt.Sprintf("x%d\xff\n\"\x00%s", i, strings.Repeat("y", 1000))
		m.Exchange(Exchange{CA: evil, Operation: evil, Code: evil, Problem: evil})
		m.Issuance(Issuance{CA: evil, Reason: evil, Outcome: evil, Phase: evil, Cause: evil, Took: -time.Hour})
		m.Phase("testca", evil, 1<<62)
		m.Authorization(evil, evil, evil)
		m.Challenge(evil, evil)
		m.SelfTest(evil, evil)
		m.Presented(evil, 1)
		m.Hook(Hook{Hook: evil, Event: evil, Outcome: evil})
		m.Reconcile(Reconcile{Trigger: evil, Outcome: evil})
	}
	m.SetView(View{Time: start(), CAs: []string{"a\xff"}, Names: []Name{{Name: "\xff\n", NotAfter: start()}}, HookPending: map[string]int{"\x01": 1}})
	counts := make(map[string]int)
	for series := range values(t, m) {
		name, _, _ := strings.Cut(series, "{")
		counts[strings.TrimSuffix(name, "_bucket")]++
	}
	for name, n := range counts {
		if n > 16*(maxSeries+1) {
			t.Errorf("%s has %d lines", name, n)
		}
	}
	wantValue(t, m, `certd_acme_requests_total{ca="other",code="other",operation="other"}`, 3000-maxSeries)
	wantValue(t, m, `certd_reconciles_total{outcome="error",trigger="manual"}`, 3000)
}

// TestRetryAfterPasses: a time that is over is none any more.
func TestRetryAfterPasses(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	at := time.Now()
	m.Exchange(Exchange{CA: "a", Code: "429", Sent: at, Received: at, RetryAt: at.Add(-time.Second)})
	m.Exchange(Exchange{CA: "b", Code: "429", Sent: at, Received: at, RetryAt: time.Unix(4e9, 0)})
	wantValue(t, m, `certd_acme_retry_after_timestamp_seconds{ca="a"}`, 0)
	wantValue(t, m, `certd_acme_retry_after_timestamp_seconds{ca="b"}`, 4e9)
}

// TestFormats: what the handler answers to which Accept, and that only it has
// the metrics of the process.
func TestFormats(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	everything(m)
	server := httptest.NewServer(m.Handler())
	t.Cleanup(server.Close)
	for _, tt := range []struct{ accept, wantType, wantEnd string }{
		{"", "text/plain; version=0.0.4", "\n"},
		{"text/plain;version=0.0.4", "text/plain; version=0.0.4", "\n"},
		{"application/openmetrics-text;version=1.0.0", "application/openmetrics-text; version=1.0.0", "\n# EOF\n"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", tt.accept)
		res, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("Accept %q: %s, %v", tt.accept, res.Status, err)
		}
		if got := res.Header.Get("Content-Type"); !strings.HasPrefix(got, tt.wantType) {
			t.Errorf("Accept %q is answered with %q, want %q", tt.accept, got, tt.wantType)
		}
		for _, part := range []string{"certd_issuances_total{", "go_goroutines ", "process_open_fds "} {
			if !strings.Contains(string(body), part) {
				t.Errorf("Accept %q: the answer has no %s", tt.accept, part)
			}
		}
		if !strings.HasSuffix(string(body), tt.wantEnd) {
			t.Errorf("Accept %q: the answer ends in %q", tt.accept, body[max(0, len(body)-40):])
		}
	}
	written := text(t, m)
	if strings.Contains(written, "\ngo_") || strings.Contains(written, "process_") || !strings.HasSuffix(written, "\n") {
		t.Error("the text for node_exporter has metrics of the process, or no final newline")
	}
}

// TestPromtool: promtool finds nothing to complain about.
func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool := needProgram(t, "promtool")
	m := New(Options{Version: "1"})
	everything(m)
	recorder := httptest.NewRecorder()
	m.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for what, input := range map[string]string{"WriteText": text(t, m), "Handler": recorder.Body.String(), "New": text(t, New(Options{}))} {
		cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
		cmd.Stdin = strings.NewReader(input)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("promtool check metrics of %s: %v\n%s", what, err, out)
		}
	}
}

// TestLimitsAndBreaker: waits are counted by who asked for them, and a CA that
// does not work is one until it works again.
func TestLimitsAndBreaker(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	m.RateLimitWait("a", "local", 90*time.Second)
	m.RateLimitWait("a", "local", -time.Second)
	m.RateLimitWait("a", "retry_after", time.Hour)
	m.SetView(View{CAs: []string{"a", "b"}, Broken: map[string]time.Time{"b": time.Unix(4e9, 0)}})
	wantValue(t, m, `certd_acme_rate_limit_waits_total{ca="a",source="local"}`, 2)
	wantValue(t, m, `certd_acme_rate_limit_wait_seconds_total{ca="a",source="local"}`, 90)
	wantValue(t, m, `certd_acme_rate_limit_wait_seconds_total{ca="a",source="retry_after"}`, 3600)
	wantValue(t, m, `certd_acme_rate_limit_waits_total{ca="b",source="local"}`, 0)
	wantValue(t, m, `certd_acme_breaker_until_timestamp_seconds{ca="a"}`, 0)
	wantValue(t, m, `certd_acme_breaker_until_timestamp_seconds{ca="b"}`, 4e9)
}

// TestEventsOfHooks: every event has a label of its own, what is unknown has none.
func TestEventsOfHooks(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	events := []string{"live-updated", "failed", "expiring", "paused", "account-created",
		"challenge-http-start", "challenge-http-stop", "challenge-dns-start", "challenge-dns-stop"}
	for _, event := range append(events, "something-new") {
		m.Hook(Hook{Hook: "mail", Event: event, Outcome: "ok"})
	}
	for _, event := range append(events, "other") {
		wantValue(t, m, fmt.Sprintf(`certd_hook_runs_total{event=%q,hook="mail",outcome="ok"}`, event), 1)
	}
}
