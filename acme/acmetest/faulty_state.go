package acmetest

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"certd/acme"

	"github.com/go-jose/go-jose/v4"
)

// A ledger is all that the scripted CA remembers.
type ledger struct {
	nonces map[string]bool // good ones
	serial int             // last identifier given out
	// firstNonce is the only one that a fault gives out; empty without it.
	firstNonce string
	noTerms    bool // newAccount need not agree to terms
	accounts   []*account
	orders     []*order
	authzs     []*authorization
}

// An account is one account key (RFC 8555 §7.1.2).
type account struct {
	id       string
	key      *jose.JSONWebKey
	status   string
	contacts []string
}

// An order is one request for a certificate (§7.1.3).
type order struct {
	id          string
	account     *account
	identifiers []acme.Identifier
	authzs      []*authorization
	expires     time.Time
	replaces    string                   // RFC 9773 §5; empty without
	request     *x509.CertificateRequest // nil before it is finalized
	leaf        []byte                   // DER, nil before it is finalized
	looked      bool                     // it was read when all was proven
	issued      bool                     // the client has been told to wait long enough
	revoked     *Revocation              // nil if it is not
}

// An authorization is one identifier to prove (§7.1.4).
type authorization struct {
	id         string
	account    *account
	identifier acme.Identifier // without "*."
	wildcard   bool
	status     string
	expires    time.Time
	challenges []*challenge
}

// A challenge is one way to prove it (§7.1.5).
type challenge struct {
	kind    string
	token   string
	status  string
	problem map[string]any // nil if none
}

func newLedger() ledger { return ledger{nonces: map[string]bool{}} }

// nextID returns a fresh identifier; they count up, so that runs look alike.
func (l *ledger) nextID() string {
	l.serial++
	return strconv.Itoa(l.serial)
}

// newNonce returns a fresh good nonce.
func (l *ledger) newNonce() string {
	nonce := randomToken()
	l.nonces[nonce] = true
	return nonce
}

// randomToken returns 256 random bits in 43 characters of base64url.
func randomToken() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails, says crypto/rand
	return base64.RawURLEncoding.EncodeToString(raw)
}

// newAuthorization adds an authorization for an identifier of an order.
func (l *ledger) newAuthorization(a *account, id acme.Identifier) *authorization {
	z := &authorization{
		id:         l.nextID(),
		account:    a,
		identifier: id,
		status:     "pending",
		expires:    time.Now().Add(24 * time.Hour),
	}
	kinds := []string{"http-01", "dns-01", "tls-alpn-01"}
	if name, ok := strings.CutPrefix(id.Value, "*."); ok {
		z.identifier.Value, z.wildcard = name, true
		kinds = []string{"dns-01"}
	}
	if id.Type == "ip" {
		kinds = []string{"http-01", "tls-alpn-01"}
	}
	for _, kind := range kinds {
		z.challenges = append(z.challenges, &challenge{kind: kind, token: randomToken(), status: "pending"})
	}
	l.authzs = append(l.authzs, z)
	return z
}

// status derives the state of an order from what it depends on (§7.1.6).
func (o *order) status() string {
	ready := true
	for _, z := range o.authzs {
		switch z.status {
		case "invalid", "deactivated":
			return "invalid"
		case "pending":
			ready = false
		}
	}
	switch {
	case o.issued:
		return "valid"
	case o.leaf != nil:
		return "processing"
	case ready:
		return "ready"
	}
	return "pending"
}

// names returns the identifiers' values, sorted.
func (o *order) names() []string {
	var names []string
	for _, id := range o.identifiers {
		names = append(names, id.Value)
	}
	slices.Sort(names)
	return names
}

// lookUp sets what the path of x is about, if anything.
func (ca *FaultyCA) lookUp(x *exchange) {
	path := strings.Split(strings.Trim(x.request.URL.Path, "/"), "/")
	if len(path) < 2 {
		return
	}
	x.id = path[len(path)-1]
	for _, o := range ca.state.orders {
		if slices.Contains([]string{"order", "finalize", "cert"}, path[0]) && o.id == path[1] {
			x.order = o
		}
	}
	for _, z := range ca.state.authzs {
		if slices.Contains([]string{"authz", "challenge"}, path[0]) && z.id == path[1] {
			x.authz = z
		}
	}
}
