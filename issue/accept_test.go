package issue

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAcceptGoodChains(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		chain func(p *pki, w *Wanted) [][]byte
		above int // certificates published above the leaf
	}{
		{"leaf and intermediate", func(p *pki, w *Wanted) [][]byte { return ders(p.good(), p.middle) }, 1},
		{"root included is dropped", func(p *pki, w *Wanted) [][]byte { return ders(p.good(), p.middle, p.root) }, 1},
		{"intermediate first is repaired", func(p *pki, w *Wanted) [][]byte { return ders(p.middle, p.good()) }, 1},
		{"root, intermediate, leaf is repaired", func(p *pki, w *Wanted) [][]byte { return ders(p.root, p.middle, p.good()) }, 1},
		{"leaf of the root, root included", func(p *pki, w *Wanted) [][]byte {
			return ders(p.issue(p.leaf, p.key, p.root), p.root)
		}, 0},
		{"leaf of a trusted root, alone", func(p *pki, w *Wanted) [][]byte {
			w.Roots = pool(p.root)
			return ders(p.issue(p.leaf, p.key, p.root))
		}, 0},
		{"roots given", func(p *pki, w *Wanted) [][]byte {
			w.Roots = pool(p.root)
			return ders(p.good(), p.middle)
		}, 1},
		{"CA clock 59 minutes ahead", func(p *pki, w *Wanted) [][]byte {
			p.leaf.NotBefore = p.now.Add(59 * time.Minute)
			return ders(p.good(), p.middle)
		}, 1},
		{"common name of no importance", func(p *pki, w *Wanted) [][]byte {
			p.leaf.Subject.CommonName = "something else"
			return ders(p.good(), p.middle)
		}, 1},
		{"RSA intermediate", func(p *pki, w *Wanted) [][]byte {
			middle := p.issue(p.caTemplate("RSA"), rsaKey(t, 2048), p.root)
			return ders(p.issue(p.leaf, p.key, middle), middle)
		}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPKI(t)
			w := p.wanted()
			a, err := Accept(tt.chain(p, &w), w)
			if err != nil {
				t.Fatalf("refused: %v", err)
			}
			if got := bytes.Count(a.ChainPEM, []byte("BEGIN CERTIFICATE")); got != tt.above {
				t.Errorf("%d certificates above the leaf are published, want %d", got, tt.above)
			}
			block, rest := pem.Decode(a.CertPEM)
			if block == nil || len(rest) > 0 || !bytes.Equal(block.Bytes, a.Leaf.Raw) {
				t.Errorf("CertPEM is not the leaf, the whole leaf and nothing but the leaf")
			}
			if bytes.Contains(a.ChainPEM, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.root.cert.Raw})) {
				t.Errorf("the root is published")
			}
		})
	}
}

// A badCert is a chain that must not be accepted, and words of the reason.
type badCert struct {
	name  string
	chain func(p *pki, w *Wanted) [][]byte
	want  string
}

// spoilt is a chain whose leaf's template was changed.
func spoilt(change func(leaf *x509.Certificate)) func(p *pki, w *Wanted) [][]byte {
	return func(p *pki, w *Wanted) [][]byte {
		change(p.leaf)
		return ders(p.good(), p.middle)
	}
}

// under is a good leaf below an intermediate whose template was changed.
func under(change func(middle *x509.Certificate)) func(p *pki, w *Wanted) [][]byte {
	return func(p *pki, w *Wanted) [][]byte {
		template := p.caTemplate("Other Middle")
		change(template)
		middle := p.issue(template, ecKey(p.t, elliptic.P256()), p.root)
		return ders(p.issue(p.leaf, p.key, middle), middle)
	}
}

