package issue

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// orderChain returns certs leaf first, each signed by the next. The order they
// came in is kept if it is one; else they are put into the only one there is.
func orderChain(leaf *x509.Certificate, certs []*x509.Certificate) ([]*x509.Certificate, error) {
	if certs[0] == leaf && linked(certs) {
		return certs, nil
	}
	ordered := []*x509.Certificate{leaf}
	rest := slices.DeleteFunc(slices.Clone(certs), func(c *x509.Certificate) bool { return c == leaf })
	for len(rest) > 0 {
		last, next := ordered[len(ordered)-1], -1
		for i, cert := range rest {
			if !signedBy(last, cert) {
				continue
			}
			if next >= 0 {
				return nil, errors.New("the chain is not leaf first, and there is more than one way to order it")
			}
			next = i
		}
		if next < 0 {
			return nil, fmt.Errorf("%d of the chain's %d certificates do not belong to it", len(rest), len(certs))
		}
		ordered = append(ordered, rest[next])
		rest = slices.Delete(rest, next, next+1)
	}
	return ordered, nil
}

// linked reports whether each of certs is signed by the next.
func linked(certs []*x509.Certificate) bool {
	for i := range len(certs) - 1 {
		if !signedBy(certs[i], certs[i+1]) {
			return false
		}
	}
	return true
}

func signedBy(cert, issuer *x509.Certificate) bool {
	return bytes.Equal(cert.RawIssuer, issuer.RawSubject) && cert.CheckSignatureFrom(issuer) == nil
}

// isRoot goes by the names: nobody relies on a root's signature, which may be old.
func isRoot(cert *x509.Certificate) bool { return bytes.Equal(cert.RawIssuer, cert.RawSubject) }

// checkIssuers looks at what came above the leaf.
func checkIssuers(issuers []*x509.Certificate, now time.Time) error {
	for i, cert := range issuers {
		if err := checkDates(cert, now); err != nil {
			return fmt.Errorf("issuer %d of the chain %w", i+1, err)
		}
		if err := checkSignature(cert); err != nil {
			return fmt.Errorf("issuer %d of the chain %w", i+1, err)
		}
		if i == len(issuers)-1 {
			break
		}
		if signedBy(cert, cert) {
			return fmt.Errorf("issuer %d of the chain is a root, and the chain goes on", i+1)
		}
		if signedBy(issuers[len(issuers)-1], cert) {
			return errors.New("the chain runs in a circle")
		}
	}
	return nil
}

// verify builds the path as a TLS client would: constraints, purposes and
// lengths included. Without roots, the end of the chain stands in for them.
func verify(ordered []*x509.Certificate, want Wanted) error {
	last := len(ordered) - 1
	roots := want.Roots
	if roots == nil && last == 0 {
		roots = want.Anchors
	}
	if roots == nil {
		if last == 0 {
			return errors.New("the chain has no intermediate certificate, and there is no root to check the leaf against")
		}
		roots = x509.NewCertPool()
		roots.AddCert(ordered[last])
	}
	middle := x509.NewCertPool()
	for _, cert := range ordered[1:] {
		middle.AddCert(cert)
	}
	// A CA whose clock is up to maxSkew ahead of ours is not wrong.
	at := want.Now
	for _, cert := range ordered {
		if cert.NotBefore.After(at) {
			at = cert.NotBefore
		}
	}
	_, err := ordered[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: middle, CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return errors.New("the chain does not lead to a trusted root") // the cause would print names of the certificate
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return fmt.Errorf("the chain does not verify: %s", reason(invalid.Reason))
	}
	return fmt.Errorf("the chain does not verify (%T)", err)
}

// reason puts why in our words: the library's quote names of the certificate at any length.
func reason(why x509.InvalidReason) string {
	switch why {
	case x509.NotAuthorizedToSign:
		return "a certificate may not sign others"
	case x509.Expired:
		return "a certificate is not valid now"
	case x509.CANotAuthorizedForThisName, x509.CANotAuthorizedForExtKeyUsage, x509.UnconstrainedName:
		return "an issuer's constraints do not allow this certificate"
	case x509.TooManyIntermediates:
		return "an issuer does not allow a path this long"
	case x509.IncompatibleUsage:
		return "an issuer is not for TLS servers"
	case x509.TooManyConstraints:
		return "there are too many name constraints"
	default:
		return fmt.Sprintf("reason %d of crypto/x509", why)
	}
}

// checkSignature wants, but for roots, a signature that can't be forged.
func checkSignature(cert *x509.Certificate) error {
	if isRoot(cert) {
		return nil
	}
	switch cert.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
		return nil
	}
	return fmt.Errorf("has a weak signature (%v)", cert.SignatureAlgorithm)
}

// checkKey wants a key that can't be computed, and no work to check what it signed.
func checkKey(cert *x509.Certificate) error {
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
			return fmt.Errorf("has an RSA key of %d bits, not %d to %d", bits, minRSA, maxRSA)
		}
		return nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return errors.New("has a key on a weak curve")
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("has a key of the unsupported type %T", cert.PublicKey)
}

// otherNames reports whether leaf's subject alternative names include kinds that
// crypto/x509 skips, such as directory names, or are not well-formed.
func otherNames(leaf *x509.Certificate) bool {
	const dns, ip = 2, 7 // RFC 5280 §4.2.1.6 GeneralName
	for _, ext := range leaf.Extensions {
		if !ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			continue
		}
		der, names := cryptobyte.String(ext.Value), cryptobyte.String(nil)
		if !der.ReadASN1(&names, cryptobyteasn1.SEQUENCE) || !der.Empty() {
			return true
		}
		for !names.Empty() {
			var name cryptobyte.String
			var tag cryptobyteasn1.Tag
			if !names.ReadAnyASN1(&name, &tag) {
				return true
			}
			if tag != cryptobyteasn1.Tag(dns).ContextSpecific() && tag != cryptobyteasn1.Tag(ip).ContextSpecific() {
				return true
			}
		}
	}
	return false
}
