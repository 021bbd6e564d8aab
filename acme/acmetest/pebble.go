package acmetest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/letsencrypt/challtestsrv"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"certd/test/ports"
)

// A CA is a running Pebble. Its methods are safe for concurrent use.
type CA struct {
	journal    *journal
	acme       *tlsServer
	management *tlsServer
	dns        *dnsServer
	http, tls  *ports.Reservation
	roots      []byte // of the HTTPS listeners
	issuers    []byte // of the issued certificates
	closeOnce  sync.Once
	closeErr   error
}

// Start runs Pebble as o says, on loopback addresses. The caller must Close it.
func Start(o Options) (*CA, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	c := &CA{journal: &journal{routes: pebbleRoutes()}}
	if err := c.start(o); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// StartT is Start for tests: it fails t on an error and closes the CA with it.
func StartT(t testing.TB, o Options) *CA {
	t.Helper()
	c, err := Start(o)
	if err != nil {
		t.Fatalf("starting Pebble: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("closing Pebble: %v", err)
		}
	})
	return c
}

// start brings up the parts in order; what it brought up is in c even on error.
func (c *CA) start(o Options) (err error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	if c.http, err = ports.Reserve(o.HTTPPort); err != nil {
		return fmt.Errorf("acmetest: port for http-01: %w", err)
	}
	if c.tls, err = ports.Reserve(o.TLSPort); err != nil {
		return fmt.Errorf("acmetest: port for tls-alpn-01: %w", err)
	}
	if c.dns, err = startDNS(); err != nil {
		return fmt.Errorf("acmetest: starting DNS: %w", err)
	}
	store := db.NewMemoryStore()
	front, issuer, err := newPebble(o, store, c.http.Port, c.tls.Port, cmp.Or(o.Resolver, c.dns.addr))
	if err != nil {
		return err
	}
	for i := range issuer.GetNumberOfRootCerts() {
		c.issuers = append(c.issuers, issuer.GetRootCert(i).PEM()...)
	}
	config, roots, err := newServerTLS(nil)
	if err != nil {
		return fmt.Errorf("acmetest: %w", err)
	}
	c.roots = roots
	handler := settled(store, front.Handler())
	if o.Wrap != nil {
		handler = o.Wrap(handler)
	}
	if c.acme, err = serveTLS(o.Listen, config, c.journal.handler(handler), o.Log); err != nil {
		return err
	}
	c.management, err = serveTLS("", config, front.ManagementHandler(), o.Log)
	return err
}

// environment serialises Pebble's constructors: they read their knobs from the
// environment, which belongs to the whole process, so its guard must, too.
var environment sync.Mutex

// newPebble makes a front end and its CA with the knobs of o, which keep all in store.
func newPebble(o Options, store *db.MemoryStore, httpPort, tlsPort int, resolver string) (*wfe.WebFrontEndImpl, *ca.CAImpl, error) {
	logger := log.New(o.Log, "Pebble ", log.LstdFlags)
	for id, key := range o.RequireEAB {
		if err := store.AddExternalAccountKeyByID(id, key); err != nil {
			return nil, nil, fmt.Errorf("acmetest: RequireEAB key %q: %w", id, err)
		}
	}
	for _, name := range o.Blocklist {
		if err := store.AddBlockedDomain(name); err != nil {
			return nil, nil, fmt.Errorf("acmetest: Blocklist name %q: %w", name, err)
		}
	}
	environment.Lock()
	defer environment.Unlock()
	restore, err := setenv(map[string]string{
		"PEBBLE_VA_NOSLEEP":          "1",
		"PEBBLE_VA_ALWAYS_VALID":     flag(o.AlwaysValid),
		"PEBBLE_WFE_NONCEREJECT":     strconv.Itoa(o.NonceReject),
		"PEBBLE_AUTHZREUSE":          strconv.Itoa(o.AuthzReuse),
		"PEBBLE_WFE_ORDERS_PER_PAGE": strconv.Itoa(o.OrdersPerPage),
	})
	if err != nil {
		return nil, nil, errors.Join(err, restore())
	}
	issuer := ca.New(logger, store, "", o.keyAlg(), o.AlternateRoots, o.chainLength(), o.profiles())
	validator := va.New(logger, httpPort, tlsPort, o.Strict, resolver, store)
	front := wfe.New(logger, store, validator, issuer, []string{"pebble.letsencrypt.org"},
		o.Strict, len(o.RequireEAB) > 0, o.RetryAfterAuthz, o.RetryAfterOrder)
	return &front, issuer, restore()
}

