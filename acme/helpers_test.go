package acme_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"certd/acme"
)

// testCA is what Pebble and the scripted CA have in common.
type testCA interface {
	URL() string
	RootsPEM() []byte
}

// newKey returns a P-256 key.
func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newClient returns a client of ca; edit changes its options.
func newClient(t testing.TB, ca testCA, edit func(*acme.Options)) *acme.Client {
	t.Helper()
	o := acme.Options{Name: "test", Directory: ca.URL(), Key: newKey(t), RootsPEM: ca.RootsPEM(), UserAgent: "certd/test"}
	if edit != nil {
		edit(&o)
	}
	c, err := acme.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// registered is newClient with a new account.
func registered(t testing.TB, ca testCA) *acme.Client {
	t.Helper()
	c := newClient(t, ca, nil)
	if _, err := c.Register(t.Context(), nil, nil); err != nil {
		t.Fatalf("register: %v", err)
	}
	return c
}

// a responder answers http-01 challenges.
type responder struct {
	mu     sync.Mutex
	tokens map[string]string // guarded by mu
}

// startResponder serves challenges on 127.0.0.1:port until the test ends.
func startResponder(t testing.TB, port int) *responder {
	t.Helper()
	r := &responder{tokens: map[string]string{}}
	s := &httptest.Server{Listener: listen(t, port), Config: &http.Server{Handler: r}}
	s.Start()
	t.Cleanup(s.Close)
	return r
}

func (r *responder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	keyAuth, ok := r.tokens[strings.TrimPrefix(req.URL.Path, "/.well-known/acme-challenge/")]
	if !ok {
		http.NotFound(w, req)
		return
	}
	io.WriteString(w, keyAuth)
}

// present makes the answer to ch visible. A nil responder is for CAs that do not look.
func (r *responder) present(ch acme.Challenge) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens[ch.Token] = ch.KeyAuthorization
}

// obtain gets a certificate as package issue does, but without judging it.
func obtain(ctx context.Context, c *acme.Client, r *responder, spec acme.OrderSpec) (*acme.CertificateChain, *acme.Order, error) {
	o, err := c.NewOrder(ctx, spec)
	if err != nil {
		return nil, nil, err
	}
	for _, url := range o.Authorizations {
		if err := validate(ctx, c, r, url); err != nil {
			return nil, o, err
		}
	}
	o, err = c.WaitOrder(ctx, o.URL, func(o *acme.Order) bool { return o.Status != acme.StatusPending })
	if err != nil {
		return nil, nil, err
	}
	if o.Status == acme.StatusReady {
		csr, err := request(spec.Identifiers)
		if err != nil {
			return nil, o, err
		}
		if o, err = c.Finalize(ctx, o, csr); err != nil {
			return nil, nil, err
		}
	}
	o, err = c.WaitOrder(ctx, o.URL, func(o *acme.Order) bool { return o.Status == acme.StatusValid })
	if err != nil {
		return nil, nil, err
	}
	chain, err := c.Certificate(ctx, o.Certificate)
	return chain, o, err
}

// validate proves one authorization by http-01.
func validate(ctx context.Context, c *acme.Client, r *responder, url string) error {
	z, err := c.Authorization(ctx, url)
	if err != nil || z.Status == acme.StatusValid {
		return err
	}
	for _, ch := range z.Challenges {
		if ch.Type != "http-01" {
			continue
		}
		if ch.KeyAuthorization == "" {
			continue
		}
		r.present(ch)
		if err := c.Answer(ctx, ch); err != nil {
			return err
		}
		_, err := c.WaitAuthorization(ctx, url)
		return err
	}
	return &acme.Problem{CA: "test", Operation: "authz", Class: acme.ClassOperator, Detail: "no usable http-01 challenge"}
}

// request returns a CSR with a new key for these names.
func request(ids []acme.Identifier) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return requestWith(key, ids)
}

// requestWith returns a CSR with this key for these names.
func requestWith(key crypto.Signer, ids []acme.Identifier) ([]byte, error) {
	template := &x509.CertificateRequest{}
	for _, id := range ids {
		template.DNSNames = append(template.DNSNames, id.Value)
	}
	return x509.CreateCertificateRequest(rand.Reader, template, key)
}

// identifiers returns the identifiers of these names.
func identifiers(names ...string) []acme.Identifier {
	var ids []acme.Identifier
	for _, name := range names {
		ids = append(ids, acme.NewIdentifier(name))
	}
	return ids
}

// within returns a context that ends after d or with the test.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
