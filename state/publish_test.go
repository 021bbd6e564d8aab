package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestPublishAndLink(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	ca, key := newTestCA(t), newKey(t)
	if _, err := s.SaveKey(key); err != nil {
		t.Fatal(err)
	}
	n := ca.issue(t, key, "https://ca.example/order/1", day(80), "www.example.com", "*.example.com")
	n.Profile = "shortlived"
	begun := time.Now()
	id, err := s.Publish(n)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"www.example.com", "*.example.com", "www.example.com:ecdsa"} {
		if err := s.Link(name, id); err != nil {
			t.Fatal(err)
		}
		if text, err := os.Readlink(s.Path("live", name)); err != nil || text != "../certs/"+id {
			t.Errorf("live/%s links to %q (%v)", name, text, err)
		}
	}
	snap := snapshot(t, s)
	noBroken(t, snap)
	c := snap.Certificates[id]
	if !c.Usable() || c.URL != n.URL || c.Directory != n.Directory || c.Account != n.Account || c.KeyID != n.KeyID ||
		c.KeyType != "ecdsa-p256" || c.Profile != "shortlived" || c.Target != n.Target || c.Reason != n.Reason ||
		!slices.Equal(c.Names, n.Names) || !c.NotAfter.Equal(n.NotAfter) || c.Issuer != "Test Intermediate" || c.Serial == "" {
		t.Errorf("read back as %+v (damage %q)", c, c.Damage)
	}
	if c.Created.Before(begun) || c.Created.After(time.Now()) || c.Created.Location() != time.UTC {
		t.Errorf("it says that it was published at %v, want now, in UTC (the test began at %v)", c.Created, begun)
	}
	full, err := os.ReadFile(s.Path("live", "www.example.com", "fullchain"))
	if err != nil || !bytes.Equal(full, append(slices.Clone(n.Cert), n.Chain...)) {
		t.Errorf("fullchain is not cert and chain (%v)", err)
	}
	before := image(t, s.Dir(), true)
	if again, err := s.Publish(n); err != nil || again != id {
		t.Errorf("publish again: %q, %v", again, err)
	}
	if err := s.Link("www.example.com", id); err != nil {
		t.Errorf("link again: %v", err)
	}
	sameImage(t, "doing it again", before, image(t, s.Dir(), true))
}

func TestMetaIsTheFormatThatIsPublished(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	id := published(t, s, newTestCA(t), "https://ca.example/order/1", day(80), "www.example.com")
	data, err := os.ReadFile(s.Path("certs", id, "meta.json"))
	if err != nil {
		t.Fatal(err)
	}
	var meta map[string]any
	if err := json.Unmarshal(data, &meta); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"url", "directory", "account", "target", "reason", "profile", "key_type", "names", "not_before", "not_after", "created", "sha256"} {
		if _, ok := meta[field]; !ok {
			t.Errorf("meta.json has no %q:\n%s", field, data)
		}
		delete(meta, field)
	}
	if len(meta) > 0 {
		t.Errorf("meta.json has fields nobody documented: %v", meta)
	}
	url, err := os.ReadFile(s.Path("certs", id, "url"))
	if err != nil || string(url) != "https://ca.example/order/1" {
		t.Errorf("url is %q (%v), and acmetool wants no newline", url, err)
	}
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	ca, key := newTestCA(t), newKey(t)
	if _, err := s.SaveKey(key); err != nil {
		t.Fatal(err)
	}
	good := func() NewCertificate {
		return ca.issue(t, key, "https://ca.example/order/1", day(80), "www.example.com")
	}
	stranger := ca.issue(t, newKey(t), "https://ca.example/order/1", day(80), "www.example.com")
	tests := []struct {
		name   string
		change func(*NewCertificate)
		want   string
	}{
		{"key not saved", func(n *NewCertificate) { *n = stranger }, "no such file"},
		{"certificate for another key", func(n *NewCertificate) { n.Cert = stranger.Cert }, "is for key"},
		{"other names", func(n *NewCertificate) { n.Names = []string{"example.com"} }, "not for [\"example.com\"]"},
		{"other dates", func(n *NewCertificate) { n.NotAfter = day(99) }, "dates"},
		{"empty certificate", func(n *NewCertificate) { n.Cert = nil }, "0 of them"},
		{"two leaves", func(n *NewCertificate) { n.Cert = append(n.Cert, n.Cert...) }, "2 of them"},
		{"rubbish", func(n *NewCertificate) { n.Cert = []byte("rubbish") }, "no PEM certificate"},
		{"rubbish after it", func(n *NewCertificate) { n.Cert = append(n.Cert, "rubbish"...) }, "no PEM certificate"},
		{"a key in the chain", func(n *NewCertificate) { _, n.Chain, _ = encodeKey(key) }, "no PEM certificate"},
		{"cut chain", func(n *NewCertificate) { n.Chain = n.Chain[:len(n.Chain)/2] }, "no PEM certificate"},
		{"no URL", func(n *NewCertificate) { n.URL = "" }, "no https URL"},
		{"endless URL", func(n *NewCertificate) { n.URL += strings.Repeat("x", maxURL) }, "no https URL"},
		{"account that leaves", func(n *NewCertificate) { n.Account = "../../etc" }, "account ID"},
		{"key that leaves", func(n *NewCertificate) { n.KeyID = "../../etc" }, "no key ID"},
	}
	before := image(t, s.Dir(), true)
	for _, tt := range tests {
		n := good()
		tt.change(&n)
		_, err := s.Publish(n)
		wantError(t, tt.name, err, tt.want)
	}
	sameImage(t, "refused certificates", before, image(t, s.Dir(), true))
}

