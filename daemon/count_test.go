package daemon_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"certd/acme/acmetest"
	"certd/daemon"
	"certd/hooks"
	"certd/metrics"
	"certd/state"
)

// withTextfile adds a textfile to the settings and returns its path.
func withTextfile(t *testing.T, dir string) string {
	t.Helper()
	conf := filepath.Join(dir, "conf", "certd.yaml")
	data, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "certd.prom")
	write(t, conf, string(data)+"metrics: {textfile: "+path+"}\n")
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// wantLines checks that the text has these lines.
func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, "\n"+line+"\n") {
			name, _, _ := strings.Cut(line, "{")
			var near []string
			for l := range strings.Lines(text) {
				if strings.HasPrefix(l, name) {
					near = append(near, l)
				}
			}
			t.Errorf("the metrics lack %s; they have\n%s", line, strings.Join(near, ""))
		}
	}
}

// TestPassesCount: passes with metrics of their own, as one-shot runs are, count
// on in the textfile: what was issued, what failed and why.
func TestPassesCount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := acmetest.StartFaulty(t)
	configureFault(t, dir, good)
	textfile := withTextfile(t, dir)
	runner := &recorder{answer: func(hook, _ string) hooks.Outcome {
		if hook == "/h/a" {
			return hooks.OK
		}
		return hooks.Failed
	}}
	pass(t, dir, daemon.Options{Metrics: metrics.New(metrics.Options{}), Trigger: "timer", Hooks: runner})
	wantLines(t, read(t, textfile),
		`certd_config_last_reload_successful 1`,
		`certd_targets{state="ready"} 1`,
		`certd_certificate_last_attempt_successful{name="www.example.test"} 1`,
		`certd_issuances_total{ca="faulty",outcome="ok",reason="new"} 1`,
		`certd_issuance_duration_seconds_count{ca="faulty",outcome="ok"} 1`,
		`certd_issuance_phase_duration_seconds_count{ca="faulty",phase="order"} 1`,
		`certd_issuance_phase_duration_seconds_count{ca="faulty",phase="install"} 1`,
		`certd_authorizations_total{ca="faulty",outcome="valid",type="http-01"} 1`,
		`certd_challenges_presented{type="http-01"} 0`,
		`certd_acme_requests_total{ca="faulty",code="200",operation="directory"} 1`,
		`certd_acme_requests_total{ca="faulty",code="201",operation="order"} 1`,
		`certd_orders_in_flight{ca="faulty"} 0`,
		`certd_hook_runs_total{event="live-updated",hook="a",outcome="ok"} 1`,
		`certd_hook_runs_total{event="live-updated",hook="b",outcome="error"} 1`,
		`certd_hook_pending{hook="other"} 2`,
		`certd_reconciles_total{outcome="error",trigger="timer"} 1`,
		`certd_reconcile_last_errors 2`,
		`certd_reconcile_interval_seconds 21600`)

	limited := acmetest.Respond("order", http.StatusTooManyRequests, http.Header{"Retry-After": {"7200"}},
		`{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many"}`)
	configureFault(t, dir, acmetest.StartFaulty(t, limited))
	textfile = withTextfile(t, dir)
	pass(t, dir, daemon.Options{Metrics: metrics.New(metrics.Options{})})
	written := read(t, textfile)
	wantLines(t, written,
		`certd_targets{state="failing"} 1`,
		`certd_certificate_last_attempt_successful{name="www.example.test"} 0`,
		`certd_certificate_consecutive_failures{name="www.example.test"} 1`,
		`certd_issuances_total{ca="faulty",outcome="ok",reason="new"} 1`,
		`certd_issuances_total{ca="faulty",outcome="rate_limited",reason="want_changed"} 1`,
		`certd_issuance_failures_total{ca="faulty",cause="rate_limited",phase="order"} 1`,
		`certd_acme_problems_total{ca="faulty",type="rateLimited"} 1`,
		`certd_reconciles_total{outcome="error",trigger="manual"} 1`,
		`certd_reconciles_total{outcome="error",trigger="timer"} 1`)
	for _, part := range []string{"certd_certificate_not_after_timestamp_seconds{", "certd_certificate_chain_not_after_timestamp_seconds{",
		"certd_certificate_installed_timestamp_seconds{", "certd_certificate_next_attempt_timestamp_seconds{", "certd_acme_last_success_timestamp_seconds{",
		"certd_clock_offset_seconds{"} {
		if !strings.Contains(written, "\n"+part) {
			t.Errorf("the metrics lack %s", part)
		}
	}
}

