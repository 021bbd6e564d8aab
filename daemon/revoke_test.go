package daemon_test

import (
	"slices"
	"sync"
	"testing"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/daemon"
	"certd/plan"
	"certd/state"
)

// revoke revokes the live certificate of faultName.
func revoke(t *testing.T, dir string, reason acme.Reason) (id string, targets []string, err error) {
	t.Helper()
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	id = look(t, dir).Snapshot.Live[faultName]
	targets, err = daemon.Revoke(t.Context(), daemon.Options{Store: store}, id, reason)
	return id, targets, err
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		fault  acmetest.Fault
		reason acme.Reason
		fails  bool // the command
		marked bool // then
		byKey  bool // in the end
	}{
		{"by the account", acmetest.Fault{}, acme.ReasonSuperseded, false, true, false},
		{"by the key that has leaked", acmetest.Fault{}, acme.ReasonKeyCompromise, false, true, true},
		{"by the key, where the account may not", acmetest.Respond("revoke", 403, nil, `{"type":"urn:ietf:params:acme:error:unauthorized"}`).Nth(1), acme.ReasonUnspecified, false, true, true},
		{"the answer is lost", acmetest.Lose("revoke").Nth(1), acme.ReasonUnspecified, false, true, false},
		{"the CA is down", acmetest.Respond("revoke", 500, nil, ""), acme.ReasonUnspecified, true, true, false},
		{"the CA refuses", acmetest.Respond("revoke", 403, nil, `{"type":"urn:ietf:params:acme:error:unauthorized"}`), acme.ReasonUnspecified, true, false, false},
		{"the CA refuses the reason", acmetest.Respond("revoke", 400, nil, `{"type":"urn:ietf:params:acme:error:badRevocationReason"}`), acme.ReasonSuperseded, true, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir, ca := t.TempDir(), acmetest.StartFaulty(t, tt.fault)
			configureFault(t, dir, ca)
			issued(t, dir, ca, "before")
			id, targets, err := revoke(t, dir, tt.reason)
			if (err != nil) != tt.fails {
				t.Fatalf("revoke: %v, want an error: %v", err, tt.fails)
			}
			c := look(t, dir).Snapshot.Certificates[id]
			if c.Revoked != tt.marked || c.RevokePending != (tt.marked && tt.fails) {
				t.Errorf("the certificate is revoked: %v, pending: %v", c.Revoked, c.RevokePending)
			}
			if wants := slices.Equal(targets, []string{faultName}); wants != tt.marked {
				t.Errorf("targets to reconcile: %q", targets)
			}
			report := pass(t, dir, daemon.Options{})
			if replaced := report.Results[0].Outcome == daemon.Issued; replaced != tt.marked {
				t.Errorf("the next pass: %+v, want it to replace the certificate: %v", report.Results[0], tt.marked)
			}
			got := ca.Revocations()
			if (len(got) == 1) != !tt.fails || len(got) == 1 && (got[0].ByKey != tt.byKey || got[0].Reason != int(tt.reason)) {
				t.Errorf("the CA has revoked %+v", got)
			}
		})
	}
}

// TestRevokedIsReplacedThoughAnOlderOneIsGood: what the revoked certificate had
// replaced serves only until there is another, in the same pass.
func TestRevokedIsReplacedThoughAnOlderOneIsGood(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var replaced []string
	ca := renewing(t, &acmetest.Renewal{Refuse: func(certID string) *acme.Problem {
		mu.Lock()
		defer mu.Unlock()
		replaced = append(replaced, certID)
		return nil
	}}, nil)
	dir := t.TempDir()
	configureFault(t, dir, ca)
	pass(t, dir, daemon.Options{})
	older, _ := liveCertificate(t, dir)
	pass(t, dir, daemon.Options{Force: true})
	newer, _ := liveCertificate(t, dir)
	if _, _, err := revoke(t, dir, acme.ReasonSuperseded); err != nil {
		t.Fatal(err)
	}
	report := pass(t, dir, daemon.Options{})
	now, _ := liveCertificate(t, dir)
	if report.Results[0].Outcome != daemon.Issued || report.Results[0].Action.Cause != plan.CauseRevoked || now.ID == older.ID || now.ID == newer.ID {
		t.Errorf("after %s, which had replaced %s, was revoked, %s is live: %+v", newer.ID, older.ID, now.ID, report.Results[0])
	}
	if want := []string{older.ARIID, newer.ARIID}; !slices.Equal(replaced, want) {
		t.Errorf("the orders replace %q, want %q", replaced, want)
	}
	if report := pass(t, dir, daemon.Options{}); report.Changed() {
		t.Errorf("and again: %+v", report.Results[0])
	}
}

