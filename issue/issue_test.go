package issue

import (
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
)

func TestIssue(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		ca    acmetest.Options
		names []string
	}{
		{"one name", acmetest.Options{}, []string{"a.example.com"}},
		{"three names", acmetest.Options{}, []string{"c.example.com", "a.example.com", "b.example.com"}},
		{"an IP address", acmetest.Options{}, []string{"127.0.0.1"}},
		{"an IP address and a name", acmetest.Options{}, []string{"127.0.0.1", "a.example.com"}},
		{"strict", acmetest.Options{Strict: true}, []string{"a.example.com"}},
		{"rejected nonces", acmetest.Options{NonceReject: 30}, []string{"a.example.com", "b.example.com"}},
		{"three intermediates", acmetest.Options{ChainLength: 3}, []string{"a.example.com"}},
		{"RSA intermediates", acmetest.Options{KeyAlg: "rsa"}, []string{"a.example.com"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, tt.ca)
			cert := b.must(b.request(tt.names...))
			if err := checkNames(cert.Leaf, tt.names); err != nil {
				t.Errorf("the certificate is not for %v: %v", tt.names, err)
			}
			if cert.CleanUp != nil || len(b.solver.left()) > 0 {
				t.Errorf("left after success: %v, %v", b.solver.left(), cert.CleanUp)
			}
			open, ok := b.disk.open()
			if !ok || open.URL != cert.Open.URL || open.KeyID != cert.KeyID || open.Account != b.kid || open.Created.IsZero() {
				t.Errorf("the journal has %+v, want the finished order of %+v", open, cert.Open)
			}
			if n := b.count("order"); n != 1 && tt.ca.NonceReject == 0 {
				t.Errorf("%d newOrders, want 1", n)
			}
		})
	}
}

// The steps before anything is durable, or sent, are what makes a crash harmless.
func TestIssueWritesAndRequestsInOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	var mu sync.Mutex
	var trace []string
	b.observe = func(x acme.Exchange) {
		mu.Lock()
		defer mu.Unlock()
		trace = append(trace, x.Operation)
	}
	b.disk.before = func(operation string) error {
		mu.Lock()
		defer mu.Unlock()
		trace = append(trace, "write "+operation)
		return nil
	}
	b.must(b.request("a.example.com"))
	want := []string{"write intent", "directory", "nonce", "order", "write order", "authz", "challenge", "authz",
		"write key", "write order with key", "finalize", "order", "cert"}
	if got := slices.Compact(trace); !slices.Equal(got, want) {
		t.Errorf("did    %v\nwanted %v", got, want)
	}
}

func TestIssueOfManyNamesAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	var names []string
	for i := range 40 {
		names = append(names, "n"+string(rune('a'+i%26))+string(rune('a'+i/26))+".example.com")
	}
	cert := b.must(b.request(names...))
	if len(cert.Leaf.DNSNames) != len(names) {
		t.Errorf("%d names, want %d", len(cert.Leaf.DNSNames), len(names))
	}
	// All are presented before any is waited for.
	if i := slices.Index(b.solver.log, "wait"); i != len(names) {
		t.Errorf("the self-tests began after %d presents, want %d", i, len(names))
	}
}

func TestAuthorizationsThatAreValidAreNotProvenAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{AuthzReuse: 100})
	first := b.must(b.request("a.example.com", "b.example.com"))
	if err := b.disk.CloseOrder(first.Open); err != nil {
		t.Fatal(err)
	}
	presented := len(b.solver.log)
	b.ca.ResetRequests()
	second := b.must(b.request("a.example.com", "b.example.com"))
	if n := len(b.solver.log); n != presented {
		t.Errorf("the solver was used again: %v", b.solver.log[presented:])
	}
	if n := b.count("challenge"); n != 0 {
		t.Errorf("%d challenges were answered, want 0", n)
	}
	if second.KeyID == first.KeyID {
		t.Errorf("the key was used twice without being asked to")
	}
}

func TestKeyIsUsedAgainIfAskedTo(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	first := b.must(b.request("a.example.com"))
	if err := b.disk.CloseOrder(first.Open); err != nil {
		t.Fatal(err)
	}
	req := b.request("a.example.com")
	req.KeyID = first.KeyID
	if second := b.must(req); second.KeyID != first.KeyID || second.Leaf.SerialNumber.Cmp(first.Leaf.SerialNumber) == 0 {
		t.Errorf("key %s and serial %v, want a new certificate for key %s", second.KeyID, second.Leaf.SerialNumber, first.KeyID)
	}
}

