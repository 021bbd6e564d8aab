package acmetest

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// A Revocation is one certificate that the scripted CA has revoked (§7.6).
type Revocation struct {
	Certificate []byte // DER
	Reason      int
	ByKey       bool // signed by the certificate's key, not by the account
}

// Revocations returns what has been revoked, in the order of issuance.
func (ca *FaultyCA) Revocations() []Revocation {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	var all []Revocation
	for _, o := range ca.state.orders {
		if o.revoked != nil {
			all = append(all, *o.revoked)
		}
	}
	return all
}

// Contacts returns the contacts and the status of the first account.
func (ca *FaultyCA) Contacts() (contacts []string, status string) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if len(ca.state.accounts) == 0 {
		return nil, ""
	}
	return slices.Clone(ca.state.accounts[0].contacts), ca.state.accounts[0].status
}

// Accounts returns how many accounts have been made.
func (ca *FaultyCA) Accounts() int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return len(ca.state.accounts)
}

// Lose returns a fault that carries out the requests of operation and resets the
// connection in place of the answer.
func Lose(operation string) Fault {
	return Fault{
		Name:      "lose/" + operation,
		Doc:       "does what it is asked to, and resets the connection before the answer",
		Operation: operation,
		wire:      func(w http.ResponseWriter, _ *exchange) { reset(w, nil, 0) },
	}
}

// handleRevoke revokes a certificate of the account's own, or whose key signs
// (§7.6).
func (ca *FaultyCA) handleRevoke(x *exchange, key *jose.JSONWebKey) {
	var in struct {
		Certificate string
		Reason      int
	}
	der, err := []byte(nil), json.Unmarshal(x.payload, &in)
	if err == nil {
		der, err = base64.RawURLEncoding.DecodeString(in.Certificate)
	}
	i := slices.IndexFunc(ca.state.orders, func(o *order) bool { return o.issued && slices.Equal(o.leaf, der) })
	if err != nil || i < 0 {
		x.problem(http.StatusNotFound, "malformed", "there is no such certificate")
		return
	}
	byKey := x.account == nil
	switch {
	case !byKey && ca.state.orders[i].account != x.account, byKey && !isKeyOf(key, der):
		x.problem(http.StatusForbidden, "unauthorized", "the certificate is somebody else's")
	case ca.state.orders[i].revoked != nil:
		x.problem(http.StatusBadRequest, "alreadyRevoked", "the certificate is revoked")
	case in.Reason < 0 || in.Reason > 10 || in.Reason == 7:
		x.problem(http.StatusBadRequest, "badRevocationReason", "this is no reason")
	default:
		ca.state.orders[i].revoked = &Revocation{Certificate: der, Reason: in.Reason, ByKey: byKey}
	}
}

// isKeyOf reports whether key is that of a certificate.
func isKeyOf(key *jose.JSONWebKey, der []byte) bool {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return false
	}
	pub, ok := key.Key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && pub.Equal(leaf.PublicKey)
}

// handleKeyChange gives the account the key of the inner JWS (§7.3.5).
func (ca *FaultyCA) handleKeyChange(x *exchange) {
	inner, err := jose.ParseSigned(string(x.payload), []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.RS256})
	if err != nil || len(inner.Signatures) != 1 || inner.Signatures[0].Protected.JSONWebKey == nil {
		x.problem(http.StatusBadRequest, "malformed", "no inner JWS with a key")
		return
	}
	next := inner.Signatures[0].Protected.JSONWebKey
	payload, err := inner.Verify(next)
	var in struct {
		Account string
		OldKey  jose.JSONWebKey
	}
	url, _ := inner.Signatures[0].Protected.ExtraHeaders["url"].(string)
	switch {
	case err != nil || json.Unmarshal(payload, &in) != nil || url != ca.main.url("/key-change"):
		x.problem(http.StatusBadRequest, "malformed", "the inner JWS is wrong")
	case in.Account != ca.main.url("/account/"+x.account.id) || thumbprint(&in.OldKey) != thumbprint(x.account.key):
		x.problem(http.StatusBadRequest, "malformed", "this is not the account or not its key")
	case slices.ContainsFunc(ca.state.accounts, func(a *account) bool { return thumbprint(a.key) == thumbprint(next) }):
		x.problem(http.StatusConflict, "malformed", "an account has this key")
	default:
		x.account.key = next
		x.json(http.StatusOK, map[string]any{"status": x.account.status, "contact": slices.Concat([]string{}, x.account.contacts)})
	}
}
