package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A collector shows Metrics to a registry of Prometheus.
type collector struct{ m *Metrics }

func (m *Metrics) collector() collector { return collector{m} }

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range c.m.descs {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, metric := range c.m.gather(time.Now()) {
		ch <- metric
	}
}

// gather copies every series, so that a slow scraper holds up nobody.
func (m *Metrics) gather(now time.Time) []prometheus.Metric {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []prometheus.Metric
	gauges := append(m.view.samples(), sample{"certd_build_info", 1,
		[]string{clean(m.options.Version), clean(m.options.Revision), clean(m.options.GoVersion)}})
	for typ, n := range m.presented {
		gauges = append(gauges, sample{"certd_challenges_presented", float64(n), []string{typ}})
	}
	if !m.view.Time.IsZero() {
		gauges = append(gauges, sample{"certd_config_last_reload_successful", truth(m.view.ConfigOK && !m.unapplied), nil})
	}
	if !m.next.IsZero() {
		gauges = append(gauges, sample{"certd_reconcile_next_timestamp_seconds", seconds(m.next), nil})
	}
	for _, s := range gauges {
		out = append(out, metric(m.descs[s.family], prometheus.GaugeValue, s.value, s.labels))
	}
	for name, all := range m.store.series {
		for _, s := range all {
			out = append(out, m.kept(m.store.families[name], s, now))
		}
	}
	return out
}

// kept is a series of the store as Prometheus has it.
func (m *Metrics) kept(f family, s *series, now time.Time) prometheus.Metric {
	desc := m.descs[f.name]
	switch {
	case f.kind == histogram:
		return bucketed(desc, f, s)
	case f.kind == counter:
		return metric(desc, prometheus.CounterValue, s.value, s.labels)
	case f.name == "certd_acme_retry_after_timestamp_seconds" && s.value <= seconds(now):
		return metric(desc, prometheus.GaugeValue, 0, s.labels)
	}
	return metric(desc, prometheus.GaugeValue, s.value, s.labels)
}

func metric(desc *prometheus.Desc, typ prometheus.ValueType, value float64, labels []string) prometheus.Metric {
	made, err := prometheus.NewConstMetric(desc, typ, value, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return made
}

func bucketed(desc *prometheus.Desc, f family, s *series) prometheus.Metric {
	cumulative := make(map[float64]uint64, len(f.buckets))
	var count uint64
	for i, n := range s.counts {
		count += n
		if i < len(f.buckets) {
			cumulative[f.buckets[i]] = count
		}
	}
	made, err := prometheus.NewConstHistogram(desc, count, s.value, cumulative, s.labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return made
}
