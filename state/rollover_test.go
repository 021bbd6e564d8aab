package state

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// registered saves an account with a URL.
func registered(t *testing.T, s *Store) *Account {
	t.Helper()
	a := &Account{Directory: testDirectory, Key: newKey(t), URL: "https://ca.example/account/1", Contacts: []string{"mailto:ops@example.com"}, EABKeyID: "kid"}
	if err := s.SaveAccount(a); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestRollover(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	a := registered(t, s)
	ca := newTestCA(t)
	key := newKey(t)
	if _, err := s.SaveKey(key); err != nil {
		t.Fatal(err)
	}
	n := ca.issue(t, key, "https://ca.example/order/1", day(80), liveName)
	n.Account = a.ID
	id, err := s.Publish(n)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.FinishRollover(a); err == nil {
		t.Error("a key change that has not begun was finished")
	}
	next := newKey(t)
	if err := s.BeginRollover(a, next); err != nil {
		t.Fatal(err)
	}
	if err := s.BeginRollover(a, newKey(t)); err == nil {
		t.Error("a key change was begun over another")
	}
	begun, err := s.Account(testDirectory)
	if err != nil || begun.ID != a.ID || begun.Next == nil || !next.Equal(begun.Next) || begun.Old != nil {
		t.Errorf("amid a key change the account is %+v (%v), want the old one with its next key", begun, err)
	}
	if fi, err := os.Stat(s.Path("accounts", a.ID, nextKeyFile)); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the next key: %v (%v), want mode 0600", fi, err)
	}
	now, err := s.FinishRollover(begun)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Account(testDirectory)
	if err != nil || got.ID != now.ID || got.URL != a.URL || got.EABKeyID != "kid" || len(got.Contacts) != 1 || !next.Equal(got.Key) || got.Next != nil || got.Old != nil {
		t.Errorf("after a key change the account is %+v (%v), want the same with the new key", got, err)
	}
	snap := snapshot(t, s)
	noBroken(t, snap)
	if snap.Certificates[id].Account != now.ID {
		t.Errorf("the certificate is of account %s, want %s", snap.Certificates[id].Account, now.ID)
	}
	if all, _, err := s.Accounts(); err != nil || len(all) != 1 {
		t.Errorf("%d accounts are left (%v), want one", len(all), err)
	}
	before := image(t, s.Dir(), true)
	if _, err := s.FinishRollover(begun); err != nil {
		t.Errorf("finishing again: %v", err)
	}
	sameImage(t, "finishing again", before, image(t, s.Dir(), true))
}

// TestRolloverCutOff: between the new account directory and the end of the old one
// the new one counts, and says that the old one is left.
func TestRolloverCutOff(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	a := registered(t, s)
	if err := s.BeginRollover(a, newKey(t)); err != nil {
		t.Fatal(err)
	}
	s.step = func(op, path string) error {
		if op == "rename" && strings.Contains(path, retired) {
			return errors.New("cut off")
		}
		return nil
	}
	if _, err := s.FinishRollover(a); err == nil {
		t.Fatal("the step did not fail")
	}
	s.step = nil
	now, err := s.Account(testDirectory)
	if err != nil || now.ID == a.ID || now.Old == nil || now.Old.ID != a.ID {
		t.Fatalf("the account is %+v (%v), want the new one, with the old one to finish", now, err)
	}
	if _, err := s.FinishRollover(now.Old); err != nil {
		t.Fatal(err)
	}
	if again, err := s.Account(testDirectory); err != nil || again.ID != now.ID || again.Old != nil {
		t.Errorf("then the account is %+v (%v), want the new one alone", again, err)
	}
}

func TestCancelAndRetire(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	a := registered(t, s)
	for range 2 {
		if err := s.BeginRollover(a, newKey(t)); err != nil {
			t.Fatal(err)
		}
		if err := s.CancelRollover(a); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Account(testDirectory); err != nil || got.Next != nil || got.ID != a.ID {
		t.Errorf("after a canceled key change the account is %+v (%v)", got, err)
	}
	for range 2 { // the second time it is restored from a backup
		if err := s.RetireAccount(a); err != nil {
			t.Fatal(err)
		}
		if err := s.RetireAccount(a); err != nil {
			t.Errorf("retiring again: %v", err)
		}
		if _, err := s.Account(testDirectory); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a retired account is still found: %v", err)
		}
		if err := s.SaveAccount(a); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.RetireAccount(&Account{ID: "../../etc"}); err == nil {
		t.Error("something that is no account was retired")
	}
	plant(t, s, "accounts/"+a.ID+"/"+nextKeyFile, "no key")
	if _, err := s.Account(testDirectory); err == nil || !strings.Contains(err.Error(), nextKeyFile) {
		t.Errorf("with an unreadable next key: %v, want an error that names it", err)
	}
}
