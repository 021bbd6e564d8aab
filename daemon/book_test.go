package daemon_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/daemon"
	"certd/limit"
	"certd/state"
)

// TestBookThatCannotBeKept: something lies where limits.json should be. That is
// told, and holds up no certificate.
func TestBookThatCannotBeKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configureCAs(t, dir, []caEntry{{"first", acmetest.StartFaulty(t), ", limits: [{name: x, per: account, burst: 5, window: 1h}]"}}, faultName)
	write(t, filepath.Join(dir, "limits.json", "file"), "")
	report := pass(t, dir, daemon.Options{})
	if res := report.Results[0]; res.Outcome != daemon.Issued {
		t.Errorf("%s, %v; want issued", res.Outcome, res.Err)
	}
	if len(report.Other) != 1 || !strings.Contains(report.Other[0].Error(), "limits.json") || !report.Failed() {
		t.Errorf("further errors: %v, want one about limits.json, and the pass to count as failed", report.Other)
	}
}

// TestRefusedOrdersDoNotCount: what limits count is certificates. Orders that the
// CA did not take, or that came to nothing, do not hold a name up once it works.
func TestRefusedOrdersDoNotCount(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault func(int) acmetest.Fault
		pause time.Duration // for which the CA's word stands
	}{
		{"the terms have changed", func(n int) acmetest.Fault { return orderProblem(403, "userActionRequired").Nth(n) }, 0},
		{"a name is refused", func(n int) acmetest.Fault { return orderProblem(400, "rejectedIdentifier").Nth(n) }, 0},
		{"a rate limit of the CA", func(n int) acmetest.Fault { return rateLimit("0").Nth(n) }, 1100 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const burst = 2
			var faults []acmetest.Fault
			for n := range burst + 2 {
				faults = append(faults, tt.fault(n+1))
			}
			ca, dir := acmetest.StartFaulty(t, faults...), t.TempDir()
			configureCAs(t, dir, []caEntry{{"first", ca, fmt.Sprintf(", limits: [{name: x, per: names, burst: %d, window: 24h}]", burst)}}, faultName)
			for n := range faults {
				if res := pass(t, dir, daemon.Options{Force: true}).Results[0]; res.Outcome != daemon.Failed {
					t.Fatalf("attempt %d: %s because of %q, %v; want the CA to refuse", n+1, res.Outcome, res.Action.Limit, res.Err)
				}
				time.Sleep(tt.pause)
			}
			for range burst {
				if res := pass(t, dir, daemon.Options{Force: true}).Results[0]; res.Outcome != daemon.Issued {
					t.Fatalf("then: %s because of %q, %v; want issued", res.Outcome, res.Action.Limit, res.Err)
				}
			}
			if res := pass(t, dir, daemon.Options{Force: true}).Results[0]; res.Outcome != daemon.Waiting || res.Action.Limit != "x" {
				t.Errorf("beyond the limit: %s because of %q; want to wait", res.Outcome, res.Action.Limit)
			}
		})
	}
}

// TestLimitIsKept: with many targets due at once no more orders are sent than the
// limit lets through, in one pass and over all of them, and all come to an end.
func TestLimitIsKept(t *testing.T) {
	t.Parallel()
	const burst, window, n = 60, 3 * time.Second, 200
	const workers = 8 // the default of parallel
	ca, dir := acmetest.StartFaulty(t), t.TempDir()
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("n%d.example.test", i))
	}
	configureCAs(t, dir, []caEntry{{"limited", ca, fmt.Sprintf(", limits: [{name: orders, per: account, burst: %d, window: %ds}]", burst, int(window/time.Second))}}, names...)
	report := pass(t, dir, daemon.Options{})
	waiting := 0
	for _, res := range report.Results {
		if res.Outcome == daemon.Waiting && res.Action.Limit == "orders" && strings.Contains(res.Action.Reason, "waits for the limit orders of limited until") {
			waiting++
		}
	}
	if sent := acmetest.Count(ca.Requests(), "order"); waiting == 0 || sent+waiting != n {
		t.Errorf("%d orders are sent and %d targets wait, want all of %d to do one or the other", sent, waiting, n)
	}
	deadline := time.Now().Add(5 * time.Minute)
	for report.Failed() && time.Now().Before(deadline) {
		time.Sleep(window / 6)
		report = pass(t, dir, daemon.Options{})
	}
	if report.Failed() {
		t.Fatalf("not all are done: %+v", report.Results)
	}
	var sent []time.Time
	for _, r := range ca.Requests() {
		if r.Operation == "order" {
			sent = append(sent, r.Time)
		}
	}
	if len(sent) != n {
		t.Errorf("%d orders for %d certificates", len(sent), n)
	}
	for i := range sent { // the CA's bucket: a token each window/burst; of each worker one request may have been under way for long
		for j := i; j < len(sent); j++ {
			most := burst + workers + int(sent[j].Sub(sent[i])/(window/burst)) + 1
			if j-i+1 > most {
				t.Fatalf("%d orders within %v, want at most %d", j-i+1, sent[j].Sub(sent[i]), most)
			}
		}
	}
}

// TestOrdersGivenUpDoNotCount: an order that is open when its target changes, or goes,
// comes to nothing: what it took of a limit is there for another one.
func TestOrdersGivenUpDoNotCount(t *testing.T) {
	t.Parallel()
	ca, dir := acmetest.StartFaulty(t), t.TempDir()
	configureCAs(t, dir, []caEntry{{"first", ca, ", limits: [{name: x, per: domain, burst: 1, window: 24h}]"}}, faultName)
	open := func(age time.Duration, keyID string) {
		t.Helper()
		store, err := state.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		lock, err := store.Lock(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Unlock()
		if err := store.SaveOrder(acme.OpenOrder{URL: ca.URL() + "/gone/" + keyID + age.String(), Directory: ca.URL(), Names: []string{"x.example.test"},
			Target: "gone", KeyID: keyID, Created: time.Now().Add(-age)}); err != nil {
			t.Fatal(err)
		}
	}
	free := func(what string, want bool) {
		t.Helper()
		pass(t, dir, daemon.Options{})
		view := look(t, dir)
		at, _ := view.Limits.Next(limit.Ask{CA: view.Settings.CAs[0], Names: []string{"x.example.test"}}, time.Now())
		if n := len(view.Snapshot.Orders); at.IsZero() != want || n != 0 {
			t.Errorf("%s: there is room for another order: %t, want %t; %d orders are left", what, at.IsZero(), want, n)
		}
	}
	free("a certificate was issued", false)
	open(time.Hour, "k")
	free("one that was finalized is given up", false)
	open(48*time.Hour, "")
	free("an old one is given up", false)
	open(time.Hour, "")
	free("one that was not finalized is given up", true)
}
