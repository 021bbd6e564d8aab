package daemon_test

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/daemon"
)

// TestProfiles: a required profile that the CA does not have is told before
// anything is ordered; a preferred one gives way to the default, and comes back
// with the next renewal.
func TestProfiles(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{AlwaysValid: true, Profiles: map[string]time.Duration{"classic": 90 * 24 * time.Hour, "tlsserver": 90 * 24 * time.Hour}})
	dir := t.TempDir()
	configureFault(t, dir, ca)
	file := dir + "/desired/" + faultName
	write(t, file, "request: {profile: shortlived}\n")
	res := pass(t, dir, daemon.Options{}).Results[0]
	if acme.ClassOf(res.Err) != acme.ClassOperator || res.Outcome != daemon.Failed {
		t.Fatalf("a profile that the CA does not have: %+v", res)
	}
	for _, part := range []string{"request.profile of desired/" + faultName, `"shortlived"`, "it has classic, tlsserver"} {
		if !strings.Contains(res.Err.Error(), part) {
			t.Errorf("the error %q does not say %q", res.Err, part)
		}
	}
	if n := acmetest.Count(ca.Requests(), "order"); n != 0 {
		t.Errorf("%d orders were sent, want none", n)
	}

	write(t, file, "request: {profile: {name: shortlived, required: false}}\n")
	var log bytes.Buffer
	res = pass(t, dir, daemon.Options{Log: slog.New(slog.NewTextHandler(&log, nil))}).Results[0]
	if res.Outcome != daemon.Issued || !strings.Contains(log.String(), "preferred profile not available") {
		t.Fatalf("a preferred profile that the CA does not have: %+v\n%s", res, &log)
	}
	for _, data := range []string{"request: {profile: {name: shortlived, required: false}}", "request: {profile: {name: tlsserver, required: false}}"} {
		write(t, file, data+"\n")
		if report := pass(t, dir, daemon.Options{}); report.Changed() || report.Failed() {
			t.Errorf("%s: a new certificate before the next renewal, or a failure: %+v", data, report.Results)
		}
	}
	pass(t, dir, daemon.Options{Force: true})
	if c, _ := liveCertificate(t, dir); c.Profile != "tlsserver" {
		t.Errorf("after the renewal the profile is %q, want the preferred one", c.Profile)
	}
	write(t, file, "request: {profile: classic}\n")
	pass(t, dir, daemon.Options{})
	if c, _ := liveCertificate(t, dir); c.Profile != "classic" {
		t.Errorf("the profile became required, and is %q", c.Profile)
	}
}

// TestNamesOfAllKinds: IP addresses of both versions, a first name that no common
// name could hold, and a renewal of all of them.
func TestNamesOfAllKinds(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{AlwaysValid: true})
	dir := t.TempDir()
	configureFault(t, dir, ca)
	long := strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + ".example.test"
	write(t, dir+"/desired/192.0.2.1", "")
	write(t, dir+"/desired/v6", "satisfy: {names: ['2001:DB8:0:0::1', '2001:db8::2', 'mixed.example.test']}\n")
	write(t, dir+"/desired/long", "satisfy: {names: ["+long+", zz.example.test]}\n")
	if report := pass(t, dir, daemon.Options{}); report.Failed() {
		t.Fatalf("not everything was issued: %+v", report.Results)
	}
	snap := look(t, dir).Snapshot
	for _, live := range []string{"192.0.2.1", "2001:db8::1", "2001:db8::2", "mixed.example.test", long, "zz.example.test", faultName} {
		c := snap.Certificates[snap.Live[live]]
		if c == nil || !c.Usable() {
			t.Errorf("there is no certificate below live/%s", live)
			continue
		}
		if _, err := os.Stat(dir + "/live/" + live + "/fullchain"); err != nil {
			t.Error(err)
		}
	}
	if c := snap.Certificates[snap.Live["2001:db8::1"]]; c != nil && strings.Join(c.Names, " ") != "2001:db8::1 2001:db8::2 mixed.example.test" {
		t.Errorf("the names are %q", c.Names)
	}
	ca.ResetRequests()
	if report := pass(t, dir, daemon.Options{}); report.Changed() || report.Failed() || len(ca.Requests()) > 0 {
		t.Errorf("with the certificates there the pass sends %d requests: %+v", len(ca.Requests()), report.Results)
	}
	if report := pass(t, dir, daemon.Options{Force: true}); report.Failed() || len(report.Updated) != 7 {
		t.Errorf("the renewal changed %q, want all", report.Updated)
	}
}
