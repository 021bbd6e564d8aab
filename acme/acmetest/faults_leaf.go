package acmetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"time"

	"certd/acme"
)

// sorted returns faults by name: maps have no order.
func sorted(faults []Fault) []Fault {
	slices.SortFunc(faults, func(a, b Fault) int { return strings.Compare(a.Name, b.Name) })
	return faults
}

// certificateFault returns a fault of the certificate's answer, which fails the
// run for the operator.
func certificateFault(name, doc string, change func(x *exchange) error) Fault {
	return Fault{
		Name: "cert/" + name, Doc: doc, Operation: "cert", Terminal: true, Class: acme.ClassOperator,
		change: func(x *exchange) {
			if x.order == nil || x.order.leaf == nil {
				return
			}
			if err := change(x); err != nil {
				x.problem(599, "serverInternal", err.Error())
			}
		},
	}
}

// leafFaults: the certificate is well signed, and not what was ordered.
func leafFaults() []Fault {
	fault := func(name, doc string, edit func(t *x509.Certificate)) Fault {
		f := certificateFault(name, doc, func(x *exchange) error {
			leaf, err := x.ca.issuer.issue(x.order.names(), x.order.request.PublicKey, edit)
			x.body = pemCert(leaf, x.ca.issuer.intermediate.cert.Raw)
			return err
		})
		f.Acceptance = true
		return f
	}
	otherKey := certificateFault("other-key", "the certificate is for another key", func(x *exchange) error {
		key, err := newPublicKey()
		if err != nil {
			return err
		}
		leaf, err := x.ca.issuer.issue(x.order.names(), key, nil)
		x.body = pemCert(leaf, x.ca.issuer.intermediate.cert.Raw)
		return err
	})
	otherKey.Acceptance = true
	now := time.Now
	return []Fault{
		otherKey,
		fault("missing-name", "the last name is missing", func(t *x509.Certificate) {
			if len(t.DNSNames) > 0 {
				t.DNSNames = t.DNSNames[:len(t.DNSNames)-1]
			}
			if len(t.DNSNames) == 0 {
				t.DNSNames, t.IPAddresses = []string{"other.example.net"}, nil
			}
		}),
		fault("extra-name", "there is a name too much", func(t *x509.Certificate) {
			t.DNSNames = append(t.DNSNames, "extra.example.net")
		}),
		fault("cn-only", "the name is in the subject only", func(t *x509.Certificate) {
			t.Subject.CommonName = strings.Join(t.DNSNames, " ")
			t.DNSNames, t.IPAddresses = nil, nil
		}),
		fault("expired", "the certificate expired an hour ago", func(t *x509.Certificate) {
			t.NotBefore, t.NotAfter = now().AddDate(0, 0, -90), now().Add(-time.Hour)
		}),
		fault("future", "the certificate begins in a week", func(t *x509.Certificate) {
			t.NotBefore, t.NotAfter = now().AddDate(0, 0, 7), now().AddDate(0, 0, 97)
		}),
		fault("no-time", "the certificate ends before it begins", func(t *x509.Certificate) {
			t.NotBefore, t.NotAfter = now().AddDate(0, 0, 7), now().AddDate(0, 0, -7)
		}),
		fault("ca-true", "the certificate is one of a CA", func(t *x509.Certificate) {
			t.IsCA, t.KeyUsage = true, t.KeyUsage|x509.KeyUsageCertSign
		}),
		fault("no-server-auth", "the certificate is for mail only", func(t *x509.Certificate) {
			t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
		}),
		fault("poison", "the certificate is a precertificate (RFC 6962 §3.1)", func(t *x509.Certificate) {
			t.ExtraExtensions = []pkix.Extension{{
				Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}, Critical: true, Value: []byte{5, 0},
			}}
		}),
	}
}

// newPublicKey returns a key that nobody asked for.
func newPublicKey() (crypto.PublicKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making another key: %w", err)
	}
	return key.Public(), nil
}
