package state

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"certd/acme"
)

// A metaFile is meta.json, which acmetool does not have.
type metaFile struct {
	URL       string    `json:"url"`
	Directory string    `json:"directory"`
	Account   string    `json:"account"`
	Target    string    `json:"target"`
	Reason    string    `json:"reason"`
	Profile   string    `json:"profile"`
	KeyType   string    `json:"key_type"`
	Names     []string  `json:"names"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Created   time.Time `json:"created,omitzero"`
	SHA256    digests   `json:"sha256"`
}

// digests are the lower-case hex SHA-256 of the files, the key's included.
type digests struct {
	Cert      string `json:"cert"`
	Chain     string `json:"chain"`
	Fullchain string `json:"fullchain"`
	Privkey   string `json:"privkey,omitempty"`
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// A certDir is a certificate directory being read.
type certDir struct {
	Certificate
	dir   folder
	path  string            // where it belongs, "certs/<id>"
	buf   *buffers          // what its files are read into
	leaf  *x509.Certificate // nil if it cannot be parsed
	meta  *metaFile         // nil without a sound meta.json
	keyed bool              // the privkey link is there and right

	metaChanged unix.Timespec // when meta.json last was; zero without one
	keyMode     fs.FileMode   // of the key's file; zero if it is not to be seen
}

// Buffers are used again for each certificate that a goroutine reads.
type buffers struct{ small, cert, chain, full []byte }

// readCertificate reads the certificate directory dir as that of this ID, whose
// key is looked for in keys. An error means that it is not a
// certificate directory at all; damage is told in the Certificate.
func readCertificate(dir folder, id string, keys keyDir, buf *buffers) (*certDir, error) {
	c := &certDir{dir: dir, path: "certs/" + id, buf: buf}
	c.ID = id
	if err := c.readMeta(); err != nil {
		return nil, err
	}
	if err := c.readURL(); err != nil {
		return nil, err
	}
	if err := c.readFiles(); err != nil {
		return nil, err
	}
	if err := c.readLinks(keys); err != nil {
		return nil, err
	}
	c.readMarks()
	return c, nil
}

// readCertificateAt is readCertificate for one directory of root.
func readCertificateAt(root *os.Root, name, id string, keys keyDir) (*certDir, error) {
	dir, err := openFolder(root, name)
	if err != nil {
		return nil, err
	}
	defer dir.close()
	return readCertificate(dir, id, keys, new(buffers))
}

// damage notes what is wrong; the first finding is kept.
func (c *certDir) damage(format string, args ...any) {
	if c.Damage == "" {
		c.Damage = fmt.Sprintf(format, args...)
	}
}

// read returns the content of a file, in buf; a missing one is damage and nil, a
// link or special file in its place is an error.
func (c *certDir) read(name string, buf *[]byte) ([]byte, error) {
	data, _, err := c.dir.read(name, buf)
	if errors.Is(err, fs.ErrNotExist) {
		c.damage("%s is missing", name)
		return nil, nil
	}
	return data, err
}

func (c *certDir) readMeta() error {
	data, changed, err := c.dir.read("meta.json", &c.buf.small)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var meta metaFile
	if err := decodeJSON(data, &meta); err != nil {
		c.damage("meta.json: %v", err)
		return nil
	}
	c.meta, c.metaChanged = &meta, changed
	c.URL, c.Directory, c.Profile = meta.URL, meta.Directory, meta.Profile
	c.Target, c.Reason, c.KeyType = meta.Target, meta.Reason, meta.KeyType
	c.Names, c.NotBefore, c.NotAfter = meta.Names, meta.NotBefore, meta.NotAfter
	c.Created = meta.Created.UTC()
	return nil
}

func (c *certDir) readURL() error {
	data, err := c.read("url", &c.buf.small)
	if err != nil {
		return err
	}
	url := strings.TrimSpace(string(data))
	if url == "" {
		url = c.URL
		c.damage("url is empty")
	}
	if CertID(url) != c.ID {
		return fmt.Errorf("its url %q is not that of its name", acme.Sanitize(url))
	}
	c.URL = url
	if c.meta != nil && c.meta.URL != url {
		c.damage("meta.json is of another order")
	}
	return nil
}

// readFiles reads and checks cert, chain and fullchain.
func (c *certDir) readFiles() error {
	if !c.dir.has("cert") && !c.dir.has("fullchain") {
		c.damage("not downloaded: only its order is known")
		return nil
	}
	var files [3][]byte
	for i, f := range []struct {
		name string
		buf  *[]byte
	}{{"cert", &c.buf.cert}, {"chain", &c.buf.chain}, {"fullchain", &c.buf.full}} {
		data, err := c.read(f.name, f.buf)
		if err != nil {
			return err
		}
		files[i] = data
	}
	if err := c.parseLeaf(files[0]); err != nil {
		c.damage("cert: %v", err)
		return nil
	}
	have := digests{Cert: digest(files[0]), Chain: digest(files[1]), Fullchain: digest(files[2])}
	switch {
	case c.meta != nil && c.meta.SHA256.Cert != have.Cert:
		c.damage("cert is not what was published")
	case c.meta != nil && c.meta.SHA256.Chain != have.Chain:
		c.damage("chain is not what was published")
	case c.meta != nil && c.meta.SHA256.Fullchain != have.Fullchain:
		c.damage("fullchain is not what was published")
	case c.meta == nil:
		c.checkChain(files[1], files[2])
	}
	return nil
}

// parseLeaf takes what is to be known from the leaf certificate.
func (c *certDir) parseLeaf(data []byte) error {
	certs, err := parseChain(data)
	if err != nil {
		return err
	}
	if len(certs) != 1 {
		return fmt.Errorf("%d certificates, want 1", len(certs))
	}
	leaf := certs[0]
	c.leaf = leaf
	c.KeyID = hashID(leaf.RawSubjectPublicKeyInfo)
	c.KeyType = KeyType(leaf.PublicKey)
	c.Names = certNames(leaf)
	c.NotBefore, c.NotAfter = leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
	c.Serial = leaf.SerialNumber.Text(16)
	c.Issuer = acme.Sanitize(leaf.Issuer.CommonName)
	c.ARIID, _ = acme.CertID(leaf) // without one there is no renewal information
	return nil
}

// checkChain checks what can be checked without meta.json: chain parses, and
// fullchain is the leaf and the chain.
func (c *certDir) checkChain(chain, full []byte) {
	inter, err := parseChain(chain)
	if err != nil {
		c.damage("chain: %v", err)
		return
	}
	all, err := parseChain(full)
	if err != nil {
		c.damage("fullchain: %v", err)
		return
	}
	same := func(a, b *x509.Certificate) bool { return a.Equal(b) }
	if !slices.EqualFunc(all, append([]*x509.Certificate{c.leaf}, inter...), same) {
		c.damage("fullchain is not cert and chain")
	}
}

// readLinks reads the links privkey and account, and looks for the key.
func (c *certDir) readLinks(keys keyDir) error {
	target, err := c.readLink("account")
	if err != nil {
		return err
	}
	if id, ok := strings.CutPrefix(target, "accounts/"); ok {
		if c.Directory == "" || c.meta == nil || c.meta.Account != id { // else it was looked at when meta.json was written
			directory, err := DirectoryOf(id)
			if err != nil {
				return fmt.Errorf("account: %w", err)
			}
			c.Directory = cmp.Or(c.Directory, directory)
		}
		c.Account = id
	} else if target != "" {
		return fmt.Errorf("account: link to %s, not to an account", target)
	}
	target, err = c.readLink("privkey")
	if err != nil {
		return err
	}
	if c.KeyID == "" {
		return nil
	}
	want := "keys/" + c.KeyID + "/privkey"
	c.keyed = target == want
	if target != "" && !c.keyed {
		c.damage("privkey links to %s, which is not its key", target)
	}
	key := keys.look(c.KeyID, c.keyed)
	c.HasKey, c.keyMode = key.there, key.mode
	if c.HasKey && c.meta != nil && !key.before(c.metaChanged) && !keys.unchanged(c.KeyID, c.meta.SHA256.Privkey) {
		c.damage("keys/%s/privkey does not hold its key", c.KeyID)
	}
	return nil
}

// readLink returns where a link points, relative to the state directory; empty if
// it is not there.
func (c *certDir) readLink(name string) (string, error) {
	text, err := c.dir.readlink(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	target, err := inside(c.path, text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return target, nil
}

// linkKey gives a certificate directory the privkey link, which acmetool makes
// only when it opens its store the next time.
func (c *certDir) linkKey(t *tree) error {
	if c.keyed {
		return nil
	}
	return t.putLink(path.Join(c.path, "privkey"), "../../keys/"+c.KeyID+"/privkey")
}

// parseChain reads a file of PEM certificates; other blocks are an error.
func parseChain(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for len(bytes.TrimSpace(data)) > 0 {
		block, rest := pem.Decode(data)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, errors.New("something in it is no PEM certificate")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
		data = rest
	}
	return certs, nil
}

// certNames returns the subject alternative names: DNS names in lower case and
// canonical IP addresses, sorted, each once.
func certNames(leaf *x509.Certificate) []string {
	names := make([]string, 0, len(leaf.DNSNames)+len(leaf.IPAddresses))
	for _, name := range leaf.DNSNames {
		names = append(names, strings.ToLower(name))
	}
	for _, ip := range leaf.IPAddresses {
		if addr, ok := netip.AddrFromSlice(ip); ok {
			names = append(names, addr.Unmap().String())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
