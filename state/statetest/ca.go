// Package statetest makes state directories with any number of certificates,
// without a network: for tests and measurements of what reads them.
package statetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// A CA is a throw-away authority: a root nobody sees and one intermediate. Its
// methods may be called from many goroutines at once.
type CA struct {
	cert *x509.Certificate // the intermediate
	key  *ecdsa.PrivateKey
}

// An Issued is one certificate with its key.
type Issued struct {
	Leaf  *x509.Certificate
	Key   *ecdsa.PrivateKey // P-256
	Cert  []byte            // PEM of the leaf
	Chain []byte            // PEM of the intermediate
}

// NewCA makes an authority with fresh keys.
func NewCA() (*CA, error) {
	rootKey, err := newKey()
	if err != nil {
		return nil, err
	}
	root := authority("Throw-away Root")
	rootCert, err := sign(root, root, rootKey.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	cert, err := sign(authority("Throw-away Intermediate"), rootCert, key.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	return &CA{cert: cert, key: key}, nil
}

// Issue returns a certificate for names with a fresh key, as a public CA makes
// them: valid from an hour ago for 90 days.
func (ca *CA) Issue(names ...string) (*Issued, error) {
	start := time.Now().Add(-time.Hour)
	return ca.IssueFor(start, start.Add(90*24*time.Hour), names...)
}

// IssueFor is Issue with other dates, to the second.
func (ca *CA) IssueFor(start, end time.Time, names ...string) (*Issued, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 140))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	leaf, err := sign(&x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: names[0]},
		DNSNames:     names,
		NotBefore:    start.Truncate(time.Second), NotAfter: end.Truncate(time.Second),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IssuingCertificateURL: []string{"http://issuer.example"},
	}, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	return &Issued{Leaf: leaf, Key: key, Cert: encode(leaf), Chain: encode(ca.cert)}, nil
}

// IssueAll issues one certificate for each name.
func (ca *CA) IssueAll(names []string) ([]*Issued, error) {
	all := make([]*Issued, len(names))
	err := each(len(names), func(i int) (err error) {
		all[i], err = ca.Issue(names[i])
		return err
	})
	return all, err
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, nil
}

func authority(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

func sign(template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate for %s: %w", template.Subject.CommonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read back the certificate of %s: %w", template.Subject.CommonName, err)
	}
	return cert, nil
}

func encode(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