func badLeaves() []badCert {
	return []badCert{
		{"another key", func(p *pki, w *Wanted) [][]byte {
			return ders(p.issue(p.leaf, ecKey(p.t, elliptic.P256()), p.middle), p.middle)
		}, "another key"},
		{"a name missing", spoilt(func(l *x509.Certificate) { l.DNSNames = l.DNSNames[:1] }), "lacks the name b.example.com"},
		{"an address missing", spoilt(func(l *x509.Certificate) { l.IPAddresses = nil }), "lacks the name 192.0.2.7"},
		{"a name too many", spoilt(func(l *x509.Certificate) { l.DNSNames = append(l.DNSNames, "evil.example") }), "evil.example, which was not wanted"},
		{"an address too many", spoilt(func(l *x509.Certificate) { l.IPAddresses = append(l.IPAddresses, net.IP{10, 0, 0, 1}) }), "10.0.0.1, which was not wanted"},
		{"a wildcard instead", spoilt(func(l *x509.Certificate) { l.DNSNames = []string{"*.example.com"} }), "lacks the name"},
		{"a name twice", spoilt(func(l *x509.Certificate) { l.DNSNames = append(l.DNSNames, "a.example.com") }), "a name twice"},
		{"common name only", spoilt(func(l *x509.Certificate) {
			l.Subject.CommonName, l.DNSNames, l.IPAddresses = "a.example.com", nil, nil
		}), "lacks the name"},
		{"10,000 names", spoilt(func(l *x509.Certificate) {
			for i := range 2500 {
				l.DNSNames = append(l.DNSNames, fmt.Sprintf("n%d.example.com", i))
			}
		}), "names, not the 3 wanted"},
		{"an unprintable name", spoilt(func(l *x509.Certificate) {
			l.DNSNames = append(l.DNSNames, "\x1b[31m"+strings.Repeat("x", 4000))
		}), "not wanted"},
		{"an e-mail address", spoilt(func(l *x509.Certificate) { l.EmailAddresses = []string{"a@example.com"} }), "neither DNS names nor IP"},
		{"a URI", spoilt(func(l *x509.Certificate) { l.URIs = []*url.URL{{Scheme: "https", Host: "a.example.com"}} }), "neither DNS names nor IP"},
		{"a registered ID", func(p *pki, w *Wanted) [][]byte {
			w.Names = []string{"a.example.com"}
			p.leaf.DNSNames, p.leaf.IPAddresses = nil, nil
			p.leaf.ExtraExtensions = []pkix.Extension{sanExtension(p.t, 8, []byte{42, 3})}
			return ders(p.good(), p.middle)
		}, "neither DNS names nor IP"},
		{"expired", spoilt(func(l *x509.Certificate) {
			l.NotBefore, l.NotAfter = l.NotBefore.AddDate(-1, 0, 0), time.Now().Add(-time.Second)
		}), "expired at"},
		{"of tomorrow", spoilt(func(l *x509.Certificate) { l.NotBefore = time.Now().Add(24 * time.Hour) }), "is not valid before"},
		{"end before beginning", spoilt(func(l *x509.Certificate) { l.NotBefore, l.NotAfter = l.NotAfter, l.NotBefore }), "ends before it begins"},
		{"a CA", spoilt(func(l *x509.Certificate) { l.IsCA = true }), "is a CA certificate"},
		{"no purpose", spoilt(func(l *x509.Certificate) { l.ExtKeyUsage = nil }), "no serverAuth"},
		{"for clients", spoilt(func(l *x509.Certificate) { l.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), "no serverAuth"},
		{"a precertificate", spoilt(func(l *x509.Certificate) {
			poison := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}
			l.ExtraExtensions = []pkix.Extension{{Id: poison, Critical: true, Value: []byte{5, 0}}}
		}), "critical extension"},
		{"a weak RSA key", func(p *pki, w *Wanted) [][]byte {
			p.key = rsaKey(p.t, 1024)
			w.Key = p.key.Public()
			return ders(p.good(), p.middle)
		}, "RSA key of 1024 bits"},
		{"a SHA-1 signature", func(p *pki, w *Wanted) [][]byte {
			middle := p.issue(p.caTemplate("Old"), rsaKey(p.t, 2048), p.root)
			p.leaf.SignatureAlgorithm = x509.SHA1WithRSA
			return ders(p.issue(p.leaf, p.key, middle), middle)
		}, "weak signature (SHA1-RSA)"},
		{"a weak curve", func(p *pki, w *Wanted) [][]byte {
			p.key = ecKey(p.t, elliptic.P224())
			w.Key = p.key.Public()
			return ders(p.good(), p.middle)
		}, "weak curve"},
	}
}

