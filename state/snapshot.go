package state

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"certd/acme"
)

// snapshotTries bounds how often a snapshot is taken anew because a writer was
// at work meanwhile.
const snapshotTries = 3

// Snapshot reads everything but private keys. It needs no lock and changes
// nothing; its cost grows with the number of certificates and no faster. The
// error is that the state directory itself cannot be read: whatever is wrong
// with one entry is in Snapshot.Broken.
func (s *Store) Snapshot() (*Snapshot, error) {
	root, err := s.reader()
	if err != nil {
		return nil, err
	}
	if root == nil {
		return newSnapshot(), nil
	}
	defer root.Close()
	for try := 1; ; try++ {
		r := &snapshotReader{root: root, perms: s.perms, snap: newSnapshot()}
		if err := r.read(); err != nil {
			return nil, s.explain("read state directory", err)
		}
		if !r.moved || try == snapshotTries {
			slices.SortFunc(r.snap.Broken, func(a, b Broken) int { return cmp.Compare(a.Path, b.Path) })
			slices.Sort(r.snap.TooWide)
			r.snap.TooWide = slices.Compact(r.snap.TooWide)
			return r.snap, nil
		}
	}
}

func newSnapshot() *Snapshot {
	return &Snapshot{
		Certificates: make(map[string]*Certificate),
		Live:         make(map[string]string),
		Attempts:     make(map[string]Attempt),
		Staged:       make(map[string]Staged),
		Renewals:     make(map[string]Renewal),
	}
}

// A snapshotReader takes one snapshot.
type snapshotReader struct {
	root  *os.Root
	perms perms
	snap  *Snapshot
	moved bool // a link was switched while we read: what was read does not belong together
}

func (r *snapshotReader) broken(path string, err error) {
	live, ok := strings.CutPrefix(path, "live/")
	if !ok {
		live = ""
	}
	r.snap.Broken = append(r.snap.Broken, Broken{Path: path, Live: live, Err: err})
}

// key notes a private key that everybody may read, though conf/perm does not say so.
func (r *snapshotReader) key(path string, mode fs.FileMode) {
	if mode&0o007&^r.perms.at(path).file != 0 {
		r.snap.TooWide = append(r.snap.TooWide, path)
	}
}

// read goes against the direction of writing: links before certificates, so that
// a link read is one whose certificate was there.
func (r *snapshotReader) read() error {
	links, err := r.links()
	if err != nil {
		return err
	}
	keyed, err := r.certificates()
	if err != nil {
		return err
	}
	r.live(links, keyed)
	if err := r.accounts(); err != nil {
		return err
	}
	if err := r.orders(); err != nil {
		return err
	}
	if err := r.attempts(); err != nil {
		return err
	}
	if err := r.staged(); err != nil {
		return err
	}
	if err := r.renewals(); err != nil {
		return err
	}
	return r.pending()
}

// links reads live/: name to certificate ID.
func (r *snapshotReader) links() (map[string]string, error) {
	entries, err := names(r.root, "live")
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, nil
	}
	live, err := openFolder(r.root, "live")
	if err != nil {
		return nil, fmt.Errorf("open live: %w", err)
	}
	defer live.close()
	links := make(map[string]string, len(entries))
	for _, name := range entries {
		id, err := readLive(live, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			r.moved = true
		case err != nil:
			r.broken("live/"+name, err)
		default:
			links[name] = id
		}
	}
	return links, nil
}

func readLive(live folder, name string) (id string, err error) {
	if err := checkLiveName(name); err != nil {
		return "", err
	}
	text, err := live.readlink(name)
	if err != nil {
		return "", err
	}
	target, err := inside("live", text)
	if err != nil {
		return "", err
	}
	id, ok := strings.CutPrefix(target, "certs/")
	if !ok || !isID(id) {
		return "", fmt.Errorf("link to %q, not to ../certs/<id>", text)
	}
	return id, nil
}

// certificates reads certs/ in parallel. It returns which certificates have
// their privkey link.
func (r *snapshotReader) certificates() (keyed map[string]bool, err error) {
	entries, err := names(r.root, "certs")
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	dir, err := openFolder(r.root, "certs")
	if err != nil {
		return nil, fmt.Errorf("open certs: %w", err)
	}
	defer dir.close()
	keys, err := openKeys(r.root)
	if err != nil {
		return nil, err
	}
	defer keys.close()
	found := make([]seen, len(entries))
	parallel(len(entries), func(i int, buf *buffers) { found[i] = r.certificate(dir, entries[i], keys, buf) })
	keyed = make(map[string]bool, len(entries))
	for i, id := range entries {
		switch f := found[i]; {
		case f.err != nil:
			r.broken("certs/"+id, f.err)
		case f.cert != nil:
			r.snap.Certificates[id] = f.cert
			r.key("keys/"+f.cert.KeyID+"/privkey", f.keyMode)
			keyed[id] = f.keyed
		}
	}
	return keyed, nil
}

