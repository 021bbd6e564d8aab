package issue

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// A pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// A pki is a root, an intermediate, and the key and template of a good leaf for
// a.example.com, b.example.com and 192.0.2.7.
type pki struct {
	t            testing.TB
	now          time.Time
	serial       int64
	root, middle pair
	key          crypto.Signer
	leaf         *x509.Certificate // template
}

func newPKI(t testing.TB) *pki {
	t.Helper()
	p := &pki{t: t, now: time.Now().Truncate(time.Second), key: ecKey(t, elliptic.P256())}
	p.root = p.selfSigned(p.caTemplate("Root"), ecKey(t, elliptic.P256()))
	p.middle = p.issue(p.caTemplate("Middle"), ecKey(t, elliptic.P256()), p.root)
	p.leaf = &x509.Certificate{
		DNSNames:    []string{"a.example.com", "b.example.com"},
		IPAddresses: []net.IP{{192, 0, 2, 7}},
		NotBefore:   p.now.Add(-time.Minute), NotAfter: p.now.Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	return p
}

func (p *pki) wanted() Wanted {
	return Wanted{Names: []string{"192.0.2.7", "a.example.com", "b.example.com"}, Key: p.key.Public()}
}

func (p *pki) caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: p.now.Add(-time.Hour), NotAfter: p.now.Add(365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

// issue signs template for key by issuer.
func (p *pki) issue(template *x509.Certificate, key crypto.Signer, issuer pair) pair {
	p.t.Helper()
	if template.SerialNumber == nil {
		p.serial++
		template.SerialNumber = big.NewInt(p.serial)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.cert, key.Public(), issuer.key)
	if err != nil {
		p.t.Fatalf("issue %v: %v", template.Subject, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		p.t.Fatalf("parse what was issued: %v", err)
	}
	return pair{cert, key}
}

func (p *pki) selfSigned(template *x509.Certificate, key crypto.Signer) pair {
	return p.issue(template, key, pair{template, key})
}

// good is a leaf of p.leaf as it stands, for our key, by the intermediate.
func (p *pki) good() pair { return p.issue(p.leaf, p.key, p.middle) }

func ders(pairs ...pair) [][]byte {
	var out [][]byte
	for _, c := range pairs {
		out = append(out, c.cert.Raw)
	}
	return out
}

func ecKey(t testing.TB, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func keyPEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// sanExtension holds one GeneralName of the given tag.
func sanExtension(t testing.TB, tag int, value []byte) pkix.Extension {
	t.Helper()
	der, err := asn1.Marshal([]asn1.RawValue{
		{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte("a.example.com")},
		{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: value, IsCompound: tag == 0 || tag == 4},
	})
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}
}
