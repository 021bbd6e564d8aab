package state

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// withIdentifier publishes a certificate and returns it.
func withIdentifier(t testing.TB, s *Store) *Certificate {
	t.Helper()
	id := published(t, s, newTestCA(t), "https://ca.example/order/1", time.Now().Add(time.Hour), "example.com")
	if err := s.Link("example.com", id); err != nil {
		t.Fatal(err)
	}
	return snapshot(t, s).Certificates[id]
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	c := withIdentifier(t, s)
	if key, serial, ok := strings.Cut(c.ARIID, "."); !ok || key == "" || serial == "" {
		t.Fatalf("the certificate has the identifier %q, want key identifier and serial", c.ARIID)
	}
	now := time.Now().UTC().Truncate(time.Second)
	r := Renewal{ID: c.ID, ARIID: c.ARIID, Start: now, End: now.Add(time.Hour), Chosen: now.Add(time.Minute), Doubted: true,
		Explanation: "https://ca.example/why", Polled: now, NextPoll: now.Add(6 * time.Hour), Failures: 2, LastError: "e", Unreplaced: "409"}
	if err := s.SaveRenewal(r); err != nil {
		t.Fatal(err)
	}
	snap := snapshot(t, s)
	noBroken(t, snap)
	if !reflect.DeepEqual(snap.Renewals, map[string]Renewal{c.ID: r}) {
		t.Errorf("read back %+v, want %+v", snap.Renewals, r)
	}
	before := image(t, s.Dir(), true)
	if err := s.SaveRenewal(r); err != nil {
		t.Fatal(err)
	}
	sameImage(t, "saving it again", before, image(t, s.Dir(), true))
	if err := s.SaveRenewal(Renewal{ID: "../x"}); err == nil {
		t.Error("saved under a name outside of renewal/")
	}
	r.ARIID = "AQ.AQ"
	if err := s.SaveRenewal(r); err != nil {
		t.Fatal(err)
	}
	if snap := snapshot(t, s); len(snap.Renewals) != 0 {
		t.Errorf("what is about another identifier is taken for this certificate's: %+v", snap.Renewals)
	}
}

// TestBrokenRenewals: they are reported, hold up nothing, and are written over.
func TestBrokenRenewals(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	c := withIdentifier(t, s)
	plant(t, s, "renewal/"+c.ID+".json", "{")
	plant(t, s, "renewal/README.json", "{}")
	plant(t, s, "renewal/"+CertID("gone")+".json", "{")
	snap := snapshot(t, s)
	if len(snap.Broken) != 2 || len(snap.Renewals) != 0 || len(snap.Certificates) != 1 {
		t.Errorf("broken are %v, want the file of the live certificate and the foreign one", snap.Broken)
	}
	if err := s.SaveRenewal(Renewal{ID: c.ID, ARIID: c.ARIID, Failures: 1}); err != nil {
		t.Fatal(err)
	}
	snap = snapshot(t, s)
	if len(snap.Broken) != 1 || snap.Renewals[c.ID].Failures != 1 {
		t.Errorf("after it was saved anew: broken %v, renewals %v", snap.Broken, snap.Renewals)
	}
}
