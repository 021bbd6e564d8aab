package issue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"certd/acme"
	"certd/acme/acmetest"
)

// certificates parses PEM.
func certificates(t testing.TB, data []byte) []*x509.Certificate {
	t.Helper()
	var certs []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, cert)
	}
	return certs
}

// topIssuer is the root that cert's chain leads to.
func topIssuer(t testing.TB, cert *Certificate) string {
	t.Helper()
	chain := certificates(t, cert.ChainPEM)
	return chain[len(chain)-1].Issuer.CommonName
}

func sha(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// coloned is a fingerprint as openssl prints it.
func coloned(sum string) string {
	var parts []string
	for i := 0; i < len(sum); i += 2 {
		parts = append(parts, strings.ToUpper(sum[i:i+2]))
	}
	return strings.Join(parts, ":")
}

func TestPreferredChain(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{AlternateRoots: 2, ChainLength: 3, AlwaysValid: true})
	roots := certificates(t, b.ca.IssuerRootsPEM())
	first := b.must(b.request("a.example.com"))
	middle := certificates(t, first.ChainPEM)
	tests := []struct {
		name, wish string
		root       int // the chain leads to this one
		downloads  int
		notice     []string // words of it
	}{
		{"none wished for", "", 0, 1, nil},
		{"the first's root", roots[0].Subject.CommonName, 0, 1, nil},
		{"an alternate's root", roots[2].Subject.CommonName, 2, 3, nil},
		{"an issuer within the first chain", middle[0].Issuer.CommonName, 0, 3, nil},
		{"fingerprint of an issuer", sha(middle[1]), 0, 1, nil},
		{"fingerprint of a root that was not sent", coloned(sha(roots[1])), 1, 3, nil},
		{"another case", strings.ToUpper(roots[1].Subject.CommonName), 0, 3, []string{"no chain", roots[0].Subject.CommonName, roots[2].Subject.CommonName}},
		{"nobody's name", "Nobody Root X1", 0, 3, []string{`no chain "Nobody Root X1", its first is used`}},
		{"fingerprint of the leaf", sha(first.Leaf), 0, 3, []string{"no chain"}},
	}
	for _, tt := range tests {
		b.ca.ResetRequests()
		req := b.request("a.example.com")
		req.Chain = tt.wish
		cert := b.must(req)
		if got := topIssuer(t, cert); got != roots[tt.root].Subject.CommonName {
			t.Errorf("%s: the chain leads to %s, want %s", tt.name, got, roots[tt.root].Subject.CommonName)
		}
		if (cert.Notice == "") != (tt.notice == nil) {
			t.Errorf("%s: the notice is %q, want one with %q", tt.name, cert.Notice, tt.notice)
		}
		for _, words := range tt.notice {
			if !strings.Contains(cert.Notice, words) {
				t.Errorf("%s: the notice %q does not say %q", tt.name, cert.Notice, words)
			}
		}
		if n := b.count("cert"); n != tt.downloads {
			t.Errorf("%s: %d downloads, want %d", tt.name, n, tt.downloads)
		}
	}
}

// The answers to requests for alternates are replaced by rubbish, another
// certificate, and errors: the first chain is used, and the notice says why.
func TestBadAlternates(t *testing.T) {
	t.Parallel()
	stranger := newPKI(t)
	leaf := stranger.issue(stranger.leaf, stranger.key, stranger.middle)
	strange := append(encode(leaf.cert), encode(stranger.middle.cert)...)
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"an error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusNotFound) }, "404"},
		{"rubbish", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/pem-certificate-chain")
			fmt.Fprint(w, "rubbish")
		}, "certificate"},
		{"another's certificate", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/pem-certificate-chain")
			_, _ = w.Write(strange)
		}, "is not accepted: the certificate is for another key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, acmetest.Options{AlternateRoots: 1, AlwaysValid: true, Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.Contains(r.URL.Path, "/alternate/") {
						tt.answer(w, r)
						return
					}
					next.ServeHTTP(w, r)
				})
			}})
			roots := certificates(t, b.ca.IssuerRootsPEM())
			req := b.request("a.example.com")
			req.Chain = roots[1].Subject.CommonName
			cert := b.must(req)
			if got := topIssuer(t, cert); got != roots[0].Subject.CommonName {
				t.Errorf("the chain leads to %s, want the first's root", got)
			}
			if !strings.Contains(cert.Notice, "not looked at") || !strings.Contains(cert.Notice, tt.want) {
				t.Errorf("the notice is %q, want one that says %q", cert.Notice, tt.want)
			}
		})
	}
}