// TestRevocationGoesOn: a run was killed between its mark and the CA, or acmetool
// noted what it never does.
func TestRevocationGoesOn(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), acmetest.StartFaulty(t)
	configureFault(t, dir, ca)
	issued(t, dir, ca, "before")
	id := look(t, dir).Snapshot.Live[faultName]
	write(t, dir+"/certs/"+id+"/revoke", "")
	report := pass(t, dir, daemon.Options{})
	if got := ca.Revocations(); len(got) != 1 || got[0].Reason != 0 || report.Results[0].Outcome != daemon.Issued {
		t.Errorf("the CA has revoked %+v, and the pass did %+v; want it revoked and replaced", got, report.Results[0])
	}
	if c := look(t, dir).Snapshot.Certificates[id]; c.RevokePending || !c.Revoked {
		t.Errorf("then it is pending %v, revoked %v", c.RevokePending, c.Revoked)
	}
	requests := acmetest.Count(ca.Requests(), "revoke")
	pass(t, dir, daemon.Options{})
	if again := acmetest.Count(ca.Requests(), "revoke"); again != requests {
		t.Error("the next pass asked again")
	}
}

// TestRevocationHoldsUpNothing: orders come before the revocations that are
// pending, and a CA that does not work is asked for one of these only.
func TestRevocationHoldsUpNothing(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), acmetest.StartFaulty(t, acmetest.Respond("revoke", 500, nil, ""))
	configureFault(t, dir, ca)
	for range 3 {
		issued(t, dir, ca, "before")
	}
	for id := range look(t, dir).Snapshot.Certificates {
		write(t, dir+"/certs/"+id+"/revoke", "")
	}
	ca.ResetRequests()
	report := pass(t, dir, daemon.Options{})
	if report.Results[0].Outcome != daemon.Issued || len(report.Other) != 1 {
		t.Errorf("%+v, further errors %v; want one certificate issued, one revocation tried", report.Results[0], report.Other)
	}
	revoking := false
	for _, r := range ca.Requests() {
		revoking = revoking || r.Operation == "revoke"
		if revoking && r.Operation == "order" {
			t.Error("the order comes after the revocations")
		}
	}
}

// TestRevokedAfterFailures: a target that waits after failures of its own does not
// wait with a certificate that was revoked; at the word of its CA it does.
func TestRevokedAfterFailures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fault acmetest.Fault
		want  daemon.Outcome
	}{
		{orderProblem(400, "rejectedIdentifier"), daemon.Issued},
		{rateLimit("3600"), daemon.Waiting},
	} {
		dir, ca := t.TempDir(), acmetest.StartFaulty(t, tt.fault.Nth(2))
		configureFault(t, dir, ca)
		issued(t, dir, ca, "before")
		if res := pass(t, dir, daemon.Options{Force: true}).Results[0]; res.Outcome != daemon.Failed {
			t.Fatalf("%s, %v; want a failure", res.Outcome, res.Err)
		}
		if _, _, err := revoke(t, dir, acme.ReasonUnspecified); err != nil {
			t.Fatal(err)
		}
		if res := pass(t, dir, daemon.Options{}).Results[0]; res.Outcome != tt.want {
			t.Errorf("after a revocation: %s because %s, %v; want %s", res.Outcome, res.Action.Reason, res.Err, tt.want)
		}
	}
}
