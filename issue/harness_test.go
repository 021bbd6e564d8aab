package issue

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
)

// A disk is a Journal and Keys in memory. It outlives Issuers, as a disk does.
type disk struct {
	mu     sync.Mutex
	intent *acme.OpenOrder              // of the one target
	orders map[string]acme.OpenOrder    // by URL
	keys   map[string]crypto.Signer     // by ID
	before func(operation string) error // called before each write; its error fails it
	closed []acme.OpenOrder
	broken error // of LoadKey; nil: it works
}

func newDisk() *disk {
	return &disk{orders: make(map[string]acme.OpenOrder), keys: make(map[string]crypto.Signer)}
}

// write does one durable operation.
func (d *disk) write(operation string, do func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.before != nil {
		if err := d.before(operation); err != nil {
			return err
		}
	}
	do()
	return nil
}

func (d *disk) OpenOrder(o acme.OpenOrder) error {
	if o.URL != "" {
		return fmt.Errorf("intent with the URL %s", o.URL)
	}
	return d.write("intent", func() { d.intent = &o })
}

func (d *disk) SaveOrder(o acme.OpenOrder) error {
	if o.URL == "" {
		return errors.New("order without a URL")
	}
	operation := "order"
	if o.KeyID != "" {
		operation = "order with key"
	}
	return d.write(operation, func() { d.orders[o.URL] = o; d.intent = nil })
}

func (d *disk) CloseOrder(o acme.OpenOrder) error {
	return d.write("close", func() {
		d.closed = append(d.closed, o)
		if o.URL == "" {
			d.intent = nil
		}
		delete(d.orders, o.URL)
	})
}

func (d *disk) SaveKey(key crypto.Signer) (string, error) {
	id := keyID(key)
	return id, d.write("key", func() { d.keys[id] = key })
}

func (d *disk) LoadKey(id string) (crypto.Signer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return nil, d.broken
	}
	if key, ok := d.keys[id]; ok {
		return key, nil
	}
	return nil, fmt.Errorf("key %s: %w", id, fs.ErrNotExist)
}

// open is the one journaled order, if there is one.
func (d *disk) open() (acme.OpenOrder, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range d.orders {
		return o, true
	}
	return acme.OpenOrder{}, false
}

// resume fills in req what the next run finds on the disk.
func (d *disk) resume(req Request) Request {
	if o, ok := d.open(); ok {
		req.Open = o
	} else if d.mu.Lock(); d.intent != nil {
		req.Open, req.Adopt = *d.intent, true
		d.mu.Unlock()
	} else {
		d.mu.Unlock()
	}
	return req
}

func keyID(key crypto.Signer) string {
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:8])
}

// A solver serves http-01 answers, and notes what happens to it.
type solver struct {
	wrong   map[string]bool                            // identifiers answered wrongly
	present func(id acme.Identifier) error             // nil: succeeds
	cleanUp error                                      // of CleanUp
	wait    func(ctx context.Context, id string) error // nil: succeeds

	mu     sync.Mutex
	tokens map[string]string
	shown  map[string]int // Presents less CleanUps, by identifier
	log    []string
	before func() // each answer to the CA; nil: nothing
}

func newSolver() *solver {
	return &solver{tokens: make(map[string]string), shown: make(map[string]int)}
}

func (s *solver) note(what string, id acme.Identifier, n int) {
	s.log = append(s.log, what)
	s.shown[id.Value] += n
}

func (s *solver) Present(_ context.Context, id acme.Identifier, ch acme.Challenge) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("present", id, 1)
	if s.present != nil {
		if err := s.present(id); err != nil {
			return err
		}
	}
	s.tokens[ch.Token] = ch.KeyAuthorization
	if s.wrong[id.Value] {
		s.tokens[ch.Token] = "nonsense"
	}
	return nil
}

func (s *solver) CleanUp(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("clean up", id, -1)
	delete(s.tokens, ch.Token)
	return errors.Join(ctx.Err(), s.cleanUp)
}

