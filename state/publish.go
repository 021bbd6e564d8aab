package state

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Publish makes an accepted certificate durable in certs/ and returns its ID. It
// checks that n is of one piece: the bytes parse, the names and dates are those of
// the leaf, and the key in keys/ is the leaf's, which it gives to whom n.Files
// says. Nothing is written if the certificate is there and the key so. It is not
// live before Link.
func (s *Store) Publish(n NewCertificate) (id string, err error) {
	id = CertID(n.URL)
	t, err := s.writer()
	if err != nil {
		return "", fmt.Errorf("publish certificate: %w", err)
	}
	var key []byte
	if err = checkID("key", n.KeyID); err == nil {
		key, err = readFile(t.root, "keys/"+n.KeyID+"/privkey")
	}
	if err == nil {
		_, err = s.LoadKey(n.KeyID)
	}
	var entries []entry
	var leaf *x509.Certificate
	if err == nil {
		entries, leaf, err = n.files(digest(key))
	}
	if err == nil {
		err = t.giveKey(n.KeyID, n.Files)
	}
	if err == nil {
		err = t.publish(id, leaf, entries)
	}
	if err != nil {
		return "", fmt.Errorf("publish certificate of order %s: %w", n.URL, err)
	}
	return id, nil
}

func (t *tree) publish(id string, leaf *x509.Certificate, entries []entry) error {
	dir := "certs/" + id
	if _, err := t.root.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return t.putDir(dir, entries, func(temp string) error {
			_, err := t.usable(temp, id)
			return err
		})
	}
	have, err := readCertificateAt(t.root, dir, id, keyDir{})
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if have.Damage == "" {
		if !have.leaf.Equal(leaf) {
			return fmt.Errorf("%s holds another certificate, serial %s", dir, have.Serial)
		}
		return have.linkKey(t)
	}
	// acmetool makes the directory before it has the certificate, and fullchain
	// tells it that it has; so that comes last.
	for _, e := range entries {
		if e.link != "" {
			err = t.putLink(dir+"/"+e.name, e.link)
		} else {
			err = t.putFile(dir+"/"+e.name, e.data, false)
		}
		if err != nil {
			return err
		}
	}
	_, err = t.usable(dir, id)
	return err
}

// usable reads the certificate directory at dir, and says why it could not be
// served.
func (t *tree) usable(dir, id string) (*certDir, error) {
	keys, err := openKeys(t.root)
	if err != nil {
		return nil, err
	}
	defer keys.close()
	c, err := readCertificateAt(t.root, dir, id, keys)
	switch {
	case err != nil:
		return nil, err
	case c.Damage != "":
		return nil, errors.New(c.Damage)
	case c.Revoked:
		return nil, errors.New("it is revoked")
	case !c.HasKey:
		return nil, fmt.Errorf("its key %s is not in keys/", c.KeyID)
	}
	if _, err := loadKey(t.root, "keys/"+c.KeyID+"/privkey", c.KeyID); err != nil {
		return nil, err
	}
	return c, nil
}

// files checks n and returns what its directory will hold; key is the digest of
// the key's file.
func (n *NewCertificate) files(key string) ([]entry, *x509.Certificate, error) {
	leafs, err := parseChain(n.Cert)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate: %w", err)
	}
	if len(leafs) != 1 {
		return nil, nil, fmt.Errorf("certificate: %d of them, want 1", len(leafs))
	}
	chain, err := parseChain(n.Chain)
	if err != nil {
		return nil, nil, fmt.Errorf("chain: %w", err)
	}
	leaf := leafs[0]
	if err := n.check(leaf); err != nil {
		return nil, nil, err
	}
	cert, inter := encodeCerts(leaf), encodeCerts(chain...)
	full := slices.Concat(cert, inter)
	meta, err := encodeJSON(metaFile{
		URL: n.URL, Directory: n.Directory, Account: n.Account, Target: n.Target, Reason: n.Reason,
		Profile: n.Profile, KeyType: KeyType(leaf.PublicKey), Names: certNames(leaf),
		NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(), Created: time.Now().UTC(),
		SHA256: digests{Cert: digest(cert), Chain: digest(inter), Fullchain: digest(full), Privkey: key},
	})
	if err != nil {
		return nil, nil, err
	}
	return []entry{
		{name: "url", data: []byte(n.URL)},
		{name: "account", link: "../../accounts/" + n.Account},
		{name: "privkey", link: "../../keys/" + n.KeyID + "/privkey"},
		{name: "chain", data: inter},
		{name: "cert", data: cert},
		{name: "meta.json", data: meta},
		{name: "fullchain", data: full},
	}, leaf, nil
}

// check compares what n says with its leaf.
func (n *NewCertificate) check(leaf *x509.Certificate) error {
	if err := checkID("key", n.KeyID); err != nil {
		return err
	}
	if have := hashID(leaf.RawSubjectPublicKeyInfo); have != n.KeyID {
		return fmt.Errorf("the certificate is for key %s, not for %s", have, n.KeyID)
	}
	if have := certNames(leaf); !slices.Equal(have, n.Names) {
		return fmt.Errorf("the certificate is for %q, not for %q", have, n.Names)
	}
	if !leaf.NotBefore.Equal(n.NotBefore) || !leaf.NotAfter.Equal(n.NotAfter) {
		return errors.New("the dates of the certificate are not those given")
	}
	if _, err := DirectoryOf(n.Account); err != nil {
		return err
	}
	return checkURL(n.URL)
}

// encodeCerts writes certificates as PEM, without the comments they came with.
func encodeCerts(certs ...*x509.Certificate) []byte {
	data := []byte{}
	for _, c := range certs {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return data
}

// Link makes live/<liveName> lead to a certificate: the one step by which readers
// see the new one. It refuses a certificate that could not be served, and writes
// nothing if the link is right already.
func (s *Store) Link(liveName, certID string) error {
	t, err := s.writer()
	if err != nil {
		return fmt.Errorf("link live/%s: %w", liveName, err)
	}
	if err := checkLiveName(liveName); err != nil {
		return fmt.Errorf("link into live/: %w", err)
	}
	if err := checkID("certificate", certID); err != nil {
		return fmt.Errorf("link live/%s: %w", liveName, err)
	}
	cert, err := t.usable("certs/"+certID, certID)
	if err == nil {
		err = cert.linkKey(t)
	}
	if err != nil {
		return fmt.Errorf("link live/%s to certificate %s: %w", liveName, certID, err)
	}
	name, target := "live/"+liveName, "../certs/"+certID
	fi, err := t.root.Lstat(name)
	if err == nil && fi.Mode()&os.ModeSymlink == 0 {
		return fmt.Errorf("link %s: it is a %s, not a link: move it away", name, kind(fi.Mode()))
	}
	if text, err := t.root.Readlink(name); err == nil && text == target {
		return nil
	}
	return t.putLink(name, target)
}