// TestConfigurationErrorIsMeasured: the run that cannot read its settings says
// so where the one before wrote, and still tells of the live certificate.
func TestConfigurationErrorIsMeasured(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configureFault(t, dir, acmetest.StartFaulty(t))
	textfile := withTextfile(t, dir)
	pass(t, dir, daemon.Options{Metrics: metrics.New(metrics.Options{}), Trigger: "cron"})
	write(t, filepath.Join(dir, "conf", "certd.yaml"), "nonsense: 1\n")
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := daemon.Reconcile(t.Context(), daemon.Options{Store: store, Metrics: metrics.New(metrics.Options{}), Trigger: "cron"}); err == nil {
		t.Fatal("a pass with nonsense in certd.yaml gave no error")
	}
	written := read(t, textfile)
	wantLines(t, written, `certd_config_last_reload_successful 0`, `certd_reconciles_total{outcome="ok",trigger="cron"} 1`,
		`certd_reconciles_total{outcome="error",trigger="cron"} 1`)
	if !strings.Contains(written, `certd_certificate_not_after_timestamp_seconds{`) || strings.Contains(written, "certd_targets{") {
		t.Errorf("without a configuration there are targets, or no certificate:\n%s", written)
	}
}

// TestNothingIsWrittenUnasked: without a place for metrics a pass leaves no
// counters behind, unless it is the daemon's.
func TestNothingIsWrittenUnasked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configureFault(t, dir, acmetest.StartFaulty(t))
	pass(t, dir, daemon.Options{Metrics: metrics.New(metrics.Options{})})
	if _, err := os.Stat(filepath.Join(dir, "counters.json")); err == nil {
		t.Error("counters.json was written although nobody wants metrics")
	}
	pass(t, dir, daemon.Options{Metrics: metrics.New(metrics.Options{}), KeepCounters: true})
	if _, err := os.Stat(filepath.Join(dir, "counters.json")); err != nil {
		t.Error(err)
	}
}

// TestGarbledCounters: they start at 0, which is logged, and are whole afterwards.
func TestGarbledCounters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configureFault(t, dir, acmetest.StartFaulty(t))
	textfile := withTextfile(t, dir)
	write(t, filepath.Join(dir, "counters.json"), "\x00garbage")
	var log bytes.Buffer
	for range 2 {
		report := pass(t, dir, daemon.Options{Metrics: metrics.New(metrics.Options{}), Trigger: "cron", Log: slog.New(slog.NewTextHandler(&log, nil))})
		if report.Failed() {
			t.Errorf("the pass failed: %+v", report)
		}
	}
	wantLines(t, read(t, textfile), `certd_reconciles_total{outcome="ok",trigger="cron"} 2`)
	if n := strings.Count(log.String(), "counters lost"); n != 1 {
		t.Errorf("the loss was logged %d times, want once:\n%s", n, log.String())
	}
}

// TestTextfileThatCannotBeWritten: the pass has failed, since somebody waits for
// that file, and the counters are kept all the same.
func TestTextfileThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configureFault(t, dir, acmetest.StartFaulty(t))
	if err := os.Remove(filepath.Dir(withTextfile(t, dir))); err != nil {
		t.Fatal(err)
	}
	report := pass(t, dir, daemon.Options{Metrics: metrics.New(metrics.Options{})})
	if !report.Failed() || len(report.Other) != 1 || !strings.Contains(report.Other[0].Error(), "metrics.textfile") {
		t.Errorf("the report is %v, want one error that names metrics.textfile", report.Other)
	}
	if !strings.Contains(read(t, filepath.Join(dir, "counters.json")), "certd_issuances_total") {
		t.Error("the counters were not kept")
	}
}

// TestHandlerForgetsAtOnce: what is not wanted any more is gone with the next
// scrape, without a pass in between.
func TestHandlerForgetsAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configureFault(t, dir, acmetest.StartFaulty(t))
	m := metrics.New(metrics.Options{})
	pass(t, dir, daemon.Options{Metrics: m})
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	scrape := func() string {
		recorder := httptest.NewRecorder()
		daemon.MetricsHandler(store, nil, m).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		data, err := io.ReadAll(recorder.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	wantLines(t, scrape(), `certd_targets{state="ready"} 1`, `certd_certificate_consecutive_failures{name="www.example.test"} 0`)
	if err := os.Remove(filepath.Join(dir, "desired", faultName)); err != nil {
		t.Fatal(err)
	}
	after := scrape()
	wantLines(t, after, `certd_targets{state="ready"} 0`)
	if strings.Contains(after, faultName) {
		t.Errorf("%s is still there although it is not wanted", faultName)
	}
	write(t, filepath.Join(dir, "desired", faultName), "satisfi: {}\n") // wanted, and it is not known how
	wantLines(t, scrape(), `certd_targets{state="failing"} 1`, `certd_certificate_consecutive_failures{name="www.example.test"} 0`)
}
