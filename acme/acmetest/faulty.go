package acmetest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"certd/acme"
)

// FaultyOptions say how the scripted CA behaves. The zero value is a correct CA.
type FaultyOptions struct {
	Faults []Fault // what goes wrong; all of them at once

	// Validate decides about a challenge within the client's request to answer
	// it: nil makes it valid, a *acme.Problem gives type and detail, any other
	// error means incorrectResponse. A nil Validate finds everything valid.
	Validate func(ctx context.Context, id acme.Identifier, challengeType, token, keyAuthorization string) error

	// ReuseOrders answers a newOrder for names that the account has a pending or
	// ready order for with that order, as Boulder does.
	ReuseOrders bool

	// PendingAgain makes failed challenges pending again, with the error, as
	// step-ca does: they may be answered once more (RFC 8555 §8.2). False makes
	// them, and their authorization, invalid.
	PendingAgain bool

	// Renewal makes the CA offer renewal information (RFC 9773); nil: it does not.
	Renewal *Renewal
}

// A FaultyCA is a small, correct ACME CA (RFC 8555: accounts, orders, orders
// list, authorizations, challenges, certificates with one alternate chain,
// revocation, key change) whose faults are scripted. Signatures and nonces
// are verified, certificates are real. It speaks HTTP/1.1. Its methods are safe
// for concurrent use.
type FaultyCA struct {
	validate func(ctx context.Context, id acme.Identifier, challengeType, token, keyAuthorization string) error
	reuse    bool
	again    bool // PendingAgain
	renewal  *Renewal
	journal  *journal
	faults   []*fault
	main     *tlsServer
	other    *tlsServer // the same CA at another port, where nobody should turn up
	roots    []byte
	issuer   *issuer
	closed   chan struct{}
	close    func() error

	mu    sync.Mutex // guards all below, and what it points to
	state ledger
	stray []Request
}

// NewFaulty starts a scripted CA on loopback addresses. The caller must Close it.
func NewFaulty(o FaultyOptions) (*FaultyCA, error) {
	ca := &FaultyCA{
		validate: o.Validate,
		reuse:    o.ReuseOrders,
		again:    o.PendingAgain,
		renewal:  o.Renewal,
		journal:  &journal{routes: faultyRoutes()},
		closed:   make(chan struct{}),
		state:    newLedger(),
	}
	ca.close = sync.OnceValue(ca.shutDown)
	setup := listening{}
	for _, f := range o.Faults {
		if f.listen != nil {
			f.listen(&setup)
		}
		ca.faults = append(ca.faults, &fault{Fault: f})
	}
	var err error
	if ca.issuer, err = newIssuer(); err != nil {
		return nil, fmt.Errorf("acmetest: %w", err)
	}
	if err := ca.listen(setup); err != nil {
		return nil, errors.Join(err, ca.Close())
	}
	return ca, nil
}

// StartFaulty is NewFaulty for tests: it fails t on an error and closes the CA
// with it. Without faults the CA is correct.
func StartFaulty(t testing.TB, faults ...Fault) *FaultyCA {
	t.Helper()
	ca, err := NewFaulty(FaultyOptions{Faults: faults})
	if err != nil {
		t.Fatalf("starting the scripted CA: %v", err)
	}
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Errorf("closing the scripted CA: %v", err)
		}
	})
	return ca
}

// listen opens both listeners as setup says.
func (ca *FaultyCA) listen(setup listening) error {
	config, roots, err := newServerTLS(setup.certificate)
	if err != nil {
		return fmt.Errorf("acmetest: %w", err)
	}
	ca.roots = roots
	if setup.unknownRoot {
		stranger, err := newAuthority("acmetest listener root", nil)
		if err != nil {
			return fmt.Errorf("acmetest: %w", err)
		}
		ca.roots = stranger.pem()
	}
	config.NextProtos = []string{"http/1.1"}
	if setup.maxVersion != 0 {
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, setup.maxVersion
	}
	if setup.plain {
		config = nil
	}
	servers := [2]*tlsServer{}
	for i := range servers {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("acmetest: listening: %w", err)
		}
		watched := &sniffer{Listener: listener, hang: setup.hang, plain: func() {
			if !setup.plain {
				ca.noteStray(Request{Method: "plaintext"})
			}
		}}
		servers[i] = serve(watched, config, ca, io.Discard)
		ca.main, ca.other = servers[0], servers[1]
	}
	return nil
}

// URL returns the directory's URL.
func (ca *FaultyCA) URL() string { return ca.main.url("/directory") }

// RootsPEM returns the root to trust for the HTTPS listener.
func (ca *FaultyCA) RootsPEM() []byte { return ca.roots }

// IssuerRootsPEM returns the roots that certificates chain to: the default
// chain's, then the alternate's.
func (ca *FaultyCA) IssuerRootsPEM() []byte { return ca.issuer.rootsPEM() }

// Requests returns the requests so far, oldest first, without the strays.
func (ca *FaultyCA) Requests() []Request { return ca.journal.snapshot() }

// ResetRequests forgets the requests so far.
func (ca *FaultyCA) ResetRequests() { ca.journal.reset() }

// Strays returns the requests that a careful client never sends: to another
// host name or port, without TLS (Method "plaintext"), with credentials, with a
// URL over 2 KiB, or after a redirect.
func (ca *FaultyCA) Strays() []Request {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return append([]Request(nil), ca.stray...)
}

func (ca *FaultyCA) noteStray(r Request) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.stray = append(ca.stray, r)
}

// Hits returns how many answers the faults have changed so far. Faults of the
// TLS listener are not counted.
func (ca *FaultyCA) Hits() int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	n := 0
	for _, f := range ca.faults {
		n += f.hits
	}
	return n
}

// Close ends all stalls, closes the listeners and their connections, and waits
// for the handlers. Closing again does nothing.
func (ca *FaultyCA) Close() error { return ca.close() }

func (ca *FaultyCA) shutDown() error {
	close(ca.closed)
	var errs []error
	for _, s := range []*tlsServer{ca.main, ca.other} {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	ca.journal.inFlight.Wait()
	return errors.Join(errs...)
}

// faultyRoutes says what the scripted CA's paths are for.
func faultyRoutes() []route {
	return []route{
		{"/directory", "directory"},
		{"/new-nonce", "nonce"},
		{"/new-account", "account"},
		{"/account/", "account"},
		{"/new-order", "order"},
		{"/order/", "order-poll"},
		{"/orders/", "orders-list"},
		{"/authz/", "authz"},
		{"/challenge/", "challenge"},
		{"/finalize/", "finalize"},
		{"/cert/", "cert"},
		{"/revoke", "revoke"},
		{"/key-change", "keychange"},
		{"/renewal-info/", "ari"},
	}
}

// isStray reports whether r is one that a careful client never sends.
func (ca *FaultyCA) isStray(r *http.Request) bool {
	return r.Host != ca.main.addr || r.Header.Get("Authorization") != "" ||
		len(r.URL.String()) > 2048 || operationOf(faultyRoutes(), r.URL.Path) == ""
}

// ServeHTTP answers one request, faults applied.
func (ca *FaultyCA) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if ca.isStray(r) {
		ca.noteStray(Request{Method: r.Method, Path: r.Host + r.URL.Path, Status: http.StatusMisdirectedRequest})
		http.Error(w, "this request should not have been sent", http.StatusMisdirectedRequest)
		return
	}
	ca.journal.handler(http.HandlerFunc(ca.serve)).ServeHTTP(w, r)
}
