package state

import (
	"crypto"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// checkAccount verifies that the key which the CA was told of last is there: as
// that of the account, or as the one that it is about to get.
func (w *world) checkAccount(t testing.TB, what string, s *Store, last string) {
	t.Helper()
	if last == "" {
		return
	}
	a, err := s.Account(testDirectory)
	if err != nil || a.URL == "" {
		t.Errorf("%s: acknowledged account %s is lost: %v", what, last, err)
		return
	}
	keys := []crypto.Signer{a.Key}
	if a.Next != nil {
		keys = append(keys, a.Next)
	}
	if !slices.ContainsFunc(keys, func(key crypto.Signer) bool {
		id, err := KeyID(key.Public())
		return err == nil && strings.HasSuffix(last, id)
	}) {
		t.Errorf("%s: the account's key %s is lost", what, last)
	}
}

// checkModes compares every mode with acmetool's table.
func checkModes(t testing.TB, what, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		if err != nil || strings.HasPrefix(rel, "tmp/") || strings.HasPrefix(d.Name(), hiddenPrefix) || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		r := defaultPerms().at(filepath.ToSlash(rel))
		want := r.file
		if d.IsDir() {
			want = r.dir
		}
		if fi.Mode().Perm() != want {
			t.Errorf("%s: %s has mode %04o, want %04o", what, rel, fi.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}
