package acme_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
)

// onBoth runs a test against Pebble, which refuses nonces, and the scripted CA.
func onBoth(t *testing.T, f func(t *testing.T, ca testCA)) {
	t.Run("Pebble", func(t *testing.T) {
		t.Parallel()
		f(t, acmetest.StartT(t, acmetest.Options{AlwaysValid: true, NonceReject: 30}))
	})
	t.Run("scripted", func(t *testing.T) {
		t.Parallel()
		f(t, acmetest.StartFaulty(t))
	})
}

func TestUpdateAndDeactivate(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, ca testCA) {
		c := registered(t, ca)
		for _, want := range [][]string{{"mailto:ops@example.com"}, {"mailto:a@example.com", "mailto:b@example.com"}, nil} {
			a, err := c.UpdateAccount(t.Context(), want)
			if err != nil || !slices.Equal(a.Contacts, want) || a.URL != c.KID() {
				t.Errorf("update to %q: %+v, %v; want these contacts and the same URL", want, a, err)
			}
			if found, err := c.FindAccount(t.Context()); err != nil || !slices.Equal(found.Contacts, want) {
				t.Errorf("after an update to %q the CA has %+v (%v)", want, found, err)
			}
		}
		if err := c.Deactivate(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := c.FindAccount(t.Context())
		if p, ok := errors.AsType[*acme.Problem](err); !ok || p.Type != "unauthorized" || p.Class != acme.ClassOperator {
			t.Errorf("looking for a deactivated account gave %v, want unauthorized, for the operator", err)
		}
		_, err = c.UpdateAccount(t.Context(), nil)
		if p, ok := errors.AsType[*acme.Problem](err); !ok || p.Type != "unauthorized" {
			t.Errorf("updating a deactivated account gave %v, want unauthorized", err)
		}
	})
}

func TestRollover(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, ca testCA) {
		key := newKey(t)
		c := newClient(t, ca, func(o *acme.Options) { o.Key = key })
		made, err := c.Register(t.Context(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, next := range keysToRollTo(t) {
			if err := newClient(t, ca, func(o *acme.Options) { o.Key, o.KID = key, made.URL }).Rollover(t.Context(), next); err != nil {
				t.Fatalf("rollover from %T to %T: %v", key.Public(), next.Public(), err)
			}
			old := newClient(t, ca, func(o *acme.Options) { o.Key = key })
			if _, err := old.FindAccount(t.Context()); !errors.Is(err, acme.ErrNoAccount) {
				t.Errorf("the old key gave %v, want ErrNoAccount", err)
			}
			key = next
			found, err := newClient(t, ca, func(o *acme.Options) { o.Key = key }).FindAccount(t.Context())
			if err != nil || found.URL != made.URL {
				t.Errorf("the new key gave %+v, %v; want the account %s", found, err, made.URL)
			}
		}
		after := newClient(t, ca, func(o *acme.Options) { o.Key, o.KID = key, made.URL })
		if _, _, err := obtain(within(t, time.Minute), after, nil, acme.OrderSpec{Identifiers: identifiers("a.example.test")}); err != nil {
			t.Errorf("an order with the new key: %v", err)
		}
	})
}

func keysToRollTo(t *testing.T) []crypto.Signer {
	t.Helper()
	p384, err1 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	bits, err2 := rsa.GenerateKey(rand.Reader, 2048)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return []crypto.Signer{newKey(t), p384, bits, newKey(t)}
}

