package state

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const testDirectory = "https://ca.example/directory"

// lockedStore returns a locked store in a fresh directory.
func lockedStore(t testing.TB) *Store {
	t.Helper()
	return lockStore(t, filepath.Join(t.TempDir(), "acme"))
}

// lockStore opens and locks dir for the length of the test.
func lockStore(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Lock(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	edit, err := s.LockEdit(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(edit.Unlock(), l.Unlock()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A testCA issues certificates under a root and one intermediate.
type testCA struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newTestCA(t testing.TB) *testCA {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Intermediate"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key := newKey(t)
	return &testCA{cert: sign(t, template, template, key.Public(), key), key: key}
}

func sign(t testing.TB, template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// issue returns an accepted certificate for key, ready to be published. The
// last two bytes of its serial are those of its order URL's hash.
func (ca *testCA) issue(t testing.TB, key crypto.Signer, url string, notAfter time.Time, names ...string) NewCertificate {
	t.Helper()
	hash := sha256.Sum256([]byte(url))
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(hash[:8]),
		DNSNames:     names,
		NotBefore:    notAfter.Add(-90 * 24 * time.Hour), NotAfter: notAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leaf := sign(t, template, ca.cert, key.Public(), ca.key)
	keyID, err := KeyID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	account, err := AccountID(testDirectory, ca.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return NewCertificate{
		URL: url, Directory: testDirectory, Account: account, KeyID: keyID,
		Cert: pemCert(leaf), Chain: pemCert(ca.cert),
		Target: names[0], Reason: "no certificate yet",
		Names: slices.Sorted(slices.Values(names)), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
	}
}

func pemCert(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// published saves a key and publishes a certificate of it.
func published(t testing.TB, s *Store, ca *testCA, url string, notAfter time.Time, names ...string) string {
	t.Helper()
	key := newKey(t)
	if _, err := s.SaveKey(key); err != nil {
		t.Fatal(err)
	}
	id, err := s.Publish(ca.issue(t, key, url, notAfter, names...))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func snapshot(t testing.TB, s *Store) *Snapshot {
	t.Helper()
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// image describes everything below dir: type, mode, content or target, and with
// times also when it was changed.
func image(t testing.TB, dir string, times bool) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		text := fi.Mode().String()
		switch {
		case fi.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " -> " + target
		case fi.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %x", sha256.Sum256(data))
		}
		if times {
			text += " " + fi.ModTime().String()
		}
		rel, err := filepath.Rel(dir, path)
		all[rel] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// sameImage says what differs between two images of a directory.
func sameImage(t testing.TB, what string, before, after map[string]string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(after)) {
		if before[path] != after[path] {
			t.Errorf("%s: %s was %q, is %q", what, path, before[path], after[path])
		}
	}
	for path := range before {
		if _, ok := after[path]; !ok {
			t.Errorf("%s: %s is gone", what, path)
		}
	}
}

// noBroken fails if the snapshot found anything broken.
func noBroken(t testing.TB, snap *Snapshot) {
	t.Helper()
	for _, b := range snap.Broken {
		t.Errorf("broken: %s: %v", b.Path, b.Err)
	}
}

// brokenAt returns the message of the broken entry at path, empty if there is none.
func brokenAt(snap *Snapshot, path string) string {
	for _, b := range snap.Broken {
		if b.Path == path {
			return b.Err.Error()
		}
	}
	return ""
}

// wantError fails unless err speaks of every one of words.
func wantError(t testing.TB, what string, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want one with %q", what, words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: error %q does not say %q", what, err, w)
		}
	}
}

func day(n int) time.Time {
	return time.Now().Add(time.Duration(n) * 24 * time.Hour).Truncate(time.Second)
}
