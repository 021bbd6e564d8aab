package acmetest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
)

// Options say how a Pebble CA behaves. The zero value is a fast and
// well-behaved CA: no rejected nonces, no reused authorizations, no validation
// delay, ECDSA, one profile "default" of 90 days, one intermediate.
type Options struct {
	NonceReject     int // percent of good nonces refused with badNonce, 0-100
	AuthzReuse      int // percent chance that a valid authorization is reused, 0-100
	RetryAfterAuthz int // Retry-After of pending authorizations, seconds, sent as such or as a date; 0 means none
	RetryAfterOrder int // Retry-After of orders, likewise
	OrdersPerPage   int // entries on one page of the orders list; 0 means Pebble's 3
	AlternateRoots  int // further chains offered by Link rel="alternate"
	ChainLength     int // intermediates in a chain; 0 means 1

	// RequireEAB maps key IDs to HMAC keys (base64url without padding). If it
	// is not empty, newAccount wants an external account binding (§7.3.4).
	RequireEAB map[string]string
	// Profiles maps profile names to the validity of their certificates, whole
	// seconds. Empty means one, "default", of 90 days. An order that names no
	// profile gets one of them at random.
	Profiles map[string]time.Duration

	Strict      bool     // Pebble's strict mode: upcoming protocol changes are enforced
	KeyAlg      string   // of the issuing CA's keys, "ecdsa" or "rsa"; empty means ecdsa
	HTTPPort    int      // where http-01 is validated; 0 means a free port, reserved until Close
	TLSPort     int      // where tls-alpn-01 is validated; 0 likewise
	Blocklist   []string // names refused with rejectedIdentifier
	AlwaysValid bool     // challenges are valid without being looked at
	Resolver    string   // "host:port" of the DNS server that validation asks; empty means CA.Resolver
	Listen      string   // address of the ACME listener; empty means 127.0.0.1:0

	Log  io.Writer                       // Pebble's log; nil drops it
	Wrap func(http.Handler) http.Handler // put around Pebble, inside the journal; nil means nothing
}

// check reports the first option that Pebble would misread or panic on.
func (o *Options) check() error {
	for name, percent := range map[string]int{"NonceReject": o.NonceReject, "AuthzReuse": o.AuthzReuse} {
		if percent < 0 || percent > 100 {
			return fmt.Errorf("acmetest: %s %d is no percentage: use 0-100", name, percent)
		}
	}
	for name, n := range map[string]int{
		"RetryAfterAuthz": o.RetryAfterAuthz, "RetryAfterOrder": o.RetryAfterOrder, "OrdersPerPage": o.OrdersPerPage,
		"AlternateRoots": o.AlternateRoots, "ChainLength": o.ChainLength, "HTTPPort": o.HTTPPort, "TLSPort": o.TLSPort,
	} {
		if n < 0 {
			return fmt.Errorf("acmetest: %s %d is negative", name, n)
		}
	}
	if o.KeyAlg != "" && o.KeyAlg != "ecdsa" && o.KeyAlg != "rsa" {
		return fmt.Errorf("acmetest: KeyAlg %q is unknown: use ecdsa or rsa", o.KeyAlg)
	}
	for id, key := range o.RequireEAB {
		if raw, err := base64.RawURLEncoding.DecodeString(key); err != nil || len(raw) == 0 || id == "" {
			return errors.New("acmetest: RequireEAB wants a key ID and a base64url key without padding")
		}
	}
	return nil
}

// keyAlg returns the issuing CA's key algorithm in Pebble's words.
func (o *Options) keyAlg() string {
	if o.KeyAlg == "" {
		return "ecdsa"
	}
	return o.KeyAlg
}

// chainLength returns the number of intermediates; Pebble panics on zero.
func (o *Options) chainLength() int { return max(1, o.ChainLength) }

// profiles returns the profiles in Pebble's words; 0 seconds means 90 days.
func (o *Options) profiles() map[string]ca.Profile {
	if len(o.Profiles) == 0 {
		return map[string]ca.Profile{"default": {Description: "90 days"}}
	}
	profiles := make(map[string]ca.Profile, len(o.Profiles))
	for name, validity := range o.Profiles {
		profiles[name] = ca.Profile{
			Description:    validity.String(),
			ValidityPeriod: uint64(max(0, validity/time.Second)),
		}
	}
	return profiles
}
