package metrics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"
)

// maxDump is the size of the largest document that Restore reads, in bytes.
const maxDump = 1 << 20

// A document is what Dump writes: counters.json.
type document struct {
	Version  int                  `json:"version"`
	Textfile string               `json:"textfile"`
	Families map[string]keptGroup `json:"families"`
}

type keptGroup struct {
	Buckets []float64    `json:"buckets,omitempty"`
	Series  []keptSeries `json:"series"`
}

type keptSeries struct {
	Labels map[string]string `json:"labels"`
	Value  float64           `json:"value"`
	Counts []uint64          `json:"counts,omitempty"`
	At     time.Time         `json:"at,omitzero"`
}

// Dump returns what Restore takes: one JSON document, a line for each family.
// Series that are still at zero are left out.
func (m *Metrics) Dump() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	textfile, err := json.Marshal(m.textfile)
	if err != nil {
		return nil, fmt.Errorf("dump metrics: %w", err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\n\"version\": 1,\n\"textfile\": %s,\n\"families\": {", textfile)
	separator := "\n"
	for _, name := range slices.Sorted(maps.Keys(m.store.families)) {
		group := m.store.group(name)
		if len(group.Series) == 0 {
			continue
		}
		line, err := json.Marshal(group)
		if err != nil {
			return nil, fmt.Errorf("dump %s: %w", name, err)
		}
		fmt.Fprintf(&b, "%s%q: %s", separator, name, line)
		separator = ",\n"
	}
	b.WriteString("\n}\n}\n")
	return b.Bytes(), nil
}

// group is what is kept of a family. It becomes what was last saved.
func (s *store) group(name string) keptGroup {
	f := s.families[name]
	group := keptGroup{Buckets: f.buckets}
	for _, key := range slices.Sorted(maps.Keys(s.series[name])) {
		one := s.series[name][key]
		one.savedValue, one.savedCounts = one.value, slices.Clone(one.counts)
		if one.value == 0 && one.at.IsZero() && !slices.ContainsFunc(one.counts, func(n uint64) bool { return n > 0 }) {
			continue
		}
		kept := keptSeries{Labels: make(map[string]string, len(f.labels)), Value: one.value, Counts: one.counts, At: one.at.UTC().Truncate(time.Microsecond)}
		for i, label := range f.labels {
			kept.Labels[label] = one.labels[i]
		}
		group.Series = append(group.Series, kept)
	}
	return group
}

// Restore takes what an earlier process, or another one since the last Dump,
// has counted. What was counted here since the last Dump is added to it; nothing
// ever goes back. Families and labels that this version does not know are
// dropped. Garbage is an error that changes nothing: what it held is lost.
func (m *Metrics) Restore(data []byte) error {
	if len(data) > maxDump {
		return fmt.Errorf("restore metrics: %d bytes, more than %d", len(data), maxDump)
	}
	var d document
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&d); err != nil {
		return fmt.Errorf("restore metrics: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("restore metrics: something follows the document")
	}
	if d.Version != 1 {
		return fmt.Errorf("restore metrics: version %d, and this certd writes 1", d.Version)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.textfile == "" {
		m.textfile = d.Textfile
	}
	for name, group := range d.Families {
		f, known := m.store.families[name]
		if !known || !f.kept || !slices.Equal(f.buckets, group.Buckets) {
			continue
		}
		for _, one := range group.Series {
			if labels, ok := one.values(f); ok {
				m.store.at(name, labels...).merge(f, one)
			}
		}
	}
	return nil
}

// values returns the label values in the order of the family, and whether the
// series is one of it.
func (k *keptSeries) values(f family) (labels []string, ok bool) {
	if len(k.Labels) != len(f.labels) || math.IsNaN(k.Value) || math.IsInf(k.Value, 0) {
		return nil, false
	}
	for _, label := range f.labels {
		value, ok := k.Labels[label]
		if !ok {
			return nil, false
		}
		labels = append(labels, value)
	}
	switch f.kind {
	case counter:
		return labels, k.Value >= 0 && len(k.Counts) == 0
	case histogram:
		const most = 1 << 53 // what Prometheus can count to
		return labels, k.Value >= 0 && len(k.Counts) == len(f.buckets)+1 && !slices.ContainsFunc(k.Counts, func(n uint64) bool { return n > most })
	}
	return labels, len(k.Counts) == 0
}

// merge takes what was kept into a series: of a gauge the newer one, of the rest
// what was kept and what was counted here since.
func (s *series) merge(f family, k keptSeries) {
	if f.kind == gauge {
		if k.At.After(s.at) {
			s.value, s.at = k.Value, k.At
		}
		return
	}
	s.value = max(s.value, k.Value+s.value-s.savedValue)
	s.savedValue = k.Value
	for i, n := range k.Counts {
		s.counts[i] = max(s.counts[i], n+s.counts[i]-s.savedCounts[i])
		s.savedCounts[i] = n
	}
}
