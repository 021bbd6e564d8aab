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
	"fmt"
	"net"

	"certd/acme"
)

// newCSR returns the DER of a request for exactly names (RFC 8555 §7.4), with
// an empty subject: names are alternative names only. With staple it asks for
// the TLS feature status_request (RFC 7633).
func newCSR(key crypto.Signer, names []string, staple bool) ([]byte, error) {
	algorithm, err := signatureAlgorithm(key.Public())
	if err != nil {
		return nil, err
	}
	template := &x509.CertificateRequest{SignatureAlgorithm: algorithm}
	for _, name := range names {
		if id := acme.NewIdentifier(name); id.Type == "ip" {
			template.IPAddresses = append(template.IPAddresses, net.ParseIP(id.Value))
		} else {
			template.DNSNames = append(template.DNSNames, id.Value)
		}
	}
	if staple {
		template.ExtraExtensions = []pkix.Extension{{
			Id:    asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24},
			Value: []byte{0x30, 0x03, 0x02, 0x01, 0x05}, // SEQUENCE { INTEGER 5 }, status_request
		}}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate request: %w", err)
	}
	return der, nil
}

// signatureAlgorithm is the usual one for a key of this type and size.
func signatureAlgorithm(key crypto.PublicKey) (x509.SignatureAlgorithm, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return x509.SHA256WithRSA, nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return x509.ECDSAWithSHA256, nil
		case elliptic.P384():
			return x509.ECDSAWithSHA384, nil
		case elliptic.P521():
			return x509.ECDSAWithSHA512, nil
		}
	}
	return 0, fmt.Errorf("certificate key of type %T: want RSA, or ECDSA on P-256, P-384 or P-521", key)
}
