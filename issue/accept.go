package issue

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// What a chain may measure at most. A public CA's leaf with 100 names is below 8 KiB.
const (
	maxChain      = 10
	maxDER        = 64 << 10
	maxSkew       = time.Hour // by which our clock may be behind the CA's
	minRSA        = 2048
	maxRSA        = 8192 // beyond it, checking a signature is work an attacker sends us
	maxQuotedText = 64
)

// Wanted is what a certificate must be to be accepted.
type Wanted struct {
	Names []string         // exactly these, A-labels and canonical IP addresses, in any order
	Key   crypto.PublicKey // of our key
	Roots *x509.CertPool   // roots the chain must lead to; nil means that any self-consistent chain of two or more will do
	Now   time.Time        // zero means the present
	// Anchors are roots that a chain of one certificate may lead to, as a private CA
	// without intermediates has them; nil means that such a chain is refused.
	Anchors *x509.CertPool
}

// Accepted is a certificate that was found to be what was wanted.
type Accepted struct {
	Leaf     *x509.Certificate
	CertPEM  []byte // the leaf
	ChainPEM []byte // the intermediates, leaf's issuer first, without a root; may be empty

	certs []*x509.Certificate // the leaf and the intermediates
}

// A DateError reports a certificate that is not valid at the time that it was
// checked at, so that either the certificate or our clock is wrong.
type DateError struct {
	NotBefore, NotAfter time.Time // of the certificate
	Now                 time.Time // that it was checked at
}

