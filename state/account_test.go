package state

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSaveAccount(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	a := &Account{Directory: testDirectory, Key: newKey(t)}
	if _, err := s.Account(testDirectory); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no account yet: %v, want fs.ErrNotExist", err)
	}
	if err := s.SaveAccount(a); err != nil {
		t.Fatal(err)
	}
	if want, err := AccountID(testDirectory, a.Key.Public()); err != nil || a.ID != want {
		t.Errorf("the account's ID is %q, want %q (%v)", a.ID, want, err)
	}
	if _, err := os.Lstat(s.Path("accounts", a.ID, "account.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an account that the CA does not know has an account.json: %v", err)
	}
	a.URL, a.Contacts, a.OrdersURL, a.EABKeyID = "https://ca.example/acct/1", []string{"mailto:ops@example.com"}, "https://ca.example/acct/1/orders", "kid"
	a.Terms = "https://ca.example/terms"
	if err := s.SaveAccount(a); err != nil {
		t.Fatal(err)
	}
	before := image(t, s.Dir(), true)
	if err := s.SaveAccount(a); err != nil {
		t.Fatal(err)
	}
	sameImage(t, "saving it again", before, image(t, s.Dir(), true))
	got, err := s.Account(testDirectory)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != a.ID || got.URL != a.URL || !slices.Equal(got.Contacts, a.Contacts) || got.OrdersURL != a.OrdersURL || got.EABKeyID != a.EABKeyID || got.Terms != a.Terms {
		t.Errorf("read back as %+v, want %+v", got, a)
	}
	if !got.Key.(*ecdsa.PrivateKey).Equal(a.Key) {
		t.Error("read back with another key")
	}
	for name, want := range map[string]fs.FileMode{"privkey": 0o600, "account.json": 0o600, "": 0o700} {
		if fi, err := os.Stat(s.Path("accounts", a.ID, name)); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%q of the account: %v (%v), want mode %04o", name, fi, err, want)
		}
	}
}

// TestAccountIsChosenAlike: of several accounts at one CA it is always the same
// one that is taken, and Let's Encrypt's first API is its second.
func TestAccountIsChosenAlike(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	const v01, v02 = "https://acme-v01.api.letsencrypt.org/directory", "https://acme-v02.api.letsencrypt.org/directory"
	var ids []string
	for _, directory := range []string{v02, v01, v02} {
		a := &Account{Directory: directory, Key: newKey(t)}
		if err := s.SaveAccount(a); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.ID)
	}
	first := slices.Min(ids)
	for range 3 {
		if a, err := s.Account(v02); err != nil || a.ID != first {
			t.Fatalf("without any URL known: %v (%v), want %s", a, err, first)
		}
	}
	old, err := s.Account(v01)
	if err != nil || old.ID != first {
		t.Errorf("by the old URL: %v (%v), want %s", old, err, first)
	}
	last := ids[1] // the one of the old URL
	accounts, _, err := s.Accounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range accounts {
		if a.ID == last {
			a.URL, a.Directory = "https://acme-v02.api.letsencrypt.org/acme/acct/1", v02
			if err := s.SaveAccount(&a); err != nil || a.ID != last {
				t.Errorf("saving under the new directory URL moved %s to %s (%v)", last, a.ID, err)
			}
		}
	}
	if a, err := s.Account(v02); err != nil || a.ID != last {
		t.Errorf("with one URL known: %v (%v), want %s", a, err, last)
	}
	if _, err := s.Account(testDirectory); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("at another CA: %v, want fs.ErrNotExist", err)
	}
}

