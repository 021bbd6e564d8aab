package statetest_test

import (
	"testing"

	"certd/state"
	"certd/state/statetest"
)

// TestFill: what is made is sound, all of it is live, and it can be added to.
func TestFill(t *testing.T) {
	t.Parallel()
	dir := statetest.TempDir(t)
	ca, err := statetest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 3, 20} {
		if err := statetest.Fill(dir, "https://ca.example/directory", ca, statetest.Names(20)[n/2:n]); err != nil {
			t.Fatal(err)
		}
	}
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := store.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	const want = 2 + 10
	if len(snap.Live) != want || len(snap.Certificates) != want || len(snap.Broken) > 0 {
		t.Errorf("%d live names, %d certificates, broken %v; want %d", len(snap.Live), len(snap.Certificates), snap.Broken, want)
	}
	for _, c := range snap.Certificates {
		if !c.Usable() || len(c.Names) != 1 || snap.Live[c.Names[0]] != c.ID {
			t.Errorf("certificate %+v is not usable and live", c)
		}
	}
	accounts, _, err := store.Accounts()
	if err != nil || len(accounts) != 1 {
		t.Errorf("%d accounts, %v; want the one that was made first", len(accounts), err)
	}
}