func (e *DateError) Error() string {
	if e.NotBefore.After(e.Now) {
		return fmt.Sprintf("is not valid before %s; check this machine's clock", e.NotBefore.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("expired at %s; check this machine's clock", e.NotAfter.UTC().Format(time.RFC3339))
}

// Accept checks a downloaded chain (DER, RFC 8555 §7.4.2) in full and returns
// the PEM to publish, which has been parsed again. A chain that is not leaf
// first is repaired if there is but one way to order it; a root at its end is
// dropped. The error says what is wrong with it, without quoting the chain at length;
// it wraps a *DateError if it is the dates.
func Accept(chain [][]byte, want Wanted) (*Accepted, error) {
	if want.Now.IsZero() {
		want.Now = time.Now()
	}
	certs, err := parseChain(chain)
	if err != nil {
		return nil, err
	}
	leaf, err := findLeaf(certs, want.Key)
	if err != nil {
		return nil, err
	}
	if err := checkLeaf(leaf, want); err != nil {
		return nil, err
	}
	ordered, err := orderChain(leaf, certs)
	if err != nil {
		return nil, err
	}
	if err := checkIssuers(ordered[1:], want.Now); err != nil {
		return nil, err
	}
	if err := verify(ordered, want); err != nil {
		return nil, err
	}
	if last := len(ordered) - 1; last > 0 && isRoot(ordered[last]) {
		ordered = ordered[:last]
	}
	return publishable(ordered)
}

// parseChain parses chain within its limits and refuses what occurs twice.
func parseChain(chain [][]byte) ([]*x509.Certificate, error) {
	if len(chain) == 0 {
		return nil, errors.New("the chain is empty")
	}
	if len(chain) > maxChain {
		return nil, fmt.Errorf("the chain has %d certificates, more than %d", len(chain), maxChain)
	}
	certs := make([]*x509.Certificate, len(chain))
	for i, der := range chain {
		if len(der) > maxDER {
			return nil, fmt.Errorf("certificate %d of the chain has %d bytes, more than %d", i+1, len(der), maxDER)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", i+1, err)
		}
		if err := checkKey(cert); err != nil {
			return nil, fmt.Errorf("certificate %d of the chain %w", i+1, err)
		}
		for j, other := range certs[:i] {
			if bytes.Equal(other.Raw, cert.Raw) {
				return nil, fmt.Errorf("certificates %d and %d of the chain are the same", j+1, i+1)
			}
			if bytes.Equal(other.RawIssuer, cert.RawIssuer) && other.SerialNumber.Cmp(cert.SerialNumber) == 0 {
				return nil, fmt.Errorf("certificates %d and %d of the chain have the same issuer and serial number", j+1, i+1)
			}
		}
		certs[i] = cert
	}
	return certs, nil
}

// findLeaf returns the one certificate for key.
func findLeaf(certs []*x509.Certificate, key crypto.PublicKey) (*x509.Certificate, error) {
	ours, ok := key.(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil, fmt.Errorf("our key is of the unsupported type %T", key)
	}
	var leaf *x509.Certificate
	for _, cert := range certs {
		if !ours.Equal(cert.PublicKey) {
			continue
		}
		if leaf != nil {
			return nil, errors.New("two certificates of the chain are for our key")
		}
		leaf = cert
	}
	if leaf == nil {
		return nil, errors.New("the certificate is for another key than ours")
	}
	return leaf, nil
}

// checkLeaf holds the leaf against what was wanted.
func checkLeaf(leaf *x509.Certificate, want Wanted) error {
	if leaf.IsCA {
		return errors.New("the certificate is a CA certificate")
	}
	if len(leaf.UnhandledCriticalExtensions) > 0 {
		return fmt.Errorf("the certificate has the unknown critical extension %v", leaf.UnhandledCriticalExtensions[0])
	}
	if !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		return errors.New("the certificate is not for TLS servers (no serverAuth)")
	}
	if err := checkDates(leaf, want.Now); err != nil {
		return fmt.Errorf("the certificate %w", err)
	}
	if err := checkSignature(leaf); err != nil {
		return fmt.Errorf("the certificate %w", err)
	}
	return checkNames(leaf, want.Names)
}

// checkDates tells whether cert is valid at now, give or take maxSkew at its start.
func checkDates(cert *x509.Certificate, now time.Time) error {
	if !cert.NotBefore.Before(cert.NotAfter) {
		return errors.New("ends before it begins")
	}
	if cert.NotBefore.After(now.Add(maxSkew)) || !cert.NotAfter.After(now) {
		return &DateError{NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, Now: now}
	}
	return nil
}

// checkNames wants leaf's subject alternative names to be exactly names, each
// once, and of no other kind than DNS name and IP address (RFC 5280 §4.2.1.6).
func checkNames(leaf *x509.Certificate, names []string) error {
	if n := len(leaf.EmailAddresses) + len(leaf.URIs); n > 0 || otherNames(leaf) {
		return errors.New("the certificate has alternative names that are neither DNS names nor IP addresses")
	}
	have := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		addr, _ := netip.AddrFromSlice(ip)
		have = append(have, addr.String())
	}
	if len(have) > len(names)+maxChain { // names are not worth comparing, nor printing
		return fmt.Errorf("the certificate has %d names, not the %d wanted", len(have), len(names))
	}
	for _, name := range names {
		if !slices.Contains(have, name) {
			return fmt.Errorf("the certificate lacks the name %s", name)
		}
	}
	for _, name := range have {
		if !slices.Contains(names, name) {
			return fmt.Errorf("the certificate has the name %s, which was not wanted", quote(name))
		}
	}
	if len(have) != len(names) {
		return errors.New("the certificate has a name twice")
	}
	return nil
}

// quote makes a CA's text fit to be printed.
func quote(s string) string {
	if len(s) > maxQuotedText {
		return fmt.Sprintf("%+q...", s[:maxQuotedText])
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Sprintf("%+q", s)
	}
	return s
}

// publishable makes the PEM of a chain and reads it back.
func publishable(ordered []*x509.Certificate) (*Accepted, error) {
	a := &Accepted{CertPEM: encode(ordered[0]), certs: ordered}
	for _, cert := range ordered[1:] {
		a.ChainPEM = append(a.ChainPEM, encode(cert)...)
	}
	rest := slices.Concat(a.CertPEM, a.ChainPEM)
	for i, cert := range ordered {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || !bytes.Equal(block.Bytes, cert.Raw) {
			return nil, fmt.Errorf("certificate %d of the chain does not survive PEM", i+1)
		}
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain, read back: %w", i+1, err)
		}
		if i == 0 {
			a.Leaf = parsed
		}
	}
	if len(rest) > 0 {
		return nil, errors.New("the chain does not survive PEM")
	}
	return a, nil
}

func encode(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}
