package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/daemon"
)

// A provider that cannot be asked is told before an order is spent on a name that
// needs it, and keeps no other name from being proven.
func TestProviderThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{AlwaysValid: true})
	dir := t.TempDir()
	configureCAs(t, dir, []caEntry{{"pebble", ca, ""}}, faultName)
	open := filepath.Join(t.TempDir(), "open.env")
	write(t, open, "A=1\n")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "desired", faultName), "request: {challenge: {dns-provider: exec, dns-env-file: "+open+"}}\n")
	if res := pass(t, dir, daemon.Options{}).Results[0]; res.Outcome != daemon.Issued {
		t.Errorf("a name that HTTP proves: %s, %v; want issued", res.Outcome, res.Err)
	}
	ca.ResetRequests()
	write(t, filepath.Join(dir, "desired", faultName), "satisfy: {names: [\"*."+faultName+"\", "+faultName+"]}\nrequest: {challenge: {dns-provider: exec, dns-env-file: "+open+"}}\n")
	res := pass(t, dir, daemon.Options{}).Results[0]
	if res.Outcome != daemon.Failed || acme.ClassOf(res.Err) != acme.ClassOperator {
		t.Fatalf("a wildcard: %s, %v; want a failure that is the operator's", res.Outcome, res.Err)
	}
	// Whether certd-dns is there is the machine's affair; either is a reason.
	if text := res.Err.Error(); !strings.Contains(text, "dns-01: the program certd-dns is neither") && !strings.Contains(text, "mode 0644; run: chmod 0640") {
		t.Errorf("the failure does not say what is wrong: %v", res.Err)
	}
	if n := acmetest.Count(ca.Requests(), "order"); n > 0 {
		t.Errorf("%d requests for an order that nothing could prove", n)
	}
}
