package acme_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
)

func listen(t testing.TB, port int) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{Profiles: map[string]time.Duration{"short": 6 * 24 * time.Hour}})
	c := newClient(t, ca, func(o *acme.Options) { o.Key = nil })
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			d, err := c.Directory(t.Context())
			if err != nil {
				t.Errorf("directory: %v", err)
				return
			}
			if _, ok := d.Profiles["short"]; !ok || d.Terms == "" || d.EABRequired || !strings.HasPrefix(d.RenewalInfo, "https://") {
				t.Errorf("directory has %+v, want profile short, terms, renewalInfo and no EAB", d)
			}
		})
	}
	wg.Wait()
	if n := len(ca.Requests()); n != 1 {
		t.Errorf("20 readers of the directory made %d requests, want 1", n)
	}
	if _, err := c.NewOrder(t.Context(), acme.OrderSpec{Identifiers: identifiers("a.test")}); acme.ClassOf(err) != acme.ClassOperator {
		t.Errorf("an order without an account key gave %v, want a problem for the operator", err)
	}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	key := newKey(t)
	c := newClient(t, ca, func(o *acme.Options) { o.Key = key })

	_, err := c.FindAccount(t.Context())
	if !errors.Is(err, acme.ErrNoAccount) || acme.ClassOf(err) != acme.ClassOperator {
		t.Errorf("looking for no account gave %v, want ErrNoAccount for the operator", err)
	}
	made, err := c.Register(t.Context(), []string{"mailto:ops@example.com"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if made.Status != acme.StatusValid || made.URL != c.KID() || !slices.Equal(made.Contacts, []string{"mailto:ops@example.com"}) {
		t.Errorf("registered %+v with KID %s, want a valid account with its contact", made, c.KID())
	}
	other := newClient(t, ca, func(o *acme.Options) { o.Key = key })
	again, err := other.Register(t.Context(), nil, nil)
	if err != nil || again.URL != made.URL || other.KID() != made.URL {
		t.Errorf("registering again gave %+v, %v, want the same account %s", again, err, made.URL)
	}
	third := newClient(t, ca, func(o *acme.Options) { o.Key = key })
	found, err := third.FindAccount(t.Context())
	if err != nil || found.URL != made.URL || third.KID() != made.URL {
		t.Errorf("looking the account up gave %+v, %v, want %s", found, err, made.URL)
	}
	_, err = newClient(t, ca, nil).Register(t.Context(), []string{"tel:+123"}, nil)
	if acme.ClassOf(err) != acme.ClassOperator {
		t.Errorf("an unsupported contact gave %v, want a problem for the operator", err)
	}
}

func TestRegisterWithExternalAccount(t *testing.T) {
	t.Parallel()
	mac := []byte("0123456789abcdef0123456789abcdef")
	ca := acmetest.StartT(t, acmetest.Options{RequireEAB: map[string]string{"kid-1": base64.RawURLEncoding.EncodeToString(mac)}})
	tests := []struct {
		name string
		eab  *acme.EAB
		ok   bool
	}{
		{"right key", &acme.EAB{KeyID: "kid-1", HMAC: mac}, true},
		{"wrong key", &acme.EAB{KeyID: "kid-1", HMAC: []byte("wrong")}, false},
		{"unknown key ID", &acme.EAB{KeyID: "kid-2", HMAC: mac}, false},
		{"empty key", &acme.EAB{KeyID: "kid-1"}, false},
		{"none", nil, false},
	}
	for _, tt := range tests {
		_, err := newClient(t, ca, nil).Register(t.Context(), nil, tt.eab)
		if (err == nil) != tt.ok {
			t.Errorf("registering with %s: error %v, want success %v", tt.name, err, tt.ok)
		}
		if err != nil && acme.ClassOf(err) != acme.ClassOperator {
			t.Errorf("registering with %s: class %s of %v, want operator", tt.name, acme.ClassOf(err), err)
		}
	}
}

// TestObtain goes the whole way, over real sockets, and counts the requests.
func TestObtain(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{AlternateRoots: 2})
	r := startResponder(t, ca.HTTPPort())
	key := newKey(t)
	kid := func() string {
		c := newClient(t, ca, func(o *acme.Options) { o.Key = key })
		a, err := c.Register(t.Context(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return a.URL
	}()
	ca.ResetRequests()

	var mu sync.Mutex
	seen := map[string]int{}
	c := newClient(t, ca, func(o *acme.Options) {
		o.Key, o.KID = key, kid
		o.Observe = func(e acme.Exchange) {
			mu.Lock()
			defer mu.Unlock()
			seen[e.Operation]++
			if e.CA != "test" || e.Status == 0 || e.Err != nil || e.Took <= 0 || e.Date.IsZero() {
				t.Errorf("observed %+v, want the CA's name, a status, a duration and a date", e)
			}
		}
	})
	spec := acme.OrderSpec{Identifiers: identifiers("www.example.test", "example.test"), Profile: "default"}
	chain, order, err := obtain(within(t, time.Minute), c, r, spec)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(chain.DER[0])
	if err != nil || len(chain.DER) < 2 || !slices.Contains(leaf.DNSNames, "example.test") {
		t.Errorf("got %d certificates, the leaf for %v (%v), want a chain for example.test", len(chain.DER), leaf.DNSNames, err)
	}
	if order.Profile != "default" {
		t.Errorf("the order echoes profile %q, want default", order.Profile)
	}
	if len(chain.Alternates) != 2 {
		t.Errorf("alternates are %v, want 2", chain.Alternates)
	}
	for op, want := range map[string]int{"directory": 1, "nonce": 1, "account": 0, "challenge": 2, "finalize": 1, "cert": 1} {
		if seen[op] != want {
			t.Errorf("%d requests of %s, want %d", seen[op], op, want)
		}
	}
	if total := len(ca.Requests()); total != seen["directory"]+seen["nonce"]+seen["order"]+seen["authz"]+4 {
		t.Errorf("the CA counted %d requests, the observer %v", total, seen)
	}
	for _, url := range chain.Alternates {
		if other, err := c.Certificate(t.Context(), url); err != nil || slices.Equal(other.DER[len(other.DER)-1], chain.DER[len(chain.DER)-1]) {
			t.Errorf("alternate %s: %v, want another chain", url, err)
		}
	}
}

func TestObtainWithEveryKindOfKey(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{AlwaysValid: true, NonceReject: 20})
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, ca, func(o *acme.Options) { o.Key = key })
		checkReplacement(t, c, curve.Params().Name)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	checkReplacement(t, newClient(t, ca, func(o *acme.Options) { o.Key = key }), "RSA")
}

