package state

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestKeyOfAnotherCertificate: a key file that was overwritten with another key
// is damage; the same key in another encoding is not.
func TestKeyOfAnotherCertificate(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	ca := newTestCA(t)
	id := published(t, s, ca, "https://ca.example/order/1", time.Now().Add(90*24*time.Hour), "www.example.com")
	keyFile := s.Path("keys", snapshot(t, s).Certificates[id].KeyID, "privkey")
	data, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keyFile, append([]byte("a comment\n"), data...), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := snapshot(t, s).Certificates[id]; !c.Usable() {
		t.Errorf("the same key with a comment: damage %q, want none", c.Damage)
	}
	_, other, err := encodeKey(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"another key": other, "rubbish": []byte("rubbish\n")} {
		if err := os.WriteFile(keyFile, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if c := snapshot(t, s).Certificates[id]; c.Usable() || !strings.Contains(c.Damage, "does not hold its key") {
			t.Errorf("%s: usable %t, damage %q; want it named", name, c.Usable(), c.Damage)
		}
		if err := s.Link("www.example.com", id); err == nil {
			t.Errorf("%s: linked all the same", name)
		}
	}
}

// TestPoisonedEventIsBroken: an event with a name that no hook may see is reported
// and left alone, and the others are found.
func TestPoisonedEventIsBroken(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	good, err := s.SaveEvent(Event{Event: "live-updated", Names: []string{"www.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	poison := `{"id": "x", "event": "live-updated", "names": ["a/b"]}`
	if err := os.WriteFile(s.Path("pending", "x.json"), []byte(poison), 0o644); err != nil {
		t.Fatal(err)
	}
	snap := snapshot(t, s)
	if brokenAt(snap, "pending/x.json") == "" {
		t.Errorf("broken %v, want pending/x.json", snap.Broken)
	}
	if len(snap.Pending) != 1 || snap.Pending[0].ID != good.ID {
		t.Errorf("pending %v, want the good one", snap.Pending)
	}
}