func TestBrokenAccounts(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	good := &Account{Directory: testDirectory, Key: newKey(t), URL: "https://ca.example/acct/1"}
	odd := &Account{Directory: "https://other.example/", Key: newKey(t), URL: "https://other.example/acct/1"}
	for _, a := range []*Account{good, odd} {
		if err := s.SaveAccount(a); err != nil {
			t.Fatal(err)
		}
	}
	stranger, _, _ := encodeKey(newKey(t))
	_, pem, err := encodeKey(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	plant(t, s, "accounts/"+odd.ID+"/account.json", "{")
	plant(t, s, "accounts/README", "")
	plant(t, s, "accounts/ca.example/"+stranger+"/privkey", string(pem))
	plant(t, s, "accounts/ca.example/empty/x", "")
	plant(t, s, "accounts/%zz/"+stranger+"/privkey", string(pem))
	plant(t, s, "accounts/.hidden/x/privkey", "")
	accounts, broken, err := s.Accounts()
	if err != nil || len(accounts) != 2 {
		t.Fatalf("%d accounts (%v), want the two with sound keys", len(accounts), err)
	}
	for path, words := range map[string]string{
		"accounts/README": "not the directory", "accounts/" + odd.ID + "/account.json": "bad JSON",
		"accounts/ca.example/" + stranger: "another key", "accounts/ca.example/empty": "want <server>", "accounts/%zz/" + stranger: "invalid URL escape",
	} {
		if got := brokenAt(&Snapshot{Broken: broken}, path); !strings.Contains(got, words) {
			t.Errorf("%s is reported as %q, want something with %q", path, got, words)
		}
	}
	if len(broken) != 5 {
		t.Errorf("broken: %v, want five", broken)
	}
	if got := snapshot(t, s).Broken; len(got) != 5 {
		t.Errorf("the snapshot has %v broken, want the same five", got)
	}
	_, err = s.Account("https://nobody.example/")
	wantError(t, "an account that is not there, while others are broken", err, "README")
}

// An account that cannot be used is not one that is not there: somebody would
// register another.
func TestBrokenAccountIsNotMissing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		spoil func(t *testing.T, s *Store, dir string)
		want  string
	}{
		{"rubbish for a key", func(t *testing.T, s *Store, dir string) { plant(t, s, dir+"/privkey", "x\n") }, "no PEM private key"},
		{"no key", func(t *testing.T, s *Store, dir string) {
			if err := os.Remove(s.Path(dir, "privkey")); err != nil {
				t.Fatal(err)
			}
		}, "no such file"},
		{"another key", func(t *testing.T, s *Store, dir string) {
			_, pem, err := encodeKey(newKey(t))
			if err != nil {
				t.Fatal(err)
			}
			plant(t, s, dir+"/privkey", string(pem))
		}, "another key"},
		{"a file for the CA's directory", func(t *testing.T, s *Store, dir string) {
			server := filepath.Dir(dir)
			if err := os.RemoveAll(s.Path(server)); err != nil {
				t.Fatal(err)
			}
			plant(t, s, server, "")
		}, "not the directory of a CA"},
	}
	for _, tt := range tests {
		s := lockedStore(t)
		a := &Account{Directory: testDirectory, Key: newKey(t), URL: "https://ca.example/acct/1"}
		if err := s.SaveAccount(a); err != nil {
			t.Fatal(err)
		}
		tt.spoil(t, s, "accounts/"+a.ID)
		_, err := s.Account(testDirectory)
		if _, ok := errors.AsType[*BrokenAccountError](err); !ok || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want a BrokenAccountError, which is not fs.ErrNotExist", tt.name, err)
		}
		wantError(t, tt.name, err, s.Path("accounts"), tt.want, "restore it from a backup, or move it away")
		if _, err := s.Account("https://other.example/"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: at another CA: %v, want fs.ErrNotExist", tt.name, err)
		}
		if snap := snapshot(t, s); len(snap.Broken) != 1 {
			t.Errorf("%s: the snapshot has %v broken, want the account", tt.name, snap.Broken)
		}
		other := &Account{Directory: testDirectory, Key: newKey(t), URL: "https://ca.example/acct/2"}
		if tt.name == "a file for the CA's directory" {
			continue
		}
		if err := s.SaveAccount(other); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Account(testDirectory); err != nil || got.ID != other.ID {
			t.Errorf("%s: with a sound one beside it: %v, %v", tt.name, got, err)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.SaveKey(p384)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := s.LoadKey(id); err != nil || !p384.Equal(key) {
		t.Errorf("P-384 key read back: %v", err)
	}
	if id, err = s.SaveKey(rsaKey); err != nil {
		t.Fatal(err)
	}
	if key, err := s.LoadKey(id); err != nil || !rsaKey.Equal(key) {
		t.Errorf("RSA key read back: %v", err)
	}
	data, err := os.ReadFile(s.Path("keys", id, "privkey"))
	if err != nil || !strings.HasPrefix(string(data), "-----BEGIN RSA PRIVATE KEY-----\n") {
		t.Errorf("RSA keys are written as %.40q (%v)", data, err)
	}
	before := image(t, s.Dir(), true)
	if _, err := s.SaveKey(rsaKey); err != nil {
		t.Error(err)
	}
	sameImage(t, "saving it again", before, image(t, s.Dir(), true))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.SaveKey(ed); err == nil {
		t.Error("an Ed25519 key is kept, and acmetool would choke on it")
	}
	if _, err := s.LoadKey(CertID("none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key that is not there: %v, want fs.ErrNotExist", err)
	}
	for _, id := range []string{"", "..", "../accounts"} {
		if _, err := s.LoadKey(id); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("key ID %q: %v, want fs.ErrInvalid", id, err)
		}
	}
}

// TestForeignKeyFiles: keys that other programs wrote are read in every usual
// encoding, and an unusable file in a key's place is replaced by the key.
func TestForeignKeyFiles(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	key := newKey(t)
	id, text, err := encodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	parameters := "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
	for _, data := range []string{pkcs8, "comment\n" + string(text), parameters + string(text)} {
		plant(t, s, "keys/"+id+"/privkey", data)
		before := image(t, s.Dir(), true)
		if got, err := s.LoadKey(id); err != nil || !key.Equal(got) {
			t.Errorf("%.40q…: %v", data, err)
		}
		if _, err := s.SaveKey(key); err != nil {
			t.Error(err)
		}
		sameImage(t, "saving a key that is there in another encoding", before, image(t, s.Dir(), true))
	}
	for _, data := range []string{"", "rubbish", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"} {
		plant(t, s, "keys/"+id+"/privkey", data)
		if _, err := s.LoadKey(id); err == nil {
			t.Errorf("a key is read from %q", data)
		}
		if _, err := s.SaveKey(key); err != nil {
			t.Errorf("save in place of %q: %v", data, err)
		}
		if got, err := s.LoadKey(id); err != nil || !key.Equal(got) {
			t.Errorf("after saving in place of %q: %v", data, err)
		}
	}
}

func FuzzKey(f *testing.F) {
	_, text, err := encodeKey(newKey(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := decodeKey(data)
		if err != nil {
			return
		}
		id, text, err := encodeKey(key)
		if err != nil {
			t.Fatalf("a key that was read cannot be written: %v", err)
		}
		again, err := decodeKey(text)
		if err != nil {
			t.Fatalf("a key that was written cannot be read: %v", err)
		}
		if have, err := KeyID(again.Public()); err != nil || have != id {
			t.Fatalf("written and read again the key's ID is %q, was %q (%v)", have, id, err)
		}
	})
}