func TestProfile(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{Profiles: map[string]time.Duration{"short": time.Hour, "long": 48 * time.Hour}})
	req := b.request("a.example.com")
	req.Open.Profile = "short"
	cert := b.must(req)
	if life := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore); life > 2*time.Hour {
		t.Errorf("the certificate lives for %v, want the profile's hour", life)
	}
	req.Open.Profile = "none such"
	_, err := b.issuer().Issue(t.Context(), req)
	if acme.ClassOf(err) != acme.ClassOperator {
		t.Errorf("an unknown profile is %s (%v), want operator", acme.ClassOf(err), err)
	}
	if b.disk.intent != nil {
		t.Errorf("the intent of an order that was never sent is still journaled")
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	var steps []string
	issuer := b.issuer()
	issuer.Progress = func(s Step) { steps = append(steps, s.Step+" "+s.Name) } // the race detector watches
	if _, err := issuer.Issue(t.Context(), b.request("a.example.com", "b.example.com")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"order a.example.com", "authorize a.example.com", "authorize b.example.com",
		"self-test b.example.com", "validate a.example.com", "finalize a.example.com", "download a.example.com"} {
		if !slices.Contains(steps, want) {
			t.Errorf("nobody was told of %q, only of %v", want, steps)
		}
	}
}

func TestCSR(t *testing.T) {
	t.Parallel()
	tests := []struct {
		key  string
		make func(t testing.TB) crypto.Signer
		want x509.SignatureAlgorithm
	}{
		{"P-256", func(t testing.TB) crypto.Signer { return ecKey(t, elliptic.P256()) }, x509.ECDSAWithSHA256},
		{"P-384", func(t testing.TB) crypto.Signer { return ecKey(t, elliptic.P384()) }, x509.ECDSAWithSHA384},
		{"P-521", func(t testing.TB) crypto.Signer { return ecKey(t, elliptic.P521()) }, x509.ECDSAWithSHA512},
		{"RSA", func(t testing.TB) crypto.Signer { return rsaKey(t, 2048) }, x509.SHA256WithRSA},
		{"P-224", func(t testing.TB) crypto.Signer { return ecKey(t, elliptic.P224()) }, 0},
	}
	for _, tt := range tests {
		t.Run(tt.key, func(t *testing.T) {
			t.Parallel()
			der, err := newCSR(tt.make(t), []string{"*.example.com", "2001:db8::1", "a.example.com"}, true)
			if tt.want == 0 {
				if err == nil {
					t.Fatalf("a request with a key on %s was made", tt.key)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			csr, err := x509.ParseCertificateRequest(der)
			if err != nil || csr.CheckSignature() != nil {
				t.Fatalf("the request does not parse or verify: %v", err)
			}
			if csr.SignatureAlgorithm != tt.want {
				t.Errorf("signed with %v, want %v", csr.SignatureAlgorithm, tt.want)
			}
			if csr.Subject.String() != "" {
				t.Errorf("the subject is %q, want none", csr.Subject)
			}
			if !slices.Equal(csr.DNSNames, []string{"*.example.com", "a.example.com"}) || len(csr.IPAddresses) != 1 {
				t.Errorf("names %v %v", csr.DNSNames, csr.IPAddresses)
			}
			staple := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}
			var features []int
			for _, ext := range csr.Extensions {
				if ext.Id.Equal(staple) {
					if _, err := asn1.Unmarshal(ext.Value, &features); err != nil {
						t.Errorf("TLS feature: %v", err)
					}
				}
			}
			if !slices.Equal(features, []int{5}) {
				t.Errorf("TLS features %v, want status_request (5)", features)
			}
		})
	}
}

func TestWildcardWithoutDNS(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	_, err := b.issuer().Issue(t.Context(), b.request("*.example.com", "a.example.com"))
	if acme.ClassOf(err) != acme.ClassOperator || !strings.Contains(err.Error(), "*.example.com") ||
		!strings.Contains(err.Error(), "dns-01") || !strings.Contains(err.Error(), "certd is set up for http-01") {
		t.Errorf("the error is %s: %v", acme.ClassOf(err), err)
	}
	if _, ok := b.disk.open(); ok {
		t.Errorf("the order that can't go on is still journaled")
	}
	if len(b.solver.log) > 0 {
		t.Errorf("the solver was used in vain: %v", b.solver.log)
	}
}