// flag returns a knob's text for b.
func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// setenv sets variables and returns how to put back what was there before.
func setenv(variables map[string]string) (restore func() error, err error) {
	var undo []func() error
	restore = func() error {
		var errs []error
		for _, f := range undo {
			errs = append(errs, f())
		}
		return errors.Join(errs...)
	}
	for name, value := range variables {
		if before, ok := os.LookupEnv(name); ok {
			undo = append(undo, func() error { return os.Setenv(name, before) })
		} else {
			undo = append(undo, func() error { return os.Unsetenv(name) })
		}
		if err := os.Setenv(name, value); err != nil {
			return restore, fmt.Errorf("acmetest: setting %s: %w", name, err)
		}
	}
	return restore, nil
}

// pebbleRoutes says what Pebble's paths are for.
func pebbleRoutes() []route {
	return []route{
		{"/dir", "directory"},
		{"/nonce-plz", "nonce"},
		{"/sign-me-up", "account"},
		{"/my-account/", "account"},
		{"/order-plz", "order"},
		{"/my-order/", "order-poll"},
		{"/list-orderz/", "orders-list"},
		{"/authZ/", "authz"},
		{"/chalZ/", "challenge"},
		{"/finalize-order/", "finalize"},
		{"/certZ/", "cert"},
		{"/draft-ietf-acme-ari-03/renewalInfo/", "ari"},
		{"/revoke-cert", "revoke"},
		{"/rollover-account-key", "keychange"},
	}
}

// URL returns the directory's URL.
func (c *CA) URL() string { return c.acme.url(wfe.DirectoryPath) }

// RootsPEM returns the root to trust for the HTTPS listeners.
func (c *CA) RootsPEM() []byte { return c.roots }

// IssuerRootsPEM returns the roots that issued certificates chain to: the
// default chain's first, then the alternates'.
func (c *CA) IssuerRootsPEM() []byte { return c.issuers }

// Resolver returns host:port of the CA's DNS server, UDP and TCP.
func (c *CA) Resolver() string { return c.dns.addr }

// DNS returns the DNS server's data. Every name is at 127.0.0.1 without an
// AAAA record unless told otherwise. Its Run and Shutdown must not be called.
func (c *CA) DNS() *challtestsrv.ChallSrv { return c.dns.data }

// Requests returns the requests to the ACME listener so far, oldest first.
func (c *CA) Requests() []Request { return c.journal.snapshot() }

// ResetRequests forgets the requests so far.
func (c *CA) ResetRequests() { c.journal.reset() }

// HTTPPort returns the port where http-01 is validated.
func (c *CA) HTTPPort() int { return c.http.Port }

// TLSPort returns the port where tls-alpn-01 is validated.
func (c *CA) TLSPort() int { return c.tls.Port }

// Management returns the URL of Pebble's management interface, without a final
// slash: GET /roots/0, /cert-status-by-serial/<hex>, POST /set-renewal-info/.
func (c *CA) Management() string { return c.management.url("") }

// Close stops the listeners, drops their connections and waits for what still
// runs. Pebble offers no way to stop its one goroutine that waits for
// validations: it stays, idle, until the process ends. Closing again does nothing.
func (c *CA) Close() error {
	c.closeOnce.Do(func() {
		var errs []error
		for _, s := range []*tlsServer{c.acme, c.management} {
			if s != nil {
				errs = append(errs, s.close())
			}
		}
		c.journal.inFlight.Wait()
		if c.dns != nil {
			errs = append(errs, c.dns.close())
		}
		for _, r := range []*ports.Reservation{c.http, c.tls} {
			if r != nil {
				errs = append(errs, r.Release())
			}
		}
		c.closeErr = errors.Join(errs...)
	})
	return c.closeErr
}
