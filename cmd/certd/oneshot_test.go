package main

import (
	"strings"
	"testing"
	"time"

	"certd/config"
	"certd/daemon"
	"certd/packaging"
	"certd/plan"
	"certd/state"
)

// TestTooSeldom: plan warns of windows and lives that a timer is too coarse for,
// where there is no daemon.
func TestTooSeldom(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	on := func(kinds ...packaging.Kind) (found []packaging.Found) {
		for _, k := range kinds {
			found = append(found, packaging.Found{Kind: k, Program: "certd", Enabled: true})
		}
		return found
	}
	other := packaging.Found{Kind: packaging.Timer, Program: "acmetool", Enabled: true}
	for _, tt := range []struct {
		name     string
		found    []packaging.Found
		lifetime time.Duration
		window   time.Duration
		want     string // part of the warning; empty for none
	}{
		{"a timer and a narrow window", on(packaging.Timer), 90 * day, 2 * time.Hour, "within a window of 2 hours"},
		{"cron and a narrow window", on(packaging.Cron), 90 * day, 2 * time.Hour, "every 6 hours"},
		{"a timer and a wide window", on(packaging.Timer), 90 * day, 2 * day, ""},
		{"a timer and no window", on(packaging.Timer), 90 * day, 0, ""},
		{"a timer and minutes to live", on(packaging.Timer), 10 * time.Minute, 0, "lasts 10 minutes"},
		{"a timer and six days to live", on(packaging.Timer), 160 * time.Hour, 0, ""},
		{"a daemon", on(packaging.Daemon), 10 * time.Minute, time.Minute, ""},
		{"a daemon beside a timer", on(packaging.Timer, packaging.Daemon), 90 * day, time.Minute, ""},
		{"nothing", nil, 10 * time.Minute, time.Minute, ""},
		{"another program's timer", []packaging.Found{other}, 10 * time.Minute, time.Minute, ""},
		{"a timer that is off", []packaging.Found{{Kind: packaging.Timer, Program: "certd"}}, 10 * time.Minute, time.Minute, ""},
	} {
		c := &state.Certificate{ID: "c", NotBefore: now, NotAfter: now.Add(tt.lifetime)}
		view := &daemon.View{Now: now, Settings: &config.Settings{Schedule: "@every 6h"}, Snapshot: &state.Snapshot{
			Certificates: map[string]*state.Certificate{"c": c},
			Renewals:     map[string]state.Renewal{"c": {Start: now.Add(day), End: now.Add(day + tt.window)}},
		}}
		got := tooSeldom(view, []plan.Action{{Target: "x", Names: []string{"www.example.com"}, CertID: "c"}}, tt.found)
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) || got != "" && !strings.Contains(got, "www.example.com") {
			t.Errorf("%s: the warning is %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestADaemonThatRunsCounts: one that no unit tells of, such as in a container,
// wakes by itself as well.
func TestADaemonThatRunsCounts(t *testing.T) {
	t.Parallel()
	store, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if !oneShot(store, nil) {
		t.Error("a daemon is seen where none is")
	}
	lock, err := store.LockDaemon(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if oneShot(store, nil) {
		t.Error("a daemon that runs is not seen")
	}
	if err := lock.Unlock(); err != nil || !oneShot(store, nil) {
		t.Errorf("a daemon is seen that has ended: %v", err)
	}
}