// TestRolloverRefused: whether the CA has the new key can be found out.
func TestRolloverRefused(t *testing.T) {
	t.Parallel()
	next := newKey(t)
	tests := []struct {
		name  string
		fault acmetest.Fault
		class acme.Class
		has   bool // the CA has the new key
	}{
		{"the answer is lost", acmetest.Lose("keychange"), acme.ClassTransient, true},
		{"5xx", acmetest.Respond("keychange", 500, nil, ""), acme.ClassTransient, false},
		{"conflict", acmetest.Respond("keychange", 409, http.Header{"Location": {"/account/9"}}, `{"type":"urn:ietf:params:acme:error:malformed","detail":"in use"}`), acme.ClassTransient, false},
	}
	for _, tt := range tests {
		ca := acmetest.StartFaulty(t, tt.fault)
		c := registered(t, ca)
		if err := c.Rollover(within(t, time.Minute), next); acme.ClassOf(err) != tt.class {
			t.Errorf("%s: %v, want a problem of class %s", tt.name, err, tt.class)
		}
		found, err := newClient(t, ca, func(o *acme.Options) { o.Key = next }).FindAccount(t.Context())
		if has := err == nil && found.URL == c.KID(); has != tt.has {
			t.Errorf("%s: the CA has the new key: %v (%v), want %v", tt.name, has, err, tt.has)
		}
		if err := c.Rollover(t.Context(), nil); acme.ClassOf(err) != acme.ClassOperator {
			t.Errorf("%s: no new key gave %v, want a problem for the operator", tt.name, err)
		}
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, ca testCA) {
		c, ctx := registered(t, ca), within(t, time.Minute)
		der := func() []byte {
			chain, _, err := obtain(ctx, c, nil, acme.OrderSpec{Identifiers: identifiers("a.example.test")})
			if err != nil {
				t.Fatal(err)
			}
			return chain.DER[0]
		}
		mine := der()
		_, err := c.UpdateAccount(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Revoke(ctx, mine, 7); acme.ClassOf(err) == "" {
			t.Error("a reason that does not exist was taken")
		}
		if err := registered(t, ca).Revoke(ctx, mine, acme.ReasonUnspecified); acme.ClassOf(err) != acme.ClassOperator {
			t.Errorf("another account's revocation gave %v, want a problem for the operator", err)
		}
		for _, reason := range []acme.Reason{acme.ReasonSuperseded, acme.ReasonUnspecified} {
			if err := c.Revoke(ctx, mine, reason); err != nil {
				t.Errorf("revocation (the second one of what is revoked): %v", err)
			}
		}
		if err := c.RevokeWithKey(ctx, newKey(t), der(), acme.ReasonKeyCompromise); acme.ClassOf(err) != acme.ClassOperator {
			t.Errorf("a key that is not the certificate's gave %v, want a problem for the operator", err)
		}
	})
}

// TestRevokeWithKey: neither account nor account key is needed.
func TestRevokeWithKey(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartFaulty(t)
	key := newKey(t)
	chain := certificateOf(t, ca, key)
	stranger := newClient(t, ca, func(o *acme.Options) { o.Key = nil })
	if err := stranger.RevokeWithKey(t.Context(), key, chain.DER[0], acme.ReasonKeyCompromise); err != nil {
		t.Fatal(err)
	}
	got := ca.Revocations()
	if len(got) != 1 || !got[0].ByKey || got[0].Reason != int(acme.ReasonKeyCompromise) || !slices.Equal(got[0].Certificate, chain.DER[0]) {
		t.Errorf("the CA has revoked %+v, want the certificate, by its key, for keyCompromise", got)
	}
}

// certificateOf obtains a certificate for key.
func certificateOf(t *testing.T, ca testCA, key crypto.Signer) *acme.CertificateChain {
	t.Helper()
	ctx, c := within(t, time.Minute), registered(t, ca)
	o, err := c.NewOrder(ctx, acme.OrderSpec{Identifiers: identifiers("a.example.test")})
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range o.Authorizations {
		if err := validate(ctx, c, nil, url); err != nil {
			t.Fatal(err)
		}
	}
	csr, err := requestWith(key, identifiers("a.example.test"))
	if err != nil {
		t.Fatal(err)
	}
	if o, err = c.Order(ctx, o.URL); err == nil {
		_, err = c.Finalize(ctx, o, csr)
	}
	if err == nil {
		o, err = c.WaitOrder(ctx, o.URL, func(o *acme.Order) bool { return o.Status == acme.StatusValid })
	}
	if err != nil {
		t.Fatal(err)
	}
	chain, err := c.Certificate(ctx, o.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func TestReasons(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want acme.Reason
		ok   bool
	}{
		{"keyCompromise", 1, true}, {"key-compromise", 1, true}, {"1", 1, true}, {"SUPERSEDED", 4, true},
		{"cessation-of-operation", 5, true}, {"10", 10, true}, {"0", 0, true}, {"", 0, false}, {"7", 0, false}, {"11", 0, false}, {"-1", 0, false}, {"bored", 0, false},
	} {
		got, err := acme.ParseReason(tt.text)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("reason %q is %v (%v), want %v", tt.text, got, err, tt.want)
		}
	}
	for _, name := range acme.Reasons() {
		if r, err := acme.ParseReason(name); err != nil || r.String() != name {
			t.Errorf("reason %s reads as %v (%v)", name, r, err)
		}
	}
	if got := acme.Reason(7).String() + acme.Reason(-1).String(); got != "7-1" {
		t.Errorf("reasons without a name are %s", got)
	}
}

func FuzzParseReason(f *testing.F) {
	for _, s := range append(acme.Reasons(), "", "1", "7", "10", "-1", "key-compromise", "\x00", "999999999999999999999") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := acme.ParseReason(s)
		if err == nil && (r < 0 || r > 10 || r == 7) {
			t.Errorf("%q is reason %d", s, r)
		}
		if again, err2 := acme.ParseReason(r.String()); err == nil && (err2 != nil || again != r) {
			t.Errorf("%q is %s, which reads as %s (%v)", s, r, again, err2)
		}
	})
}
