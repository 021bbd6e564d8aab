package state

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestRecords(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	id, other := strings.Repeat("a", 52), strings.Repeat("b", 52)
	if got, err := s.Records(); len(got) > 0 || err != nil {
		t.Errorf("records of a new directory: %v, %v", got, err)
	}
	for _, name := range []string{id, other} {
		if err := s.SaveRecord(name, []byte(`{"name":"x"}`)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SaveRecord(id, []byte(`{"name":"y"}`)); err != nil {
		t.Fatal(err)
	}
	got, err := s.Records()
	if err != nil || string(got[id]) != `{"name":"y"}` || !slices.Equal(slices.Sorted(maps.Keys(got)), []string{id, other}) {
		t.Errorf("got %q, %v", got, err)
	}
	for path, want := range map[string]fs.FileMode{"dns": 0o700, "dns/" + id + ".json": 0o600} {
		if fi, err := os.Stat(s.Path(path)); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v, want %v: it may have variables of hooks in it", path, fi.Mode(), err, want)
		}
	}
	for range 2 {
		if err := s.RemoveRecord(id); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if got, _ := s.Records(); len(got) != 1 {
		t.Errorf("after the removal of one of two: %q", got)
	}
}

func TestRecordsRefuse(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	for _, id := range []string{"", "../x", strings.Repeat("A", 52), strings.Repeat("a", 51)} {
		if err := s.SaveRecord(id, []byte("{}")); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("the ID %q: got %v", id, err)
		}
		if err := s.RemoveRecord(id); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("removal of the ID %q: got %v", id, err)
		}
	}
	if err := s.SaveRecord(strings.Repeat("a", 52), make([]byte, maxRecord+1)); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a record of more than %d bytes: got %v", maxRecord, err)
	}
	if err := os.WriteFile(s.Path("dns", "README"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveRecord(strings.Repeat("b", 52), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Records(); len(got) != 1 || err == nil || !strings.Contains(err.Error(), "dns/README") {
		t.Errorf("beside a file that does not belong there: got %q, %v; want the rest, and the file named", got, err)
	}
}
