package daemon_test

import (
	"path/filepath"
	"strings"
	"testing"

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
