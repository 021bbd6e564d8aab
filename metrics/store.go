package metrics

import (
	"slices"
	"strings"
	"time"
)

const (
	maxSeries = 500 // of one counted family; what comes later is counted as "other"
	maxLabel  = 300 // bytes of a label value: a name and its label fit
)

// A series is what is kept for one set of label values.
type series struct {
	labels []string
	value  float64   // of a counter or gauge; the sum of a histogram
	counts []uint64  // of a histogram: observations by bucket, the last one +Inf
	at     time.Time // of a gauge: when it was set; zero means never

	savedValue  float64 // as Dump or Restore last had them
	savedCounts []uint64
}

// A store holds the series that are counted or measured.
type store struct {
	families map[string]family
	series   map[string]map[string]*series // by family and joined label values
}

func newStore(families []family) *store {
	s := &store{families: make(map[string]family), series: make(map[string]map[string]*series)}
	for _, f := range families {
		s.families[f.name] = f
		s.series[f.name] = make(map[string]*series)
	}
	return s
}

// at returns a series, made at zero if need be.
func (s *store) at(name string, labels ...string) *series {
	for i := range labels {
		labels[i] = clean(labels[i])
	}
	all := s.series[name]
	key := strings.Join(labels, "\xff")
	if found, ok := all[key]; ok {
		return found
	}
	if len(all) >= maxSeries {
		for i := range labels {
			labels[i] = other
		}
		key = strings.Join(labels, "\xff")
		if found, ok := all[key]; ok {
			return found
		}
	}
	made := &series{labels: slices.Clone(labels)}
	if f := s.families[name]; f.kind == histogram {
		made.counts = make([]uint64, len(f.buckets)+1)
		made.savedCounts = make([]uint64, len(f.buckets)+1)
	}
	all[key] = made
	return made
}

func (s *store) add(n float64, name string, labels ...string) { s.at(name, labels...).value += n }

func (s *store) set(v float64, at time.Time, name string, labels ...string) {
	g := s.at(name, labels...)
	g.value, g.at = v, at
}

func (s *store) observe(v time.Duration, name string, labels ...string) {
	h := s.at(name, labels...)
	seconds := max(v, 0).Seconds()
	i, _ := slices.BinarySearch(s.families[name].buckets, seconds)
	h.counts[i]++
	h.value += seconds
}

// clean makes text fit for a label value: valid UTF-8, printable, bounded.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxLabel {
		s = strings.ToValidUTF8(s[:maxLabel], "")
	}
	return s
}
