package state

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"
)

// TestCounters: what was saved is loaded, by another process too, and without
// the lock nothing is saved.
func TestCounters(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	if data, err := s.LoadCounters(); data != nil || err != nil {
		t.Errorf("LoadCounters of a fresh directory: %q, %v; want nothing", data, err)
	}
	want := []byte("{\"version\": 1}\n")
	if err := s.SaveCounters(want); err != nil {
		t.Fatal(err)
	}
	other, err := Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := other.LoadCounters(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("LoadCounters: %q, %v; want %q", got, err, want)
	}
	if err := other.SaveCounters(want); !errors.Is(err, ErrNotLocked) {
		t.Errorf("SaveCounters without the lock: %v, want ErrNotLocked", err)
	}
	wantError(t, "SaveCounters of too much", s.SaveCounters(make([]byte, maxFile+1)), "counters", "bytes")
	noBroken(t, snapshot(t, s))
}

// TestCountersThatCannotBeRead: a directory in their place is an error that
// names it; a state directory that is not there has none.
func TestCountersThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	if err := os.Mkdir(s.Path(countersFile), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := s.LoadCounters()
	wantError(t, "LoadCounters of a directory", err, countersFile, "directory")
	wantError(t, "SaveCounters over a directory", s.SaveCounters([]byte("x")), countersFile, "directory")

	gone, err := Open(s.Path("nothing"))
	if err != nil {
		t.Fatal(err)
	}
	if data, err := gone.LoadCounters(); data != nil || err != nil {
		t.Errorf("LoadCounters of no directory: %q, %v; want nothing", data, err)
	}
}

// TestInstalled: the time of the link and the earliest end in the chain, which
// may be the issuer's.
func TestInstalled(t *testing.T) {
	t.Parallel()
	s, ca := lockedStore(t), newTestCA(t)
	before := time.Now().Add(-time.Minute)
	for name, notAfter := range map[string]time.Time{"short.example.com": time.Now().Add(time.Hour), "long.example.com": ca.cert.NotAfter.Add(time.Hour)} {
		id := published(t, s, ca, "https://ca.example/order/"+name, notAfter, name)
		if err := s.Link(name, id); err != nil {
			t.Fatal(err)
		}
		in, err := s.Installed(name)
		if err != nil {
			t.Fatal(err)
		}
		want := notAfter
		if ca.cert.NotAfter.Before(want) {
			want = ca.cert.NotAfter
		}
		if !in.ChainNotAfter.Equal(want.Truncate(time.Second)) {
			t.Errorf("%s: the chain expires at %v, want %v", name, in.ChainNotAfter, want)
		}
		if in.Switched.Before(before) || in.Switched.After(time.Now().Add(time.Minute)) {
			t.Errorf("%s: switched at %v, want now", name, in.Switched)
		}
	}
	for _, name := range []string{"nobody.example.com", "../certs", ""} {
		if _, err := s.Installed(name); err == nil {
			t.Errorf("Installed(%q) gave no error", name)
		}
	}
}
