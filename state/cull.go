package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"
)

// Cull removes what nobody needs any more and returns what that is, as sorted
// paths relative to the state directory; with dryRun it only lists. It takes
// certificates that are expired at now or revoked and that neither live/ nor an
// open order refers to; and, unless targets is nil, the orders and attempts of
// targets that are not in it. Keys, broken entries and whatever live/ links to in
// whatever way are left alone.
func (s *Store) Cull(now time.Time, targets []string, dryRun bool) ([]string, error) {
	snap, err := s.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("cull: %w", err)
	}
	dirs, files, err := s.cullable(snap, now, targets)
	if err != nil {
		return nil, fmt.Errorf("cull: %w", err)
	}
	all := slices.Sorted(slices.Values(slices.Concat(dirs, files)))
	if dryRun || len(all) == 0 {
		return all, nil
	}
	t, err := s.writer()
	if err != nil {
		return nil, fmt.Errorf("cull: %w", err)
	}
	var removed []string
	var errs []error
	for _, name := range all {
		err := t.cull(name, slices.Contains(dirs, name))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, name)
	}
	if len(errs) > 0 {
		return removed, fmt.Errorf("cull: %w", errors.Join(errs...))
	}
	return removed, nil
}

func (t *tree) cull(name string, dir bool) error {
	if !dir {
		return t.remove(name)
	}
	if err := t.removeDir(name); err != nil {
		return err
	}
	renewal := "renewal/" + path.Base(name) + ".json"
	if _, err := t.root.Lstat(renewal); err != nil {
		return nil
	}
	return t.remove(renewal)
}

// cullable lists the certificate directories and the files to remove.
func (s *Store) cullable(snap *Snapshot, now time.Time, targets []string) (dirs, files []string, err error) {
	needed, err := s.linked()
	if err != nil {
		return nil, nil, err
	}
	gone := func(target string) bool { return targets != nil && !slices.Contains(targets, target) }
	for _, o := range snap.Orders {
		if gone(o.Target) {
			files = append(files, orderFile(o.URL))
		} else {
			needed[CertID(o.URL)] = true
		}
	}
	for target := range snap.Attempts {
		if gone(target) {
			files = append(files, attemptFile(target))
		}
	}
	for id, c := range snap.Certificates {
		expired := !c.NotAfter.IsZero() && c.NotAfter.Before(now)
		if !needed[id] && (expired || c.Revoked) {
			dirs = append(dirs, "certs/"+id)
		}
	}
	return dirs, files, nil
}

// linked returns the IDs that any link in live/ mentions, hidden and foreign
// ones too.
func (s *Store) linked() (map[string]bool, error) {
	ids := make(map[string]bool)
	root, err := s.reader()
	if root == nil {
		return ids, err
	}
	defer root.Close()
	f, err := root.Open("live")
	if errors.Is(err, fs.ErrNotExist) {
		return ids, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Type()&os.ModeSymlink == 0 {
			continue
		}
		text, err := root.Readlink("live/" + e.Name())
		if err != nil {
			return nil, err
		}
		for text != "." && text != "/" {
			ids[path.Base(text)] = true
			text = path.Dir(text)
		}
	}
	return ids, nil
}
