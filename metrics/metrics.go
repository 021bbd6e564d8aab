// Package metrics is what is counted: the families of docs/metrics.md, kept from
// process to process so that one-shot runs and the daemon count alike.
package metrics

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"
)

// Options say which build counts. The zero value is fine.
type Options struct {
	Version   string
	Revision  string // of the source; empty if unknown
	GoVersion string
}

// Metrics counts what happens and holds the last View of what there is. Make it
// with New. Every method may be called from many goroutines at once; label
// values outside the catalogue become "other", so that nothing a CA or a client
// sends makes new series.
type Metrics struct {
	options Options
	descs   map[string]*prometheus.Desc // by family

	mu        sync.Mutex // guards what follows
	store     *store
	view      View
	presented map[string]int // tokens now served, by challenge type
	clock     clock
	textfile  string
	next      time.Time // the daemon's next pass; zero if there is no daemon
	unapplied bool      // a configuration was read that could not be put into force
}

// New returns Metrics at zero.
func New(o Options) *Metrics {
	m := &Metrics{options: o, descs: make(map[string]*prometheus.Desc), store: newStore(catalogue()), presented: make(map[string]int)}
	for _, f := range catalogue() {
		m.descs[f.name] = prometheus.NewDesc(f.name, f.help, f.labels, nil)
	}
	m.known()
	return m
}

// known makes the series that can be foreseen, so that rate() sees their first event.
func (m *Metrics) known() {
	for _, trigger := range triggers() {
		for _, outcome := range []string{"ok", "error"} {
			m.store.at("certd_reconciles_total", trigger, outcome)
		}
	}
	for _, result := range requestResults() {
		m.store.at("certd_challenge_requests_total", "http-01", result)
	}
	for _, result := range redirectResults() {
		m.store.at("certd_redirector_requests_total", result)
	}
	for _, outcome := range selfTestOutcomes() {
		m.store.at("certd_challenge_selftests_total", "http-01", outcome)
	}
	m.presented["http-01"] = 0
	m.store.at("certd_clock_steps_total")
}

// knownCA is known for the series of a CA.
func (m *Metrics) knownCA(ca string) {
	for _, reason := range reasons() {
		for _, outcome := range issuanceOutcomes() {
			m.store.at("certd_issuances_total", ca, reason, outcome)
		}
	}
	for _, typ := range []string{"rateLimited", "serverInternal", "unauthorized", "dns", "connection", "other"} {
		m.store.at("certd_acme_problems_total", ca, typ)
	}
	for _, outcome := range authorizationOutcomes() {
		m.store.at("certd_authorizations_total", ca, "http-01", outcome)
	}
	for _, source := range limitSources() {
		m.store.at("certd_acme_rate_limit_waits_total", ca, source)
		m.store.at("certd_acme_rate_limit_wait_seconds_total", ca, source)
	}
	m.store.at("certd_acme_nonce_retries_total", ca)
	m.store.at("certd_ari_replaces_rejected_total", ca)
	m.store.at("certd_acme_retry_after_timestamp_seconds", ca)
}

// knownHook is known for the series of a hook.
func (m *Metrics) knownHook(hook string) {
	for _, outcome := range hookOutcomes() {
		m.store.at("certd_hook_runs_total", hook, "live-updated", outcome)
	}
}

// Textfile returns the path that SetTextfile or Restore gave.
func (m *Metrics) Textfile() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.textfile
}

// SetTextfile keeps where the text goes, "" for nowhere: the next run, if it
// cannot read its configuration, can then still say so there.
func (m *Metrics) SetTextfile(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.textfile = path
}

// SetDaemon says when the daemon will make its next pass, zero if it does not
// know, and whether the configuration that was read last is in force.
func (m *Metrics) SetDaemon(next time.Time, applied bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next, m.unapplied = next, !applied
}

// Handler serves the metrics, those of Go and of the process among them, in
// Prometheus' text format or OpenMetrics, as the client asks.
func (m *Metrics) Handler() http.Handler {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m.collector(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true, Timeout: 30 * time.Second})
}

// WriteText writes the metrics in Prometheus' text format, as a file for
// node_exporter: without those of Go and of the process, which node_exporter has
// of itself, and with a final newline.
func (m *Metrics) WriteText(w io.Writer) error {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m.collector())
	families, err := registry.Gather()
	if err != nil {
		return fmt.Errorf("gather metrics: %w", err)
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
			return fmt.Errorf("write metrics: %w", err)
		}
	}
	return nil
}
