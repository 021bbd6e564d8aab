package state

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// youngKey is the age below which a key that nothing uses is kept: somebody may
// be about to.
const youngKey = 30 * 24 * time.Hour

// Culling says what is needed, and what Cull is to do.
type Culling struct {
	Now     time.Time
	Targets []string        // files of desired/, also those that cannot be read; nil means unknown: notes on targets are kept
	Live    map[string]bool // live names that are wanted; nil means unknown: every link is kept
	Keys    map[string]bool // IDs of keys that targets name; nil means unknown: every key is kept
	// Unwanted removes links of names that are not wanted although their
	// certificate is still good.
	Unwanted bool
	DryRun   bool // only list
}

// A Culled is something that Cull has removed, or would.
type Culled struct {
	Path string // relative to the state directory
	Why  string // one line
	kind cullKind
}

type cullKind int

// In the order of removal: never is something gone that is still referred to.
const (
	cullLink cullKind = iota
	cullCertificate
	cullFile
	cullKey
	cullAccount
)

// Cull removes what nobody needs any more and returns what that is, by path. It
// takes, in this order: links in live/ of names that are not wanted, if their
// certificate has expired; certificates that are expired or revoked and that
// neither live/ nor an open order refers to; notes (orders, attempts, next keys) of
// targets that are gone, and on certificates that are; keys older than 30 days that no certificate, order or
// target refers to; and retired accounts. Broken entries, and whatever live/ links
// to in whatever way, are left alone; with broken entries that may refer to keys,
// all keys are.
func (s *Store) Cull(c Culling) ([]Culled, error) {
	snap, err := s.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("cull: %w", err)
	}
	all, err := s.cullable(snap, c)
	if err != nil {
		return nil, fmt.Errorf("cull: %w", err)
	}
	byPath := func(a, b Culled) int { return cmp.Compare(a.Path, b.Path) }
	if c.DryRun || len(all) == 0 {
		slices.SortFunc(all, byPath)
		return all, nil
	}
	t, err := s.writer()
	if err != nil {
		return nil, fmt.Errorf("cull: %w", err)
	}
	var removed []Culled
	var errs []error
	slices.SortStableFunc(all, func(a, b Culled) int { return cmp.Compare(a.kind, b.kind) })
	for _, item := range all {
		if err := t.cull(item); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, item)
	}
	slices.SortFunc(removed, byPath)
	if len(errs) > 0 {
		return removed, fmt.Errorf("cull: %w", errors.Join(errs...))
	}
	return removed, nil
}

func (t *tree) cull(item Culled) error {
	switch item.kind {
	case cullLink, cullFile:
		return t.remove(item.Path)
	case cullKey, cullAccount:
		return t.removeDir(item.Path)
	}
	if err := t.removeDir(item.Path); err != nil {
		return err
	}
	renewal := "renewal/" + path.Base(item.Path) + ".json"
	if _, err := t.root.Lstat(renewal); err != nil {
		return nil
	}
	return t.remove(renewal)
}

// cullable lists what to remove.
func (s *Store) cullable(snap *Snapshot, c Culling) ([]Culled, error) {
	root, err := s.reader()
	if root == nil {
		return nil, err
	}
	defer root.Close()
	all := cullableLinks(snap, c)
	gone := make(map[string]bool)
	for _, link := range all {
		gone[path.Base(link.Path)] = true
	}
	needed, err := linked(root, gone)
	if err != nil {
		return nil, err
	}
	notes := c.notes(snap)
	all = append(all, notes...)
	for _, o := range snap.Orders {
		if !c.gone(o.Target) {
			needed[CertID(o.URL)] = true
		}
	}
	certs := c.certificates(snap, needed)
	all = append(all, certs...)
	keys, err := c.keys(root, snap, slices.Concat(certs, notes))
	if err != nil {
		return nil, err
	}
	retired, err := retiredAccounts(root)
	if err != nil {
		return nil, err
	}
	orphans, err := orphanedRenewals(root)
	if err != nil {
		return nil, err
	}
	all = append(append(all, keys...), orphans...)
	for _, name := range retired {
		all = append(all, Culled{name, "an account key that was replaced, or an account that was deactivated", cullAccount})
	}
	return all, nil
}

// orphanedRenewals lists renewal information of certificates that are not there at
// all: somebody else has removed them.
func orphanedRenewals(root *os.Root) ([]Culled, error) {
	files, err := names(root, "renewal")
	if err != nil {
		return nil, err
	}
	var orphans []Culled
	for _, file := range files {
		id, ok := strings.CutSuffix(file, ".json")
		if !ok || !isID(id) {
			continue
		}
		if _, err := root.Lstat("certs/" + id); errors.Is(err, fs.ErrNotExist) {
			orphans = append(orphans, Culled{"renewal/" + file, "renewal information of a certificate that is gone", cullFile})
		}
	}
	return orphans, nil
}

