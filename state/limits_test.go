package state

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

// TestLimits: what was saved is loaded, by another process too and beyond the
// size of other files; without the lock nothing is saved.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	if data, err := s.LoadLimits(); data != nil || err != nil {
		t.Errorf("LoadLimits of a fresh directory: %q, %v; want nothing", data, err)
	}
	want := bytes.Repeat([]byte("0123456789abcdef"), maxFile/8)
	if err := s.SaveLimits(want); err != nil {
		t.Fatal(err)
	}
	other, err := Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := other.LoadLimits(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("LoadLimits: %d bytes, %v; want the %d that were saved", len(got), err, len(want))
	}
	if err := other.SaveLimits(want); !errors.Is(err, ErrNotLocked) {
		t.Errorf("SaveLimits without the lock: %v, want ErrNotLocked", err)
	}
	wantError(t, "SaveLimits of too much", s.SaveLimits(make([]byte, maxLimits+1)), "limits", "bytes")
	noBroken(t, snapshot(t, s))
}

// TestLimitsThatCannotBeRead: a directory in their place is an error that names
// it; a state directory that is not there has none.
func TestLimitsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	if err := os.Mkdir(s.Path(limitsFile), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := s.LoadLimits()
	wantError(t, "LoadLimits of a directory", err, limitsFile, "directory")
	gone, err := Open(s.Path("nothing"))
	if err != nil {
		t.Fatal(err)
	}
	if data, err := gone.LoadLimits(); data != nil || err != nil {
		t.Errorf("LoadLimits of no directory: %q, %v; want nothing", data, err)
	}
}