// TestPublishCompletes: acmetool leaves a directory with only its order when it is
// cut off; another certificate is never overwritten.
func TestPublishCompletes(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	ca, key := newTestCA(t), newKey(t)
	if _, err := s.SaveKey(key); err != nil {
		t.Fatal(err)
	}
	n := ca.issue(t, key, "https://ca.example/order/1", day(80), "www.example.com")
	id := CertID(n.URL)
	if err := os.Mkdir(s.Path("certs", id), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Path("certs", id, "url"), []byte(n.URL+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	snap := snapshot(t, s)
	noBroken(t, snap)
	if c := snap.Certificates[id]; c == nil || c.Usable() || !strings.Contains(c.Damage, "not downloaded") {
		t.Errorf("a directory with only an order reads as %+v", c)
	}
	wantError(t, "link to it", s.Link("www.example.com", id), "not downloaded")
	if _, err := s.Publish(n); err != nil {
		t.Fatal(err)
	}
	if c := snapshot(t, s).Certificates[id]; !c.Usable() {
		t.Errorf("after Publish its damage is %q", c.Damage)
	}
	_, err := s.Publish(ca.issue(t, key, n.URL, day(90), "www.example.com"))
	wantError(t, "another certificate of the same order", err, "holds another certificate")
}

func TestLinkRefuses(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	ca := newTestCA(t)
	id := published(t, s, ca, "https://ca.example/order/1", day(80), "www.example.com")
	for _, name := range []string{"", ".", "..", "../x", "a/b", ".hidden", "-x", "a\nb"} {
		if err := s.Link(name, id); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("live name %q: %v, want fs.ErrInvalid", name, err)
		}
	}
	for _, bad := range []string{"", "..", "../../etc", strings.Repeat("a", 52)} {
		if err := s.Link("www.example.com", bad); err == nil {
			t.Errorf("certificate ID %q is linked", bad)
		}
	}
	if err := os.Mkdir(s.Path("live", "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	wantError(t, "a directory in live/", s.Link("dir", id), "move it away")
	revoked := published(t, s, ca, "https://ca.example/order/2", day(80), "www.example.com")
	if err := os.WriteFile(s.Path("certs", revoked, "revoked"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	wantError(t, "a revoked certificate", s.Link("www.example.com", revoked), "revoked")
	keyless := published(t, s, ca, "https://ca.example/order/3", day(80), "www.example.com")
	if err := os.RemoveAll(s.Path("keys", snapshot(t, s).Certificates[keyless].KeyID)); err != nil {
		t.Fatal(err)
	}
	wantError(t, "a certificate without its key", s.Link("www.example.com", keyless), "not in keys/")
	if links := snapshot(t, s).Live; len(links) != 0 {
		t.Errorf("live links after all refusals: %v", links)
	}
}

// TestLinkReplacesAnyLink, broken and foreign ones too.
func TestLinkReplacesAnyLink(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	id := published(t, s, newTestCA(t), "https://ca.example/order/1", day(80), "www.example.com")
	for i, target := range []string{"../certs/" + strings.Repeat("a", 52), "/etc/ssl", "nowhere"} {
		name := fmt.Sprintf("n%d.example.com", i)
		if err := os.Symlink(target, s.Path("live", name)); err != nil {
			t.Fatal(err)
		}
		if err := s.Link(name, id); err != nil {
			t.Errorf("link in place of one to %s: %v", target, err)
		}
	}
	snap := snapshot(t, s)
	noBroken(t, snap)
	if len(snap.Live) != 3 {
		t.Errorf("live links: %v, want three", snap.Live)
	}
}

// TestMissingKeyLink: acmetool makes the privkey link late; until then the name
// counts as not linked, and linking it makes both right.
func TestMissingKeyLink(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	id := published(t, s, newTestCA(t), "https://ca.example/order/1", day(80), "www.example.com")
	if err := s.Link("www.example.com", id); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.Path("certs", id, "privkey")); err != nil {
		t.Fatal(err)
	}
	snap := snapshot(t, s)
	noBroken(t, snap)
	if c := snap.Certificates[id]; !c.Usable() || len(snap.Live) != 0 {
		t.Errorf("usable %v, live %v; want a usable certificate that is not live", c.Usable(), snap.Live)
	}
	if err := s.Link("www.example.com", id); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(s.Path("live", "www.example.com", "privkey")); err != nil || snapshot(t, s).Live["www.example.com"] != id {
		t.Errorf("after Link: %v", err)
	}
}

// TestPinnedReader: a server that opens the live directory once never sees files
// that do not belong together, however often the link is switched.
func TestPinnedReader(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	ca := newTestCA(t)
	var ids []string
	for i := range 4 {
		ids = append(ids, published(t, s, ca, fmt.Sprintf("https://ca.example/order/%d", i), day(80), "www.example.com"))
	}
	if err := s.Link("www.example.com", ids[0]); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					readPinned(t, s)
				}
			}
		})
	}
	for i := range 150 {
		if err := s.Link("www.example.com", ids[i%len(ids)]); err != nil {
			t.Error(err)
		}
		if snap := snapshot(t, s); len(snap.Broken) > 0 || len(snap.Live) != 1 {
			t.Errorf("a snapshot between two switches: live %v, broken %v", snap.Live, snap.Broken)
		}
	}
	close(stop)
	readers.Wait()
}