// checkReplacement obtains a certificate, then orders its successor (RFC 9773 §5).
func checkReplacement(t *testing.T, c *acme.Client, what string) {
	t.Helper()
	ctx := within(t, time.Minute)
	if _, err := c.Register(ctx, nil, nil); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	name := "replaced-" + strings.ToLower(what) + ".test"
	chain, _, err := obtain(ctx, c, nil, acme.OrderSpec{Identifiers: identifiers(name)})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	spec := acme.OrderSpec{Identifiers: identifiers(name), Replaces: certID(t, chain.DER[0])}
	order, err := c.NewOrder(ctx, spec)
	if err != nil || order.Replaces != spec.Replaces {
		t.Errorf("%s: replacing %s gave %+v, %v, want the echo", what, spec.Replaces, order, err)
	}
}

// certID is RFC 9773 §4.1.
func certID(t *testing.T, der []byte) string {
	t.Helper()
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	serial := leaf.SerialNumber.Bytes()
	if serial[0]&0x80 != 0 {
		serial = append([]byte{0}, serial...)
	}
	return base64.RawURLEncoding.EncodeToString(leaf.AuthorityKeyId) + "." + base64.RawURLEncoding.EncodeToString(serial)
}

// TestNonceRejection is 50 orders at once at a CA that rejects 30 % of all good nonces.
func TestNonceRejection(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{AlwaysValid: true, NonceReject: 30})
	c := registered(t, ca)
	ctx := within(t, 2*time.Minute)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			_, _, err := obtain(ctx, c, nil, acme.OrderSpec{Identifiers: identifiers(fmt.Sprintf("n%d.test", i))})
			if err != nil {
				t.Errorf("order %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if n := acmetest.Count(ca.Requests(), "directory"); n != 1 {
		t.Errorf("%d requests of the directory, want 1", n)
	}
}

