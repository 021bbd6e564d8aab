package metrics

import (
	"cmp"
	"slices"
	"time"
)

// maxNames is how many names have series of their own. Beyond it those that
// expire first have: they are what an alert would be about.
const maxNames = 1000

// A View is what there is at one moment, as read from the configuration and the
// state directory.
type View struct {
	Time         time.Time
	ConfigOK     bool                 // the last load of the configuration succeeded
	ConfigLoaded time.Time            // when it last did; zero leaves what was known
	ConfigDigest string               // first 8 hex digits of the effective configuration's hash; empty if unknown
	CAs          []string             // nicknames in use: their counters start at 0
	Broken       map[string]time.Time // nicknames of CAs that do not work, and until when they are not asked
	ByState      map[string]int       // wants by state; nil if unknown
	Names        []Name               // live names that are wanted
	Orders       []Order              // open at a CA
	HookPending  map[string]int       // undelivered events by hook; an installed hook without any has 0
	Interval     time.Duration        // expected between two passes; zero if unknown
}

// A Name is one live name. Of a zero time there is no series.
type Name struct {
	Name, CA         string // live name with its label, nickname
	KeyType, Profile string
	NotBefore        time.Time // of the live leaf; zero if there is none
	NotAfter         time.Time
	ChainNotAfter    time.Time // earliest of the chain
	RenewAt          time.Time
	WindowStart      time.Time // of the CA's suggested window (RFC 9773)
	WindowEnd        time.Time
	NextPoll         time.Time // when the CA is asked for it again
	LastAttempt      time.Time
	NextAttempt      time.Time
	Installed        time.Time // when live/ was switched
	LastOK           bool      // the last attempt gave a certificate
	Failures         int       // in a row
}

// An Order is open at a CA.
type Order struct {
	CA    string // nickname
	Start time.Time
}

// SetView replaces the last View as a whole: what is not in v has no series any more.
func (m *Metrics) SetView(v View) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ca := range v.CAs {
		m.knownCA(ca)
	}
	for hook := range v.HookPending {
		m.knownHook(hook)
	}
	if !v.ConfigLoaded.IsZero() {
		m.store.set(seconds(v.ConfigLoaded), v.ConfigLoaded, "certd_config_last_reload_success_timestamp_seconds")
	}
	v.Names = Bounded(v.Names)
	m.view = v
}

// Bounded returns the names that have series of their own: each name once, by
// name, at most 1,000 of them, those that expire first.
func Bounded(names []Name) []Name {
	byName := func(a, b Name) int { return cmp.Compare(a.Name, b.Name) }
	names = slices.Clone(names)
	slices.SortStableFunc(names, byName)
	names = slices.CompactFunc(names, func(a, b Name) bool { return a.Name == b.Name })
	if len(names) > maxNames {
		slices.SortStableFunc(names, func(a, b Name) int { return a.NotAfter.Compare(b.NotAfter) })
		names = names[:maxNames]
		slices.SortFunc(names, byName)
	}
	return names
}

// A sample is one series of a family that is read from the View.
type sample struct {
	family string
	value  float64
	labels []string
}

// samples is what v says, zero times left out.
func (v *View) samples() []sample {
	var out []sample
	add := func(value float64, family string, labels ...string) {
		for i := range labels {
			labels[i] = clean(labels[i])
		}
		out = append(out, sample{family, value, labels})
	}
	if !v.Time.IsZero() {
		add(v.Interval.Seconds(), "certd_reconcile_interval_seconds")
	}
	if v.ConfigDigest != "" {
		add(1, "certd_config_info", v.ConfigDigest)
	}
	if v.ByState != nil {
		for _, state := range targetStates() {
			add(float64(v.ByState[state]), "certd_targets", state)
		}
	}
	for hook, n := range v.HookPending {
		add(float64(n), "certd_hook_pending", hook)
	}
	v.orders(add)
	for _, n := range v.Names {
		n.samples(add)
	}
	return out
}

func (v *View) orders(add func(value float64, family string, labels ...string)) {
	count := make(map[string]int)
	oldest := make(map[string]time.Time)
	for _, ca := range v.CAs {
		count[ca] = 0
	}
	for _, o := range v.Orders {
		count[o.CA]++
		if first := oldest[o.CA]; first.IsZero() || o.Start.Before(first) {
			oldest[o.CA] = o.Start
		}
	}
	for _, ca := range v.CAs {
		until := 0.0
		if at := v.Broken[ca]; !at.IsZero() {
			until = seconds(at)
		}
		add(until, "certd_acme_breaker_until_timestamp_seconds", ca)
	}
	for ca, n := range count {
		add(float64(n), "certd_orders_in_flight", ca)
		start := 0.0
		if !oldest[ca].IsZero() {
			start = seconds(oldest[ca])
		}
		add(start, "certd_order_oldest_start_timestamp_seconds", ca)
	}
}

func (n *Name) samples(add func(value float64, family string, labels ...string)) {
	at := func(t time.Time, family string, labels ...string) {
		if !t.IsZero() {
			add(seconds(t), family, labels...)
		}
	}
	if !n.NotAfter.IsZero() {
		add(1, "certd_certificate_info", n.Name, n.CA, n.KeyType, n.Profile)
	}
	at(n.NotBefore, "certd_certificate_not_before_timestamp_seconds", n.Name, n.CA)
	at(n.NotAfter, "certd_certificate_not_after_timestamp_seconds", n.Name, n.CA)
	at(n.ChainNotAfter, "certd_certificate_chain_not_after_timestamp_seconds", n.Name, n.CA)
	at(n.RenewAt, "certd_certificate_renewal_timestamp_seconds", n.Name, n.CA)
	at(n.WindowStart, "certd_certificate_ari_window_start_timestamp_seconds", n.Name, n.CA)
	at(n.WindowEnd, "certd_certificate_ari_window_end_timestamp_seconds", n.Name, n.CA)
	at(n.NextPoll, "certd_certificate_ari_next_check_timestamp_seconds", n.Name, n.CA)
	at(n.LastAttempt, "certd_certificate_last_attempt_timestamp_seconds", n.Name)
	if !n.LastAttempt.IsZero() {
		add(truth(n.LastOK), "certd_certificate_last_attempt_successful", n.Name)
	}
	at(n.NextAttempt, "certd_certificate_next_attempt_timestamp_seconds", n.Name)
	add(float64(n.Failures), "certd_certificate_consecutive_failures", n.Name)
	at(n.Installed, "certd_certificate_installed_timestamp_seconds", n.Name)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
