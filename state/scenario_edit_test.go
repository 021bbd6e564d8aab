package state

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The contents of a target file, one after the other. wanted is what both are
// called.
const wanted, firstTarget, secondTarget = "www.example.com", "satisfy: {names: [www.example.com, example.com]}\n", "satisfy: {names: [www.example.com]}\n"

// edit wants a target and then less of it, and another one that it takes back.
func (w *world) edit(s *Store) error {
	log, err := os.ReadFile(filepath.Join(w.dir, "log"))
	if err != nil {
		return err
	}
	l, err := s.LockEdit(context.Background(), childTimeout)
	if err != nil {
		return err
	}
	if _, err = os.Lstat(s.Path("desired", wanted)); errors.Is(err, fs.ErrNotExist) {
		_, err = s.AddDesired(wanted, []byte(firstTarget))
	}
	if err == nil {
		err = w.acknowledge("wanted", wanted)
	}
	if err == nil {
		err = s.EditDesired(wanted, func([]byte) ([]byte, error) { return []byte(secondTarget), nil })
	}
	if err == nil {
		err = w.acknowledge("edited", wanted)
	}
	if err == nil && !strings.Contains(string(log), "unwanted ") {
		if _, err = os.Lstat(s.Path("desired", "gone")); errors.Is(err, fs.ErrNotExist) {
			_, err = s.AddDesired("gone", nil)
		}
		if err == nil {
			err = s.EditDesired("gone", func([]byte) ([]byte, error) { return nil, nil })
		}
		if err == nil {
			err = w.acknowledge("unwanted", "gone")
		}
	}
	return errors.Join(err, l.Unlock())
}

// checkEdits verifies desired/: nothing partial, nothing acknowledged undone.
func (w *world) checkEdits(t testing.TB, what string, log map[string]bool) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(w.state(), "desired", wanted))
	switch {
	case log["edited"] && string(data) != secondTarget:
		t.Errorf("%s: the target that was edited holds %q (%v)", what, data, err)
	case log["wanted"] && err != nil, err == nil && string(data) != firstTarget && string(data) != secondTarget:
		t.Errorf("%s: the target that was wanted holds %q (%v)", what, data, err)
	}
	if _, err := os.Lstat(filepath.Join(w.state(), "desired", "gone")); log["unwanted"] && err == nil {
		t.Errorf("%s: the target that was taken back is there again", what)
	}
}
