package issue

import (
	"context"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
)

// Every misbehaviour of a CA ends in a typed error of the right class, or in a
// certificate that is right all the same. What was begun is tidied up.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, fault := range acmetest.Faults() {
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel()
			f := newFaulty(t, fault)
			cert, err := f.attempt(t.Context())
			if err != nil {
				f.checkError(err)
				if !fault.Terminal && !fault.Optional {
					t.Errorf("no certificate from a CA of which the table says: %s: %v", fault.Doc, err)
				}
			} else {
				f.checkCertificate(cert)
				if fault.Terminal && !overcome(fault) {
					t.Errorf("a certificate in spite of: %s", fault.Doc)
				}
			}
			if left := f.solver.left(); len(left) > 0 {
				t.Errorf("left behind for %v", left)
			}
		})
	}
}

// overcome reports whether a request may fail without harm to the issuance: the
// CA is asked afterwards whether it was acted upon.
func overcome(f acmetest.Fault) bool {
	return f.Operation == "nonce" || f.Operation == "challenge" || f.Operation == "finalize"
}

// A misbehaviour that passes costs one more run, and at most one more order.
func TestRecoveryFromFaults(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("250 CAs take a while")
	}
	for _, fault := range acmetest.Faults() {
		group, _, _ := strings.Cut(fault.Name, "/")
		if fault.Operation == "" || fault.Endless || slices.Contains([]string{"url", "redirect", "nonce", "text"}, group) {
			continue // in what way an answer is of no use makes no difference here
		}
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel()
			f := newFaulty(t, fault.Nth(1))
			cert, err := f.attempt(t.Context())
			if err != nil {
				f.checkError(err)
				cert, err = f.attempt(t.Context())
			}
			if err != nil {
				t.Fatalf("no certificate though the CA works again: %v", err)
			}
			f.checkCertificate(cert)
			if open, _ := f.disk.open(); len(f.disk.orders) != 1 || open.URL != cert.Open.URL || f.disk.intent != nil {
				t.Errorf("the journal has %v and %v, want the certificate's order alone", f.disk.orders, f.disk.intent)
			}
			if n := newOrders(f.ca.Requests()); n > 2 {
				t.Errorf("%d orders, want at most 2", n)
			}
		})
	}
}

// checkCertificate verifies as a TLS client does, without the help of Accept.
func (f *faulty) checkCertificate(cert *Certificate) {
	f.t.Helper()
	key, err := f.disk.LoadKey(cert.KeyID)
	if err != nil {
		f.t.Fatalf("the certificate's key: %v", err)
	}
	if _, err := tls.X509KeyPair(append(cert.CertPEM, cert.ChainPEM...), keyPEM(f.t, key)); err != nil {
		f.t.Errorf("certificate and key don't fit: %v", err)
	}
	middle := x509.NewCertPool()
	middle.AppendCertsFromPEM(cert.ChainPEM)
	for _, name := range []string{"a.example.com", "b.example.com"} {
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: f.roots, Intermediates: middle}); err != nil {
			f.t.Errorf("the certificate is no good: %v", err)
		}
	}
	if len(cert.Leaf.DNSNames) != 2 {
		f.t.Errorf("the certificate is for %v", cert.Leaf.DNSNames)
	}
}

// A faulty is a bench without an account: the CA may not even give that.
type faulty struct {
	*bench
	fault acmetest.Fault
}

func newFaulty(t *testing.T, fault acmetest.Fault) *faulty {
	b := &bench{t: t, ca: acmetest.StartFaulty(t, fault), account: ecKey(t, elliptic.P256()), solver: newSolver(), disk: newDisk()}
	b.trust()
	return &faulty{b, fault}
}

// attempt registers and issues, within deadlines that are short for a CA that stalls.
func (f *faulty) attempt(ctx context.Context) (*Certificate, error) {
	f.timeout = 10 * time.Second
	limit := time.Minute
	if f.fault.Endless {
		f.timeout, limit = 500*time.Millisecond, 3*time.Second
	}
	if f.fault.Endless && f.fault.Class == acme.ClassWait { // it answers, and a busy machine must not look like silence
		f.timeout, limit = 10*time.Second, 10*time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	issuer := f.issuer()
	if _, err := issuer.Client.Register(ctx, nil, nil); err != nil {
		return nil, err
	}
	return issuer.Issue(ctx, f.disk.resume(f.request("a.example.com", "b.example.com")))
}

func (f *faulty) checkError(err error) {
	f.t.Helper()
	p, ok := errors.AsType[*acme.Problem](err)
	if !ok {
		f.t.Fatalf("the error is no Problem: %v", err)
	}
	if p.Class != f.fault.Class && f.fault.Class != "" {
		f.t.Errorf("the error is %s, want %s: %v", p.Class, f.fault.Class, err)
	}
	if text := err.Error(); len(text) > 4096 || acme.Sanitize(p.Error()) == "" {
		f.t.Errorf("the error is not fit to print: %q", text)
	}
}