func readPinned(t *testing.T, s *Store) {
	dir, err := os.Readlink(s.Path("live", "www.example.com")) // as realpath does, once
	if err != nil {
		t.Error(err)
		return
	}
	cert, err1 := os.ReadFile(s.Path("live", dir, "cert"))
	key, err2 := os.ReadFile(s.Path("live", dir, "privkey"))
	if err := errors.Join(err1, err2); err != nil {
		t.Error(err)
		return
	}
	leaf, err1 := parseChain(cert)
	signer, err2 := decodeKey(key)
	if err := errors.Join(err1, err2); err != nil {
		t.Error(err)
		return
	}
	if id, err := KeyID(signer.Public()); err != nil || id != hashID(leaf[0].RawSubjectPublicKeyInfo) {
		t.Errorf("in %s key and certificate do not match (%v)", path.Base(dir), err)
	}
}

func TestReplaceFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := path.Join(dir, "certd.prom")
	for _, text := range []string{"one", "two", "two"} {
		before, _ := os.Stat(name)
		if err := ReplaceFile(name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(f)
		fi, _ := f.Stat()
		f.Close()
		if err != nil || string(data) != text || fi.Mode() != 0o640 || os.SameFile(before, fi) {
			t.Errorf("after writing %q: %q, mode %v (%v)", text, data, fi.Mode(), err)
		}
	}
	if n := len(image(t, dir, false)); n != 2 {
		t.Errorf("%d entries, want the directory and the file", n)
	}
	if err := ReplaceFile(path.Join(dir, "no", "file"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a directory that is not there: %v", err)
	}
	if err := ReplaceFile(dir, nil, 0o600); err == nil || len(image(t, dir, false)) != 2 {
		t.Errorf("in place of a directory: %v, and %v is left", err, image(t, dir, false))
	}
}
