package state

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"certd/acme"
)

// liveName is what the world obtains certificates for.
const liveName = "www.example.com"

// A world is a state directory, the CA that it deals with, and what the CA has
// been told: a miniature of certd that can be cut off anywhere and started anew.
type world struct {
	dir string // work directory: state directory, CA and log
	ca  *testCA
}

// newWorld makes a work directory with a CA.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), ca: newTestCA(t)}
	_, data, err := encodeKey(w.ca.key)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"ca-key": data, "ca-cert": pemCert(w.ca.cert), "log": nil} {
		if err := os.WriteFile(filepath.Join(w.dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// openWorld finds the world that another process made.
func openWorld(t testing.TB, dir string) *world {
	t.Helper()
	key, err1 := os.ReadFile(filepath.Join(dir, "ca-key"))
	cert, err2 := os.ReadFile(filepath.Join(dir, "ca-cert"))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	signer, err1 := decodeKey(key)
	certs, err2 := parseChain(cert)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return &world{dir: dir, ca: &testCA{cert: certs[0], key: signer}}
}

func (w *world) state() string { return filepath.Join(w.dir, "acme") }

// acknowledge notes what certd told the outside: from here on it must not be lost.
func (w *world) acknowledge(what, id string) error {
	f, err := os.OpenFile(filepath.Join(w.dir, "log"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, what, id)
	return errors.Join(err, f.Close())
}

// certificate returns the CA's certificate of an order: the same one each time.
func (w *world) certificate(t testing.TB, key crypto.Signer, url string) NewCertificate {
	t.Helper()
	n := w.ca.issue(t, key, url, day(80), liveName)
	file := filepath.Join(w.dir, "issued-"+CertID(url))
	if data, err := os.ReadFile(file); err == nil {
		leaf, err := parseChain(data)
		if err != nil || len(leaf) != 1 {
			t.Fatalf("CA's own certificate: %v", err)
		}
		n.Cert, n.NotBefore, n.NotAfter = data, leaf[0].NotBefore, leaf[0].NotAfter
		return n
	}
	if err := os.WriteFile(file+".new", n.Cert, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	return n
}

// reconcile brings the state directory to its second generation of a
// certificate, from wherever it is. step sees every durable step.
func (w *world) reconcile(t testing.TB, step func(op, path string) error) error {
	s, err := Open(w.state())
	if err != nil {
		return err
	}
	s.step = step
	if err := w.edit(s); err != nil {
		return err
	}
	l, err := s.Lock(context.Background(), 0)
	if err != nil {
		return err
	}
	err = w.account(s)
	if err == nil {
		err = w.generation(t, s, "https://ca.example/order/1")
	}
	if err == nil {
		err = w.rollover(t, s)
	}
	if err == nil {
		err = w.generation(t, s, "https://ca.example/order/2")
	}
	return errors.Join(err, l.Unlock())
}

func (w *world) account(s *Store) error {
	a, err := s.Account(testDirectory)
	if errors.Is(err, fs.ErrNotExist) {
		a, err = &Account{Directory: testDirectory, Key: w.ca.key}, nil
	}
	if err != nil {
		return err
	}
	if a.URL == "" {
		if err := s.SaveAccount(a); err != nil { // the key, before the CA hears of it
			return err
		}
	}
	if a.URL != "" {
		return nil
	}
	a.URL, a.Contacts = "https://ca.example/account/1", []string{"mailto:ops@example.com"}
	if err := s.SaveAccount(a); err != nil {
		return err
	}
	return w.acknowledge("account", a.ID)
}

// rollover changes the key of the account, unless that is done. Whether the CA has
// the new key is only known to the CA: the file account-key says it.
func (w *world) rollover(t testing.TB, s *Store) error {
	a, err := s.Account(testDirectory)
	if err != nil {
		return err
	}
	if a.Old != nil {
		if a, err = s.FinishRollover(a.Old); err != nil {
			return err
		}
	}
	if !a.Key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(w.ca.key.Public()) {
		return w.acknowledge("account", a.ID)
	}
	if a.Next == nil {
		if err := s.BeginRollover(a, newKey(t)); err != nil {
			return err
		}
	}
	id, err := KeyID(a.Next.Public())
	if err != nil {
		return err
	}
	if err := w.acknowledge("account-key", id); err != nil { // the CA has it now, whether we hear of it or not
		return err
	}
	if a, err = s.FinishRollover(a); err != nil {
		return err
	}
	return w.acknowledge("account", a.ID)
}

// generation obtains the certificate of one order, unless that or a later one is
// live.
func (w *world) generation(t testing.TB, s *Store, url string) error {
	id := CertID(url)
	snap, err := s.Snapshot()
	if err != nil {
		return err
	}
	if live := snap.Certificates[snap.Live[liveName]]; live != nil && live.URL >= url && len(snap.Orders) == 0 {
		return nil
	}
	o := acme.OpenOrder{Directory: testDirectory, Names: []string{liveName}, Target: "target", Created: day(0).UTC()}
	known := slices.IndexFunc(snap.Orders, func(o acme.OpenOrder) bool { return o.URL == url })
	if cert := snap.Certificates[id]; cert != nil && known < 0 && len(snap.Orders) > 0 {
		return nil // the first generation, while the order of the second is open
	}
	if known >= 0 {
		o = snap.Orders[known]
	} else {
		if err := s.OpenOrder(o); err != nil {
			return err
		}
		o.URL = url
		if err := s.SaveOrder(o); err != nil {
			return err
		}
		if err := w.acknowledge("order", id); err != nil {
			return err
		}
	}
	if err := w.key(t, s, &o); err != nil {
		return err
	}
	return w.publish(t, s, o)
}

func (w *world) key(t testing.TB, s *Store, o *acme.OpenOrder) (err error) {
	if o.KeyID != "" {
		return nil
	}
	if o.KeyID, err = s.SaveKey(newKey(t)); err != nil {
		return err
	}
	if err := s.SaveOrder(*o); err != nil {
		return err
	}
	return w.acknowledge("key", o.KeyID) // the CSR leaves now
}

func (w *world) publish(t testing.TB, s *Store, o acme.OpenOrder) error {
	key, err := s.LoadKey(o.KeyID)
	if err != nil {
		return err
	}
	account, err := s.Account(testDirectory)
	if err != nil {
		return err
	}
	n := w.certificate(t, key, o.URL)
	n.Account = account.ID
	id, err := s.Publish(n)
	if err != nil {
		return err
	}
	if err := w.acknowledge("certificate", id); err != nil {
		return err
	}
	event, err := s.SaveEvent(Event{Event: "live-updated", Names: []string{liveName}})
	if err != nil {
		return err
	}
	if err := s.Link(liveName, id); err != nil {
		return err
	}
	if err := w.acknowledge("live", id); err != nil {
		return err
	}
	if err := s.RemoveEvent(event.ID); err != nil { // the hooks have run
		return err
	}
	attempt := Attempt{Target: "target", Digest: o.URL, LastAttempt: o.Created}
	if err := s.SaveAttempt(attempt); err != nil {
		return err
	}
	return s.CloseOrder(o)
}

// check verifies the invariants of a state directory that may have been cut off.
func (w *world) check(t testing.TB, what string) {
	t.Helper()
	s, err := Open(w.state())
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	snap, err := s.Snapshot()
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	for _, b := range snap.Broken {
		t.Errorf("%s: broken %s: %v", what, b.Path, b.Err)
	}
	for id, c := range snap.Certificates {
		if !c.Usable() {
			t.Errorf("%s: certificate %s is not usable: damage %q, key %v", what, id, c.Damage, c.HasKey)
		}
	}
	if _, broken, err := s.Accounts(); err != nil || len(broken) > 0 {
		t.Errorf("%s: accounts: %v %v", what, broken, err)
	}
	for id := range snap.Certificates {
		if _, err := os.Stat(filepath.Join(w.state(), "certs", id, "account", "privkey")); err != nil {
			t.Errorf("%s: the account of certificate %s is not there: %v", what, id, err)
		}
	}
	if id, ok := snap.Live[liveName]; ok {
		w.checkPinned(t, what, id)
	}
	w.checkLog(t, what, s, snap)
	checkModes(t, what, w.state())
}

// checkPinned reads the live directory as a server does that opens it once.
func (w *world) checkPinned(t testing.TB, what, id string) {
	t.Helper()
	root, err := os.OpenRoot(filepath.Join(w.state(), "live", liveName))
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	defer root.Close()
	full, err1 := root.ReadFile("fullchain")
	key, err2 := os.ReadFile(filepath.Join(w.state(), "certs", id, "privkey"))
	if err := errors.Join(err1, err2); err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	block, _ := pem.Decode(full)
	signer, err := decodeKey(key)
	if err != nil || block == nil {
		t.Errorf("%s: what is live does not parse: %v", what, err)
		return
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Errorf("%s: what is live does not parse: %v", what, err)
		return
	}
	if have, err := KeyID(signer.Public()); err != nil || have != hashID(leaf.RawSubjectPublicKeyInfo) {
		t.Errorf("%s: live key and certificate do not match", what)
	}
}

// checkLog verifies that nothing acknowledged was lost.
func (w *world) checkLog(t testing.TB, what string, s *Store, snap *Snapshot) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	live, lastAccount, seen := 0, "", map[string]bool{}
	for line := range strings.Lines(string(data)) {
		kind, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		seen[kind] = true
		switch kind {
		case "account", "account-key":
			lastAccount = id
		case "key":
			if _, err := s.LoadKey(id); err != nil {
				t.Errorf("%s: acknowledged key is lost: %v", what, err)
			}
		case "order":
			open := slices.ContainsFunc(snap.Orders, func(o acme.OpenOrder) bool { return CertID(o.URL) == id })
			if !open && snap.Certificates[id] == nil {
				t.Errorf("%s: acknowledged order %s is neither open nor a certificate", what, id)
			}
		case "certificate":
			if snap.Certificates[id] == nil {
				t.Errorf("%s: acknowledged certificate %s is lost", what, id)
			}
		case "live":
			live++
			if now := snap.Certificates[snap.Live[liveName]]; now == nil || now.URL < snap.Certificates[id].URL {
				t.Errorf("%s: live went back behind %s", what, id)
			}
		}
	}
	w.checkAccount(t, what, s, lastAccount)
	w.checkEdits(t, what, seen)
}

// settled runs reconcile until done, and once more to see that it writes nothing.
func (w *world) settled(t testing.TB, what string) {
	t.Helper()
	if err := w.reconcile(t, nil); err != nil {
		t.Errorf("%s: the next run fails: %v", what, err)
		return
	}
	w.check(t, what+", then a run")
	before := image(t, w.state(), true)
	writes := 0
	err := w.reconcile(t, func(op, path string) error {
		writes++
		t.Errorf("%s: a run with nothing to do takes the step %s %s", what, op, path)
		return nil
	})
	if err != nil || writes > 0 {
		t.Errorf("%s: a run with nothing to do: %v", what, err)
	}
	after := image(t, w.state(), true)
	sameImage(t, what+", a run with nothing to do", before, after)
	for dir, want := range map[string]int{"tmp": 0, "desired": 1} {
		if n := len(image(t, filepath.Join(w.state(), dir), false)) - 1; n != want {
			t.Errorf("%s: %d entries are left in %s/, want %d", what, n, dir, want)
		}
	}
}
