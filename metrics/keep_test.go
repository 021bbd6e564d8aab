package metrics

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestCountersSurvive: what is restored goes on, and the state does not come
// from the file.
func TestCountersSurvive(t *testing.T) {
	t.Parallel()
	first := New(Options{})
	everything(first)
	first.SetTextfile("/x/certd.prom")
	data := dump(t, first)

	second := New(Options{})
	restore(t, second, data)
	if got := second.Textfile(); got != "/x/certd.prom" {
		t.Errorf("the textfile is %q after Restore", got)
	}
	if again := dump(t, second); !bytes.Equal(again, data) {
		t.Errorf("Dump after Restore gave\n%s\nwant\n%s", again, data)
	}
	noSeries(t, second, "certd_certificate")
	noSeries(t, second, "certd_targets")
	second.Issuance(Issuance{CA: "testca", Reason: "expiry", Outcome: "ok", Took: 3 * time.Second})
	wantValue(t, second, `certd_issuances_total{ca="testca",outcome="ok",reason="expiry"}`, 2)
	wantValue(t, second, `certd_issuance_duration_seconds_sum{ca="testca",outcome="ok"}`, 6)
	wantValue(t, second, `certd_issuance_duration_seconds_bucket{ca="testca",outcome="ok",le="+Inf"}`, 2)
	wantValue(t, second, "certd_reconcile_last_errors", 5)
	wantValue(t, second, `certd_hook_last_success_timestamp_seconds{event="live-updated",hook="reload"}`, float64(start().Unix()))
}

// TestTwoProcessesCount: a daemon and a one-shot run in between lose nothing of
// each other, and what was lost on disk does not make a daemon go back.
func TestTwoProcessesCount(t *testing.T) {
	t.Parallel()
	const served = `certd_challenge_requests_total{result="served",type="http-01"}`
	daemon, oneShot := New(Options{}), New(Options{})
	count := func(m *Metrics, n int, at time.Time) {
		for range n {
			m.Challenge("http-01", "served")
			m.Phase("testca", "order", time.Second)
			m.Reconcile(Reconcile{Trigger: "manual", Outcome: "ok", At: at, Errors: n})
		}
	}
	count(daemon, 3, start())
	file := dump(t, daemon)
	count(daemon, 2, start()) // between two passes
	restore(t, oneShot, file)
	count(oneShot, 10, start().Add(time.Minute))
	file = dump(t, oneShot)
	wantValue(t, oneShot, served, 13)

	restore(t, daemon, file)
	wantValue(t, daemon, served, 15)
	wantValue(t, daemon, `certd_issuance_phase_duration_seconds_count{ca="testca",phase="order"}`, 15)
	wantValue(t, daemon, `certd_issuance_phase_duration_seconds_sum{ca="testca",phase="order"}`, 15)
	wantValue(t, daemon, "certd_reconcile_last_errors", 10) // the newer one's
	restore(t, daemon, file)
	wantValue(t, daemon, served, 15)

	restore(t, daemon, []byte(`{"version": 1, "families": {}}`))
	wantValue(t, daemon, served, 15)
	count(daemon, 1, start().Add(time.Hour))
	file = dump(t, daemon)
	restore(t, oneShot, file)
	wantValue(t, oneShot, served, 16)
	wantValue(t, oneShot, "certd_reconcile_last_errors", 1)
}

// TestRestoreRefuses: garbage is an error and changes nothing.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"", "garbage", "[]", "{}", `{"version": 2}`, `{"version": 1} more`, `{"version": 1, "families": 7}`,
		`{"version": 1, "families": {"certd_clock_steps_total": {"series": [{"labels": {}, "value": "7"}]}}}`,
		strings.Repeat(" ", maxDump) + `{"version": 1}`} {
		m := New(Options{})
		m.Challenge("http-01", "served")
		if err := m.Restore([]byte(data)); err == nil {
			t.Errorf("Restore took %.40q", data)
		}
		wantValue(t, m, `certd_challenge_requests_total{result="served",type="http-01"}`, 1)
	}
}

// TestRestoreDrops: what this version does not know, or cannot be, is left out
// and the rest is taken.
func TestRestoreDrops(t *testing.T) {
	t.Parallel()
	for what, family := range map[string]string{
		"an unknown family":           `"certd_future_total": {"series": [{"labels": {}, "value": 7}]}`,
		"a family of the state":       `"certd_targets": {"series": [{"labels": {"state": "ready"}, "value": 7}]}`,
		"an unknown label":            `"certd_acme_nonce_retries_total": {"series": [{"labels": {"x": "y"}, "value": 7}]}`,
		"a label too many":            `"certd_acme_nonce_retries_total": {"series": [{"labels": {"ca": "y", "x": "y"}, "value": 7}]}`,
		"a label too few":             `"certd_acme_nonce_retries_total": {"series": [{"labels": {}, "value": 7}]}`,
		"a negative counter":          `"certd_acme_nonce_retries_total": {"series": [{"labels": {"ca": "y"}, "value": -7}]}`,
		"a counter with buckets":      `"certd_acme_nonce_retries_total": {"series": [{"labels": {"ca": "y"}, "value": 7, "counts": [1]}]}`,
		"a gauge without its time":    `"certd_reconcile_last_errors": {"series": [{"labels": {}, "value": 7}]}`,
		"other buckets":               `"certd_hook_duration_seconds": {"buckets": [1, 2], "series": [{"labels": {"hook": "y", "event": "failed"}, "value": 7, "counts": [7, 0, 0]}]}`,
		"a histogram without buckets": `"certd_hook_duration_seconds": {"buckets": [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300], "series": [{"labels": {"hook": "y", "event": "failed"}, "value": 7}]}`,
		"a histogram with too many":   `"certd_hook_duration_seconds": {"buckets": [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300], "series": [{"labels": {"hook": "y", "event": "failed"}, "value": 7, "counts": [9007199254740993, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]}]}`,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			m := New(Options{})
			restore(t, m, fmt.Appendf(nil, `{"version": 1, "families": {%s, "certd_clock_steps_total": {"series": [{"labels": {}, "value": 3}]}}}`, family))
			wantValue(t, m, "certd_clock_steps_total", 3)
			for series, value := range values(t, m) {
				if value == 7 {
					t.Errorf("taken: %s", series)
				}
			}
		})
	}
}

// FuzzRestore: no file makes Restore panic, or the metrics invalid; and what was
// dumped after it can be restored to the same.
func FuzzRestore(f *testing.F) {
	m := New(Options{})
	everything(m)
	data, err := m.Dump()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version": 1, "families": {"certd_hook_runs_total": {"series": [{"labels": {"hook": "\u0000", "event": "", "outcome": "\ufffd"}, "value": 1e300}]}}}`))
	f.Add([]byte(`{"version": 1, "textfile": "x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := New(Options{})
		if m.Restore(data) != nil {
			return
		}
		everything(m)
		text(t, m)
		first := dump(t, m)
		if len(first) > maxDump {
			return
		}
		again := New(Options{})
		restore(t, again, first)
		if second := dump(t, again); !bytes.Equal(first, second) {
			t.Errorf("dumped\n%s\nrestored and dumped\n%s", first, second)
		}
	})
}
