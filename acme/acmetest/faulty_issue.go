package acmetest

import (
	"crypto"
	"crypto/x509"
	"net"
	"slices"
	"strings"
	"time"
)

// An issuer signs certificates. Its intermediate has certificates by two
// roots: one for the default chain, one for the alternate.
type issuer struct {
	root, otherRoot *authority
	intermediate    *authority
	cross           []byte // DER: the intermediate, signed by otherRoot
}

// newIssuer makes fresh roots and an intermediate.
func newIssuer() (*issuer, error) {
	root, err := newRoot("acmetest root")
	if err != nil {
		return nil, err
	}
	otherRoot, err := newRoot("acmetest other root")
	if err != nil {
		return nil, err
	}
	intermediate, err := newAuthority("acmetest intermediate", root)
	if err != nil {
		return nil, err
	}
	template := *intermediate.cert
	cross, err := otherRoot.sign(&template, intermediate.key.Public())
	if err != nil {
		return nil, err
	}
	return &issuer{root: root, otherRoot: otherRoot, intermediate: intermediate, cross: cross}, nil
}

// rootsPEM returns both roots, the default chain's first.
func (i *issuer) rootsPEM() []byte { return append(i.root.pem(), i.otherRoot.pem()...) }

// template returns the template of a correct certificate for names: 90 days
// from an hour ago, for TLS servers.
func (i *issuer) template(names []string) (*x509.Certificate, error) {
	t, err := newTemplate("")
	if err != nil {
		return nil, err
	}
	t.NotAfter = t.NotBefore.Add(90 * 24 * time.Hour)
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
			continue
		}
		t.DNSNames = append(t.DNSNames, name)
	}
	return t, nil
}

// issue returns the DER of a leaf for names and pub, its template changed by
// edit unless that is nil.
func (i *issuer) issue(names []string, pub crypto.PublicKey, edit func(*x509.Certificate)) ([]byte, error) {
	t, err := i.template(names)
	if err != nil {
		return nil, err
	}
	if edit != nil {
		edit(t)
	}
	return i.intermediate.sign(t, pub)
}

// requestNames returns the names that a CSR asks for, sorted, without doubles.
func requestNames(csr *x509.CertificateRequest) []string {
	names := slices.Clone(csr.DNSNames)
	for _, ip := range csr.IPAddresses {
		names = append(names, ip.String())
	}
	if cn := csr.Subject.CommonName; cn != "" {
		names = append(names, cn)
	}
	for n := range names {
		names[n] = strings.ToLower(names[n])
	}
	slices.Sort(names)
	return slices.Compact(names)
}