func TestKeyWithoutURL(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{AlwaysValid: true})
	key := newKey(t)
	register := newClient(t, ca, func(o *acme.Options) { o.Key = key })
	if _, err := register.Register(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	ca.ResetRequests()
	c := newClient(t, ca, func(o *acme.Options) { o.Key = key })
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			if _, err := c.NewOrder(t.Context(), acme.OrderSpec{Identifiers: identifiers(fmt.Sprintf("k%d.test", i))}); err != nil {
				t.Errorf("order with a key that has an account: %v", err)
			}
		})
	}
	wg.Wait()
	if n := acmetest.Count(ca.Requests(), "account"); n != 1 {
		t.Errorf("10 orders at once looked the account up %d times, want once", n)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{Blocklist: []string{"blocked.test"}})
	startResponder(t, ca.HTTPPort()) // knows no token
	c := registered(t, ca)
	ctx := within(t, time.Minute)

	_, err := c.NewOrder(ctx, acme.OrderSpec{Identifiers: identifiers("ok.test", "blocked.test")})
	p, _ := errors.AsType[*acme.Problem](err)
	if p == nil || p.Class != acme.ClassName || p.Type != "rejectedIdentifier" || p.CA != "test" || p.Operation != "order" {
		t.Errorf("a blocked name gave %+v, want rejectedIdentifier of class name", p)
	}
	_, err = c.NewOrder(ctx, acme.OrderSpec{Identifiers: identifiers("ok.test"), Profile: "nonesuch"})
	if acme.ClassOf(err) != acme.ClassOperator || !strings.Contains(err.Error(), "it has default") {
		t.Errorf("an unknown profile gave %v, want a problem for the operator that lists the profiles", err)
	}
	_, _, err = obtain(ctx, c, &responder{tokens: map[string]string{}}, acme.OrderSpec{Identifiers: identifiers("wrong.test")})
	p, _ = errors.AsType[*acme.Problem](err)
	if p == nil || p.Class != acme.ClassName || p.Identifier.Value != "wrong.test" || p.Type != "unauthorized" {
		t.Errorf("a missing challenge file gave %+v, want unauthorized of class name for wrong.test", p)
	}
	_, err = c.Order(ctx, strings.TrimSuffix(ca.URL(), "/dir")+"/my-order/nonesuch")
	if p, _ = errors.AsType[*acme.Problem](err); p == nil || p.Status != 404 {
		t.Errorf("an unknown order gave %v, want a problem with status 404", err)
	}
}

func TestOpenOrdersAndDeactivation(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{OrdersPerPage: 2})
	c := newClient(t, ca, nil)
	account, err := c.Register(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	var last *acme.Order
	for i := range 5 {
		if last, err = c.NewOrder(t.Context(), acme.OrderSpec{Identifiers: identifiers(fmt.Sprintf("open%d.test", i))}); err != nil {
			t.Fatal(err)
		}
		want = append(want, last.URL)
	}
	got, err := c.OpenOrders(t.Context(), account.OrdersURL)
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("open orders are %v, %v, want %v", got, err, want)
	}
	if got, err := c.OpenOrders(t.Context(), ""); err != nil || got != nil {
		t.Errorf("a CA without lists gave %v, %v, want nothing", got, err)
	}
	if err := c.DeactivateAuthorization(t.Context(), last.Authorizations[0]); err != nil {
		t.Fatalf("deactivate: %v", err)
	}
	z, err := c.Authorization(t.Context(), last.Authorizations[0])
	if err != nil || z.Status != acme.StatusDeactivated {
		t.Errorf("after its deactivation the authorization is %+v, %v", z, err)
	}
	if _, err := c.WaitAuthorization(t.Context(), last.Authorizations[0]); err == nil || !strings.Contains(err.Error(), "deactivated") {
		t.Errorf("waiting for a deactivated authorization gave %v, want an error that says so", err)
	}
}

func TestCancellation(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	c := registered(t, ca)
	o, err := c.NewOrder(t.Context(), acme.OrderSpec{Identifiers: identifiers("cancel.test")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	polls := 0
	_, err = c.WaitOrder(ctx, o.URL, func(*acme.Order) bool {
		if polls++; polls == 2 {
			cancel()
		}
		return false
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait gave %v, want context.Canceled inside", err)
	}
	if _, err := c.Order(ctx, o.URL); !errors.Is(err, context.Canceled) {
		t.Errorf("a request under a cancelled context gave %v, want context.Canceled inside", err)
	}
}
