package state

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

func TestMarks(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	id := published(t, s, newTestCA(t), "https://ca.example/order/1", day(80), liveName)
	look := func() *Certificate {
		t.Helper()
		snap := snapshot(t, s)
		noBroken(t, snap)
		return snap.Certificates[id]
	}
	steps := []struct {
		name string
		do   func() error
		want Certificate // the marks of it
	}{
		{"nothing", func() error { return nil }, Certificate{}},
		{"set aside", func() error { return s.SetAside(id, true) }, Certificate{SetAside: true}},
		{"set aside again", func() error { return s.SetAside(id, true) }, Certificate{SetAside: true}},
		{"no more", func() error { return s.SetAside(id, false) }, Certificate{}},
		{"expiring", func() error { return s.MarkExpiring(id, "fifth") }, Certificate{Expiring: "fifth"}},
		{"to be revoked", func() error { return s.MarkRevoke(id, "superseded") }, Certificate{Expiring: "fifth", Revoked: true, RevokePending: true, RevokeReason: "superseded"}},
		{"not any more", func() error { return s.UnmarkRevoke(id) }, Certificate{Expiring: "fifth"}},
		{"nor again", func() error { return s.UnmarkRevoke(id) }, Certificate{Expiring: "fifth"}},
		{"acmetool's flag", func() error { return os.WriteFile(s.Path("certs", id, "revoke"), nil, 0o644) }, Certificate{Expiring: "fifth", Revoked: true, RevokePending: true}},
		{"revoked", func() error { return s.MarkRevoked(id, "keyCompromise") }, Certificate{Expiring: "fifth", Revoked: true, RevokeReason: "keyCompromise"}},
	}
	for _, st := range steps {
		if err := st.do(); err != nil {
			t.Fatalf("%s: %v", st.name, err)
		}
		c := look()
		got := Certificate{SetAside: c.SetAside, Expiring: c.Expiring, Revoked: c.Revoked, RevokePending: c.RevokePending, RevokeReason: c.RevokeReason}
		if got.SetAside != st.want.SetAside || got.Expiring != st.want.Expiring || got.Revoked != st.want.Revoked ||
			got.RevokePending != st.want.RevokePending || got.RevokeReason != st.want.RevokeReason || c.Damage != "" {
			t.Errorf("%s: the certificate has %+v and damage %q, want %+v", st.name, got, c.Damage, st.want)
		}
		if c.Usable() == c.Revoked || c.Compromised() != (st.name == "revoked") {
			t.Errorf("%s: usable %v, compromised %v", st.name, c.Usable(), c.Compromised())
		}
	}
	if leaf, err := s.Leaf(id); err != nil || leaf.SerialNumber.Text(16) != look().Serial {
		t.Errorf("the leaf: %v", err)
	}
	if err := s.SetAside(CertID("none"), true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a certificate that is not there: %v, want fs.ErrNotExist", err)
	}
	for _, bad := range []string{"", "x", "../" + id} {
		if err := s.MarkRevoke(bad, ""); err == nil {
			t.Errorf("certificate %q was marked", bad)
		}
		if _, err := s.Leaf(bad); err == nil {
			t.Errorf("certificate %q was read", bad)
		}
	}
}

func TestStaged(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	id, err := s.SaveKey(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	if !s.HasKey(id) || s.HasKey(CertID("none")) || s.HasKey("../x") {
		t.Error("the key that is there is not, or one that is not is")
	}
	want := Staged{Target: "www.example.com", KeyID: id, KeyType: "ecdsa-p256", Created: day(0).UTC()}
	for range 2 {
		if err := s.SaveStaged(want); err != nil {
			t.Fatal(err)
		}
	}
	snap := snapshot(t, s)
	noBroken(t, snap)
	if len(snap.Staged) != 1 || snap.Staged["www.example.com"] != want {
		t.Errorf("staged keys are %+v, want %+v", snap.Staged, want)
	}
	for _, bad := range []Staged{{Target: "", KeyID: id}, {Target: "../x", KeyID: id}, {Target: "x", KeyID: "y"}} {
		if err := s.SaveStaged(bad); err == nil {
			t.Errorf("%+v was saved", bad)
		}
	}
	plant(t, s, "staged/other.json", `{"target":"www.example.com","key_id":"`+id+`"}`)
	plant(t, s, "staged/bad.json", `{"target":"bad","key_id":"../../x"}`)
	snap = snapshot(t, s)
	if len(snap.Broken) != 2 || len(snap.Staged) != 1 {
		t.Errorf("bad files: %d broken, %d staged, want 2 and 1", len(snap.Broken), len(snap.Staged))
	}
}