func (s *solver) Wait(ctx context.Context, id acme.Identifier, _ acme.Challenge) error {
	s.mu.Lock()
	s.log = append(s.log, "wait")
	s.mu.Unlock()
	if s.wait != nil {
		return s.wait(ctx, id.Value)
	}
	return nil
}

func (s *solver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	if before != nil {
		before()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, ok := s.tokens[strings.TrimPrefix(r.URL.Path, "/.well-known/acme-challenge/")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	fmt.Fprint(w, answer)
}

// left lists the identifiers whose Presents and CleanUps do not match.
func (s *solver) left() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name, n := range s.shown {
		if n > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// serve listens where the CA looks for http-01.
func (s *solver) serve(t testing.TB, port int) {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatalf("listen for http-01: %v", err)
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
}

// A bench is a CA with an account, a solver and a disk.
type bench struct {
	t  testing.TB
	ca interface {
		URL() string
		RootsPEM() []byte
		IssuerRootsPEM() []byte
		Requests() []acmetest.Request
		ResetRequests()
	}
	roots   *x509.CertPool
	account crypto.Signer
	kid     string
	solver  *solver
	disk    *disk
	observe func(acme.Exchange) // of clients made from now on
	timeout time.Duration       // of their requests; zero means the usual
}

// newBench starts Pebble, which looks at what the solver serves.
func newBench(t testing.TB, o acmetest.Options) *bench {
	t.Helper()
	ca := acmetest.StartT(t, o)
	b := &bench{t: t, ca: ca, account: ecKey(t, elliptic.P256()), solver: newSolver(), disk: newDisk()}
	b.solver.serve(t, ca.HTTPPort())
	b.register()
	return b
}

// newFaultyBench starts the scripted CA, which believes every answer.
func newFaultyBench(t testing.TB, faults ...acmetest.Fault) *bench {
	t.Helper()
	b := &bench{t: t, ca: acmetest.StartFaulty(t, faults...), account: ecKey(t, elliptic.P256()), solver: newSolver(), disk: newDisk()}
	b.register()
	return b
}

// trust takes over the roots of the CA's certificates.
func (b *bench) trust() {
	b.roots = x509.NewCertPool()
	b.roots.AppendCertsFromPEM(b.ca.IssuerRootsPEM())
}

func (b *bench) register() {
	b.t.Helper()
	b.trust()
	account, err := b.client().Register(b.t.Context(), nil, nil)
	if err != nil {
		b.t.Fatalf("register: %v", err)
	}
	b.kid = account.URL
	b.ca.ResetRequests()
}

// client is a client of the account, as after a start of the process.
func (b *bench) client() *acme.Client {
	b.t.Helper()
	client, err := acme.New(acme.Options{
		Name: "pebble", Directory: b.ca.URL(), Key: b.account, KID: b.kid, RootsPEM: b.ca.RootsPEM(), Observe: b.observe,
		Timeout: b.timeout,
	})
	if err != nil {
		b.t.Fatalf("client: %v", err)
	}
	b.t.Cleanup(client.Close)
	return client
}

// issuer is an Issuer as after a start of the process.
func (b *bench) issuer() *Issuer {
	return &Issuer{
		Client: b.client(), Journal: b.disk, Keys: b.disk,
		Solvers: map[string]Solver{"http-01": b.solver},
	}
}

// request asks for names.
func (b *bench) request(names ...string) Request {
	slices.Sort(names)
	return Request{
		Open:   acme.OpenOrder{Directory: b.ca.URL(), Names: names, Target: "target", KeyType: "ecdsa-p256"},
		NewKey: func() (crypto.Signer, error) { return ecKey(b.t, elliptic.P256()), nil },
		Roots:  b.roots, SelfTest: true,
	}
}

// must issues req with a new Issuer.
func (b *bench) must(req Request) *Certificate {
	b.t.Helper()
	cert, err := b.issuer().Issue(b.t.Context(), req)
	if err != nil {
		b.t.Fatalf("issue %v: %v", req.Open.Names, err)
	}
	return cert
}

// count is how often the CA saw operation.
func (b *bench) count(operation string) int { return acmetest.Count(b.ca.Requests(), operation) }