// A run that is stopped while it looks at alternates goes on with its order.
func TestStoppedAtAlternates(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := newBench(t, acmetest.Options{AlternateRoots: 1, AlwaysValid: true, Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/alternate/") {
				cancel()
			}
			next.ServeHTTP(w, r)
		})
	}})
	roots := certificates(t, b.ca.IssuerRootsPEM())
	req := b.request("a.example.com")
	req.Chain = roots[1].Subject.CommonName
	if cert, err := b.issuer().Issue(ctx, req); err != nil && acme.ClassOf(err) != acme.ClassTransient {
		t.Errorf("stopped: %v, want a transient problem", err)
	} else if err == nil && topIssuer(t, cert) != req.Chain {
		t.Errorf("stopped too late, and yet the chain leads to %s", topIssuer(t, cert))
	}
	b.goOn(req, 0)
}

// The second alternate is the first chain without its last issuer.
func TestSmallestChain(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{AlternateRoots: 2, ChainLength: 3, AlwaysValid: true, Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/alternate/2") {
				next.ServeHTTP(w, r)
				return
			}
			answer := httptest.NewRecorder()
			next.ServeHTTP(answer, r)
			maps.Copy(w.Header(), answer.Header())
			w.Header().Del("Content-Length")
			body := answer.Body.Bytes()
			_, _ = w.Write(body[:bytes.LastIndex(body, []byte("-----BEGIN"))])
		})
	}})
	req := b.request("a.example.com")
	req.Chain, req.Roots = Smallest, nil
	cert := b.must(req)
	if n := len(certificates(t, cert.ChainPEM)); n != 2 || cert.Notice != "" {
		t.Errorf("the chain has %d issuers (notice %q), want the one with 2", n, cert.Notice)
	}
}

// TestFirstChainIsNotAccepted: the certificate is right and what the CA sends with it
// is not, such as an issuer that has expired; another chain that it offers will do.
// For another certificate no other chain is asked for.
func TestFirstChainIsNotAccepted(t *testing.T) {
	t.Parallel()
	stranger := newPKI(t)
	leaf := stranger.issue(stranger.leaf, stranger.key, stranger.middle)
	foreign := func([]byte) []byte { return append(encode(leaf.cert), encode(stranger.middle.cert)...) }
	spoilt := func(body []byte) []byte { // the leaf, and an issuer that is none
		block, _ := pem.Decode(body)
		return append(pem.EncodeToMemory(block), encode(stranger.middle.cert)...)
	}
	for _, tt := range []struct {
		name        string
		first       func([]byte) []byte
		alternates  func([]byte) []byte // nil: as they are
		accepted    bool
		downloads   int
		wordsOfThat string
	}{
		{"another chain is sound", spoilt, nil, true, 2, "first chain is not accepted"},
		{"none is", spoilt, spoilt, false, 3, "do not belong to it"},
		{"it is for another key", foreign, nil, false, 1, "for another key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, acmetest.Options{AlternateRoots: 2, AlwaysValid: true, Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					change := tt.first
					if strings.Contains(r.URL.Path, "/alternate/") {
						change = tt.alternates
					}
					answer := httptest.NewRecorder()
					next.ServeHTTP(answer, r)
					body := answer.Body.Bytes()
					maps.Copy(w.Header(), answer.Header())
					if strings.Contains(r.URL.Path, "/certZ/") && change != nil && answer.Code == http.StatusOK {
						w.Header().Del("Content-Length")
						body = change(body)
					}
					w.WriteHeader(answer.Code)
					_, _ = w.Write(body)
				})
			}})
			cert, err := b.issuer().Issue(t.Context(), b.request("a.example.com"))
			if (err == nil) != tt.accepted {
				t.Fatalf("the error is %v, want a certificate: %v", err, tt.accepted)
			}
			said := fmt.Sprint(err)
			if err == nil {
				said = cert.Notice
				if got, want := topIssuer(t, cert), certificates(t, b.ca.IssuerRootsPEM())[1].Subject.CommonName; got != want {
					t.Errorf("the chain leads to %s, want %s", got, want)
				}
			}
			if !strings.Contains(said, tt.wordsOfThat) || b.count("cert") != tt.downloads {
				t.Errorf("it says %q after %d downloads; want %q after %d", said, b.count("cert"), tt.wordsOfThat, tt.downloads)
			}
		})
	}
}
