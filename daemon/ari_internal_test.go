package daemon

import (
	"testing"
	"time"

	"certd/config"
	"certd/state"
)

// TestWakeUpForRenewal: the daemon wakes at the very instant that was drawn, and
// a little after the CA wants to be asked again.
func TestWakeUpForRenewal(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name         string
		chosen, poll time.Duration // from end
		want         time.Duration
	}{
		{"the instant comes first", 10 * time.Minute, time.Hour, 10 * time.Minute},
		{"the CA is asked first", 10 * time.Hour, time.Hour, time.Hour + 3*time.Minute},
		{"the CA was not asked", 10 * time.Hour, -time.Second, pollPause},
	} {
		w := newWorld(t)
		w.view.Now = end
		c := &state.Certificate{ID: "c", ARIID: "AQ.AQ", Directory: "https://acme-v02.api.letsencrypt.org/directory", Names: []string{"a.test"},
			KeyType: "ecdsa-p256", HasKey: true, NotBefore: end.Add(-20 * day), NotAfter: end.Add(70 * day), Target: "a.test"}
		w.view.Targets = &config.Targets{Targets: []*config.Target{{File: "a.test", Names: c.Names, RequestNames: c.Names}}}
		w.view.Snapshot.Certificates = map[string]*state.Certificate{"c": c}
		w.view.Snapshot.Live = map[string]string{"a.test": "c"}
		w.view.Snapshot.Renewals = map[string]state.Renewal{"c": {ID: "c", ARIID: "AQ.AQ", Chosen: end.Add(tt.chosen), Polled: end, NextPoll: end.Add(tt.poll)}}
		if got := wakeUp(outcome{report: &Report{}, view: &w.view}, end).Sub(end); got != tt.want {
			t.Errorf("%s: wake-up after %v, want %v", tt.name, got, tt.want)
		}
	}
}
