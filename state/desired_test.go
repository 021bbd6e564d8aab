package state

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

func TestAddDesired(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	for _, want := range []string{"www.example.com", "www.example.com-2", "www.example.com-3"} {
		file, err := s.AddDesired("www.example.com", []byte(want))
		if err != nil || file != want {
			t.Errorf("the target is in %q (%v), want %q", file, err, want)
		}
		if data, err := s.ReadDesired(file); err != nil || string(data) != want {
			t.Errorf("%s holds %q (%v)", file, data, err)
		}
	}
	for _, name := range []string{"", "../x", ".x", strings.Repeat("a", 256)} {
		if _, err := s.AddDesired(name, nil); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("target %q: %v, want fs.ErrInvalid", name, err)
		}
	}
}

func TestReadDesired(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	symlink(t, "/etc/hostname", s.Path("desired", "link"))
	if err := os.Mkdir(s.Path("desired", "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"none": fs.ErrNotExist, "../conf/target": fs.ErrInvalid, "link": nil, "dir": nil} {
		data, err := s.ReadDesired(name)
		if err == nil || (want != nil && !errors.Is(err, want)) {
			t.Errorf("desired/%s reads as %q (%v), want error %v", name, data, err, want)
		}
	}
	none, err := Open(t.TempDir() + "/none")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := none.ReadDesired("x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a directory that is not there: %v, want fs.ErrNotExist", err)
	}
	if _, err := none.AddDesired("x", nil); !errors.Is(err, ErrNotLocked) {
		t.Errorf("add without the lock: %v, want ErrNotLocked", err)
	}
}