func badChains() []badCert {
	return []badCert{
		{"nothing", func(p *pki, w *Wanted) [][]byte { return nil }, "empty"},
		{"junk", func(p *pki, w *Wanted) [][]byte { return [][]byte{[]byte("junk")} }, "certificate 1 of the chain"},
		{"junk behind", func(p *pki, w *Wanted) [][]byte { return append(ders(p.good()), []byte("junk")) }, "certificate 2 of the chain"},
		{"11 certificates", func(p *pki, w *Wanted) [][]byte { return slices.Repeat(ders(p.good()), 11) }, "11 certificates, more than 10"},
		{"a huge certificate", func(p *pki, w *Wanted) [][]byte { return [][]byte{make([]byte, maxDER+1)} }, "bytes, more than"},
		{"leaf twice", func(p *pki, w *Wanted) [][]byte {
			leaf := p.good()
			return ders(leaf, leaf, p.middle)
		}, "are the same"},
		{"two leaves", func(p *pki, w *Wanted) [][]byte {
			first, other := p.good(), *p.leaf
			other.SerialNumber = nil
			return ders(first, p.issue(&other, p.key, p.middle), p.middle)
		}, "two certificates of the chain are for our key"},
		{"serial number twice", func(p *pki, w *Wanted) [][]byte {
			p.leaf.SerialNumber = big.NewInt(99)
			leaf, other := p.good(), *p.leaf
			return ders(leaf, p.issue(&other, ecKey(p.t, elliptic.P256()), p.middle), p.middle)
		}, "same issuer and serial number"},
		{"leaf alone", func(p *pki, w *Wanted) [][]byte { return ders(p.good()) }, "no intermediate"},
		{"leaf alone, root known", func(p *pki, w *Wanted) [][]byte {
			w.Roots = pool(p.root)
			return ders(p.good())
		}, "trusted root"},
		{"leaf and root, no intermediate", func(p *pki, w *Wanted) [][]byte { return ders(p.good(), p.root) }, "do not belong"},
		{"an unrelated certificate", func(p *pki, w *Wanted) [][]byte { return ders(p.good(), p.middle, newPKI(p.t).root) }, "do not belong"},
		{"an unrelated intermediate", func(p *pki, w *Wanted) [][]byte { return ders(p.good(), newPKI(p.t).middle) }, "do not belong"},
		{"another root", func(p *pki, w *Wanted) [][]byte {
			w.Roots = pool(newPKI(p.t).root)
			return ders(p.good(), p.middle)
		}, "trusted root"},
		{"self-signed", func(p *pki, w *Wanted) [][]byte { return ders(p.selfSigned(p.leaf, p.key)) }, "no intermediate"},
		{"a circle", circle, "circle"},
		{"two ways to order it", func(p *pki, w *Wanted) [][]byte {
			twin := p.issue(p.caTemplate("Middle"), p.middle.key, p.root)
			return ders(p.middle, p.good(), twin, p.root)
		}, "more than one way"},
		{"issuer is no CA", under(func(m *x509.Certificate) { m.IsCA, m.KeyUsage = false, 0 }), "do not belong"},
		{"issuer expired", under(func(m *x509.Certificate) { m.NotAfter = time.Now().Add(-time.Second) }), "issuer 1 of the chain expired"},
		{"issuer with a SHA-1 signature", func(p *pki, w *Wanted) [][]byte {
			root := p.selfSigned(p.caTemplate("Old Root"), rsaKey(p.t, 2048))
			template := p.caTemplate("Old Middle")
			template.SignatureAlgorithm = x509.SHA1WithRSA
			middle := p.issue(template, ecKey(p.t, elliptic.P256()), root)
			return ders(p.issue(p.leaf, p.key, middle), middle)
		}, "weak signature (SHA1-RSA)"},
		{"issuer below a shorter path", func(p *pki, w *Wanted) [][]byte {
			template := p.caTemplate("Short")
			template.MaxPathLenZero = true
			short := p.issue(template, ecKey(p.t, elliptic.P256()), p.root)
			middle := p.issue(p.caTemplate("Below"), ecKey(p.t, elliptic.P256()), short)
			return ders(p.issue(p.leaf, p.key, middle), middle, short, p.root)
		}, "path this long"},
		{"chain goes on above the root", func(p *pki, w *Wanted) [][]byte {
			cross := p.issue(p.caTemplate("Root"), p.root.key, p.middle)
			return ders(p.good(), p.middle, p.root, cross)
		}, "circle"},
		{"issuer for other names", under(func(m *x509.Certificate) {
			m.PermittedDNSDomains, m.PermittedDNSDomainsCritical = []string{"example.net"}, true
		}), "constraints"},
		{"issuer for clients", under(func(m *x509.Certificate) { m.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), "not for TLS servers"},
		{"weak issuer", func(p *pki, w *Wanted) [][]byte {
			middle := p.issue(p.caTemplate("Weak"), rsaKey(p.t, 1024), p.root)
			return ders(p.issue(p.leaf, p.key, middle), middle)
		}, "certificate 2 of the chain has an RSA key of 1024 bits"},
	}
}

// circle is a leaf below two intermediates that signed each other.
func circle(p *pki, w *Wanted) [][]byte {
	b := pair{p.caTemplate("B"), ecKey(p.t, elliptic.P256())}
	a := p.issue(p.caTemplate("A"), ecKey(p.t, elliptic.P256()), b)
	b = p.issue(p.caTemplate("B"), b.key, a)
	return ders(p.issue(p.leaf, p.key, a), a, b)
}

func TestAcceptRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range slices.Concat(badLeaves(), badChains()) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPKI(t)
			w := p.wanted()
			a, err := Accept(tt.chain(p, &w), w)
			if err == nil {
				t.Fatalf("a certificate with %v was accepted", a.Leaf.DNSNames)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the reason is %q, want it to say %q", err, tt.want)
			}
			if len(err.Error()) > 300 || strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("the reason is not fit to print: %q", err)
			}
		})
	}
}

