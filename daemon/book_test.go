package daemon_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"certd/acme/acmetest"
	"certd/daemon"
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