// cullableLinks lists the links of unwanted names.
func cullableLinks(snap *Snapshot, c Culling) []Culled {
	var links []Culled
	for name, id := range snap.Live {
		cert := snap.Certificates[id]
		switch {
		case c.Live == nil || c.Live[name] || cert == nil:
		case cert.expired(c.Now):
			links = append(links, Culled{"live/" + name, "not wanted any more, its certificate expired " + cert.NotAfter.Format(time.DateOnly), cullLink})
		case c.Unwanted:
			links = append(links, Culled{"live/" + name, "not wanted any more; its certificate is good until " + cert.NotAfter.Format(time.DateOnly), cullLink})
		}
	}
	return links
}

func (c *Certificate) expired(now time.Time) bool {
	return !c.NotAfter.IsZero() && c.NotAfter.Before(now)
}

// made is when the certificate came to be, as far as that is known.
func (c *Certificate) made() time.Time {
	if c.Created.IsZero() {
		return c.NotBefore
	}
	return c.Created
}

func (c *Certificate) key() string { return strings.Join(c.Names, " ") }

// gone reports whether a target is known not to be there.
func (c Culling) gone(target string) bool {
	return c.Targets != nil && !slices.Contains(c.Targets, target)
}

// notes lists what is kept of targets that are gone.
func (c Culling) notes(snap *Snapshot) []Culled {
	var notes []Culled
	add := func(target, file, what string) {
		if c.gone(target) {
			notes = append(notes, Culled{file, what + " of a target that is gone", cullFile})
		}
	}
	for _, o := range snap.Orders {
		add(o.Target, orderFile(o.URL), "an order")
	}
	for target := range snap.Attempts {
		add(target, attemptFile(target), "the last try")
	}
	for target := range snap.Staged {
		add(target, stagedFile(target), "the next key")
	}
	return notes
}

// certificates lists those of no use to anybody. One whose revocation the CA has
// not confirmed is still of use for that; and one that was revoked tells that what
// serves in its place is to be replaced, until it is.
func (c Culling) certificates(snap *Snapshot, needed map[string]bool) []Culled {
	serving := make(map[string]time.Time) // by names: when the newest good certificate was made that live/ links to
	for _, id := range snap.Live {
		if cert := snap.Certificates[id]; cert != nil && !cert.expired(c.Now) && cert.made().After(serving[cert.key()]) {
			serving[cert.key()] = cert.made()
		}
	}
	var certs []Culled
	for id, cert := range snap.Certificates {
		since, served := serving[cert.key()]
		switch {
		case needed[id]:
		case cert.expired(c.Now):
			certs = append(certs, Culled{"certs/" + id, "a certificate that expired " + cert.NotAfter.Format(time.DateOnly), cullCertificate})
		case cert.Revoked && served && !cert.SetAside && cert.made().After(since):
		case cert.Revoked && !cert.RevokePending:
			certs = append(certs, Culled{"certs/" + id, "a certificate that was revoked", cullCertificate})
		}
	}
	return certs
}

// keys lists the keys that nothing refers to, but for what is removed as well.
func (c Culling) keys(root *os.Root, snap *Snapshot, removed []Culled) ([]Culled, error) {
	broken := func(b Broken) bool {
		return slices.ContainsFunc([]string{"certs/", "orders/", "attempts/", "staged/"}, func(dir string) bool { return strings.HasPrefix(b.Path, dir) })
	}
	if c.Keys == nil || slices.ContainsFunc(snap.Broken, broken) {
		return nil, nil
	}
	used := c.usedKeys(snap, removed)
	entries, err := list(root, "keys")
	if errors.Is(err, fs.ErrPermission) {
		return nil, nil // listing goes without the right to see keys
	}
	if err != nil {
		return nil, err
	}
	var keys []Culled
	for _, e := range entries {
		if !e.IsDir() || !isID(e.Name()) || used[e.Name()] {
			continue
		}
		name := "keys/" + e.Name()
		fi, err := root.Lstat(name + "/privkey")
		if err != nil || c.Now.Sub(fi.ModTime()) < youngKey {
			continue
		}
		keys = append(keys, Culled{name, "a key of " + fi.ModTime().UTC().Format(time.DateOnly) + " that no certificate, order or target uses", cullKey})
	}
	return keys, nil
}

func (c Culling) usedKeys(snap *Snapshot, removed []Culled) map[string]bool {
	without := make(map[string]bool)
	for _, item := range removed {
		without[item.Path] = true
	}
	used := make(map[string]bool)
	for id := range c.Keys {
		used[id] = true
	}
	for id, cert := range snap.Certificates {
		if !without["certs/"+id] {
			used[cert.KeyID] = true
		}
	}
	for _, o := range snap.Orders {
		if !without[orderFile(o.URL)] {
			used[o.KeyID] = true
		}
	}
	for _, a := range snap.Attempts {
		if a.Ordering != nil {
			used[a.Ordering.KeyID] = true
		}
	}
	for target, k := range snap.Staged {
		if !without[stagedFile(target)] {
			used[k.KeyID] = true
		}
	}
	return used
}

// linked returns the IDs that any link in live/ mentions, hidden and foreign
// ones too, but for those called so in without.
func linked(root *os.Root, without map[string]bool) (map[string]bool, error) {
	ids := make(map[string]bool)
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
		if e.Type()&os.ModeSymlink == 0 || without[e.Name()] {
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