// FuzzAccept takes a PEM chain apart and wants Accept to end without a panic,
// and to publish nothing but what was wanted.
func FuzzAccept(f *testing.F) {
	p := newPKI(f)
	w := p.wanted()
	leaf := p.good()
	for _, chain := range [][][]byte{ders(leaf, p.middle), ders(p.middle, leaf), ders(leaf), ders(p.root, p.root), circle(p, &w)} {
		var text []byte
		for _, der := range chain {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		}
		f.Add(text)
	}
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var chain [][]byte
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			chain = append(chain, block.Bytes)
		}
		a, err := Accept(chain, w)
		if (a == nil) == (err == nil) {
			t.Fatalf("got %v and %v", a, err)
		}
		if a == nil {
			return
		}
		if again, err := Accept(chain, w); err != nil || !bytes.Equal(again.CertPEM, a.CertPEM) {
			t.Errorf("accepted once, and then not the same: %v", err)
		}
		if !bytes.Equal(a.Leaf.RawSubjectPublicKeyInfo, leaf.cert.RawSubjectPublicKeyInfo) {
			t.Errorf("accepted for another key")
		}
	})
}

func pool(roots ...pair) *x509.CertPool {
	p := x509.NewCertPool()
	for _, r := range roots {
		p.AddCert(r.cert)
	}
	return p
}