// Seen is what is kept of a certificate directory: not its parsed leaf.
type seen struct {
	cert    *Certificate // nil if it was removed while we looked
	keyed   bool
	keyMode fs.FileMode
	err     error
}

// parallel calls read for 0 to n-1 from several goroutines, each with buffers of
// its own.
func parallel(n int, read func(i int, buf *buffers)) {
	var next atomic.Int64
	var readers sync.WaitGroup
	for range min(n, 2*runtime.GOMAXPROCS(0)) {
		readers.Go(func() {
			var buf buffers
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				read(i, &buf)
			}
		})
	}
	readers.Wait()
}

// certificate reads one entry of certs/.
func (r *snapshotReader) certificate(certs folder, id string, keys keyDir, buf *buffers) seen {
	dir, err := certs.folder(id)
	if errors.Is(err, fs.ErrNotExist) {
		return seen{}
	}
	if err != nil {
		if st, e := certs.stat(id); e == nil && fileMode(st.Mode)&fs.ModeDir == 0 {
			err = fmt.Errorf("a %s that is no certificate", kind(fileMode(st.Mode)))
		}
		return seen{err: err}
	}
	defer dir.close()
	if !isID(id) {
		return seen{err: errors.New("a directory that is no certificate")}
	}
	c, err := readCertificate(dir, id, keys, buf)
	if err != nil || c.Damage != "" {
		if !certs.has(id) {
			return seen{}
		}
	}
	if err != nil {
		return seen{err: err}
	}
	cert := c.Certificate
	return seen{cert: &cert, keyed: c.keyed, keyMode: c.keyMode}
}

// live keeps the links that lead to a certificate. A link whose certificate has
// its key but no privkey link yet is left out: it is as good as not made, and
// making it anew sets both right.
func (r *snapshotReader) live(links map[string]string, keyed map[string]bool) {
	for name, id := range links {
		cert := r.snap.Certificates[id]
		if cert != nil {
			if keyed[id] || !cert.HasKey {
				r.snap.Live[name] = id
			}
			continue
		}
		if text, err := r.root.Readlink("live/" + name); err != nil || !strings.HasSuffix(text, id) {
			r.moved = true
			continue
		}
		r.broken("live/"+name, fmt.Errorf("links to certs/%s, which holds no certificate", id))
	}
}

// accounts looks for broken accounts; their keys are read for that and dropped. A
// user who may not read them has nothing to say about them.
func (r *snapshotReader) accounts() error {
	accounts, broken, err := loadAccounts(r.root)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	for _, b := range broken {
		if !errors.Is(b.Err, fs.ErrPermission) {
			r.broken(b.Path, b.Err)
		}
	}
	for _, a := range accounts {
		name := "accounts/" + a.ID + "/privkey"
		if fi, err := r.root.Lstat(name); err == nil {
			r.key(name, fi.Mode())
		}
	}
	return err
}

// orders reads orders/, by creation time.
func (r *snapshotReader) orders() error {
	err := r.documents("orders", func(name string) error {
		var o acme.OpenOrder
		if err := readJSON(r.root, name, &o); err != nil {
			return err
		}
		if o.URL == "" || name != orderFile(o.URL) {
			return fmt.Errorf("its url %q is not that of its name", acme.Sanitize(o.URL))
		}
		r.snap.Orders = append(r.snap.Orders, o)
		return nil
	})
	slices.SortFunc(r.snap.Orders, func(a, b acme.OpenOrder) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.URL, b.URL))
	})
	return err
}

// attempts reads attempts/.
func (r *snapshotReader) attempts() error {
	return r.documents("attempts", func(name string) error {
		var a Attempt
		if err := readJSON(r.root, name, &a); err != nil {
			return err
		}
		if checkFileName(a.Target) != nil || name != attemptFile(a.Target) {
			return fmt.Errorf("its target %q is not that of its name", acme.Sanitize(a.Target))
		}
		r.snap.Attempts[a.Target] = a
		return nil
	})
}

// pending reads pending/, oldest first.
func (r *snapshotReader) pending() error {
	err := r.documents("pending", func(name string) error {
		var e Event
		if err := readJSON(r.root, name, &e); err != nil {
			return err
		}
		if name != eventFile(e.ID) {
			return fmt.Errorf("its id %q is not that of its name", acme.Sanitize(e.ID))
		}
		for _, n := range e.Names { // one that no hook can be called with must not hold up the others
			if err := checkLiveName(n); err != nil {
				return err
			}
		}
		r.snap.Pending = append(r.snap.Pending, e)
		return nil
	})
	slices.SortFunc(r.snap.Pending, func(a, b Event) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return err
}

// documents calls read for every JSON file of a directory and notes what is
// broken. A file removed meanwhile is left out.
func (r *snapshotReader) documents(dir string, read func(name string) error) error {
	entries, err := names(r.root, dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := dir + "/" + entry
		if !strings.HasSuffix(name, ".json") {
			r.broken(name, errors.New("not a .json file"))
			continue
		}
		if err := read(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.broken(name, err)
		}
	}
	return nil
}
