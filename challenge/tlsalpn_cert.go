package challenge

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"certd/acme"
)

// alpnExtension is id-pe-acmeIdentifier (RFC 8737 §6.1).
func alpnExtension() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31} }

// alpnServerName is the server name of a CA's handshake: the name itself, or the
// reverse name of an IP address (RFC 8738 §6).
func alpnServerName(id acme.Identifier) string {
	if addr, err := netip.ParseAddr(id.Value); err == nil {
		if name, err := dns.ReverseAddr(addr.String()); err == nil {
			return strings.TrimSuffix(name, ".")
		}
	}
	return strings.ToLower(id.Value)
}

// alpnCertificate is the self-signed certificate that proves control of id: it
// names nothing else, and its critical extension is the SHA-256 of the key
// authorization (RFC 8737 §3).
func alpnCertificate(id acme.Identifier, keyAuth string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make the key of a %s certificate: %w", TypeTLSALPN01, err)
	}
	value, err := asn1.Marshal(alpnDigest(keyAuth))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("encode the %s extension: %w", TypeTLSALPN01, err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:    big.NewInt(1),
		NotBefore:       now.Add(-24 * time.Hour), // the CA's clock is not ours
		NotAfter:        now.Add(24 * time.Hour),
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		ExtraExtensions: []pkix.Extension{{Id: alpnExtension(), Critical: true, Value: value}},
	}
	if ip := net.ParseIP(id.Value); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{id.Value}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make the %s certificate of %s: %w", TypeTLSALPN01, id.Value, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func alpnDigest(keyAuth string) []byte {
	sum := sha256.Sum256([]byte(keyAuth))
	return sum[:]
}

// checkALPN is Check for tls-alpn-01.
func (s *SelfTest) checkALPN(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	return s.until(ctx, id, ch, orPort(s.TLSPort, 443), s.handshake)
}

// handshake asks one address of id, as RFC 8737 §3 tells a CA to.
func (s *SelfTest) handshake(ctx context.Context, id acme.Identifier, ch acme.Challenge, addr netip.Addr) finding {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	server := net.JoinHostPort(addr.String(), strconv.Itoa(orPort(s.TLSPort, 443)))
	wrong := func(reached bool, err error) finding {
		return finding{reached: reached, err: fmt.Errorf("TLS handshake (ALPN %s) with %s: %w", alpnProtocol, server, err)}
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	tcp, err := dialer.DialContext(ctx, "tcp", server)
	if err != nil {
		return wrong(false, plain(err))
	}
	defer tcp.Close()
	conn := tls.Client(tcp, &tls.Config{
		ServerName: alpnServerName(id), NextProtos: []string{alpnProtocol}, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, // a self-signed certificate is what we look for; judgeALPN looks at it
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return wrong(true, errors.New(acme.Sanitize(err.Error())))
	}
	if err := judgeALPN(conn.ConnectionState(), id, ch.KeyAuthorization); err != nil {
		return wrong(true, err)
	}
	return finding{reached: true}
}

// judgeALPN says what is wrong with the answer to a handshake; nil if a CA would
// take it.
func judgeALPN(state tls.ConnectionState, id acme.Identifier, keyAuth string) error {
	if state.NegotiatedProtocol != alpnProtocol {
		return errors.New("another server answered: it does not speak " + alpnProtocol)
	}
	if len(state.PeerCertificates) == 0 {
		return errors.New("no certificate")
	}
	cert := state.PeerCertificates[0]
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(alpnExtension()) {
			continue
		}
		var got []byte
		if rest, err := asn1.Unmarshal(ext.Value, &got); err != nil || len(rest) > 0 || !ext.Critical {
			return errors.New("its acmeIdentifier extension is malformed")
		}
		if !bytes.Equal(got, alpnDigest(keyAuth)) {
			return errors.New("the certificate is that of another challenge or account")
		}
		if !onlyNames(cert, id) {
			return errors.New("the certificate is for other names")
		}
		return nil
	}
	return errors.New("the certificate has no acmeIdentifier extension")
}

// onlyNames reports whether id is all that cert names.
func onlyNames(cert *x509.Certificate, id acme.Identifier) bool {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	return len(names) == 1 && strings.EqualFold(names[0], id.Value)
}
