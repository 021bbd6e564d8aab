// Package acme is what goes on the wire to a CA (RFC 8555): golang.org/x/crypto/acme
// under a transport that trusts the CA with nothing.
package acme

import (
	"crypto"
	"net/netip"
	"time"
)

// An Identifier is what a certificate is asked for (RFC 8555 §7.1.3,
// RFC 8738 for IP addresses). The zero value is invalid.
type Identifier struct {
	Type  string `json:"type"`  // "dns" or "ip"
	Value string `json:"value"` // an A-label name, "*." allowed in front, or a canonical IP address
}

// NewIdentifier returns the identifier of a validated name: of type "ip" if
// name is the text of an IP address, else of type "dns".
func NewIdentifier(name string) Identifier {
	if addr, err := netip.ParseAddr(name); err == nil {
		return Identifier{Type: "ip", Value: addr.String()}
	}
	return Identifier{Type: "dns", Value: name}
}

// Status is the state of an order, authorization or challenge (RFC 8555 §7.1.6).
type Status string

// The states of RFC 8555 §7.1.6. Whatever else a CA sends is a protocol error.
const (
	StatusPending     Status = "pending"
	StatusReady       Status = "ready"
	StatusProcessing  Status = "processing"
	StatusValid       Status = "valid"
	StatusInvalid     Status = "invalid"
	StatusDeactivated Status = "deactivated"
	StatusExpired     Status = "expired"
	StatusRevoked     Status = "revoked"
)

// A Directory is what a CA says of itself (RFC 8555 §7.1.1).
type Directory struct {
	Terms       string            // URL of the terms of service, empty if none
	Website     string            // empty if none
	CAA         []string          // names for CAA records (RFC 8659)
	EABRequired bool              // newAccount wants an external account binding (§7.3.4)
	Profiles    map[string]string // profile name to its description; empty without profiles
	RenewalInfo string            // URL of RFC 9773 renewal information, empty if not offered
}

// An Account is the CA's record of an account key (RFC 8555 §7.1.2).
type Account struct {
	URL       string   // the key ID ("kid") of every signed request
	Status    Status   // valid, deactivated or revoked
	Contacts  []string // such as "mailto:ops@example.com"; empty where the CA keeps none
	OrdersURL string   // list of this account's orders (§7.1.2.1), empty where the CA has none
}

// EAB is an external account binding (RFC 8555 §7.3.4), HS256.
type EAB struct {
	KeyID string // as given by the CA
	HMAC  []byte // the decoded MAC key
}

// An Order is the CA's record of a request for one certificate (RFC 8555 §7.1.3).
type Order struct {
	URL            string
	Status         Status
	Expires        time.Time // zero if the CA did not say
	Identifiers    []Identifier
	Authorizations []string // URLs
	Finalize       string   // URL
	Certificate    string   // URL, set once Status is valid
	Profile        string   // as echoed by the CA; empty without profiles
	Replaces       string   // as echoed by the CA (RFC 9773 §5)
	Problem        *Problem // why the order became invalid; nil if the CA did not say
	// PollAt is when the CA wants to be asked again (Retry-After, §7.4), one to
	// thirty seconds from its answer; zero if it did not say and has nothing to do.
	PollAt time.Time
}

// An Authorization is the CA's record of one identifier to prove (RFC 8555 §7.1.4).
type Authorization struct {
	URL        string
	Status     Status
	Identifier Identifier // without "*."
	Wildcard   bool
	Expires    time.Time // zero if the CA did not say
	Challenges []Challenge
}

// A Challenge is one way to prove an identifier (RFC 8555 §7.1.5).
type Challenge struct {
	Type   string // "http-01", "dns-01", "tls-alpn-01" or anything else a CA thinks of
	URL    string
	Status Status
	// Token is [A-Za-z0-9_-]{22,128}, checked when it was read; empty for
	// challenge types that have none.
	Token string
	// KeyAuthorization is token "." thumbprint (§8.1), empty without a token.
	KeyAuthorization string
	// IssuerDomains are names of the CA for the record of dns-persist-01, lower case,
	// ten at most; empty for other types. Wildcard says that the authorization is for one.
	IssuerDomains []string
	Wildcard      bool
	Problem       *Problem // why the CA found it invalid; nil if it did not say
}

// An OpenOrder is an order that was sent to a CA and is not finished: what the
// journal keeps so that a later run goes on where this one was cut off.
type OpenOrder struct {
	URL       string    `json:"url"`             // empty between the intent to order and the CA's answer
	Directory string    `json:"directory"`       // of the CA
	Account   string    `json:"account"`         // account URL
	KeyID     string    `json:"key_id"`          // of the certificate key; empty until the order is ready
	Names     []string  `json:"names"`           // sorted
	Target    string    `json:"target"`          // file name in desired/
	Profile   string    `json:"profile"`         // asked for; empty for the CA's default
	KeyType   string    `json:"key_type"`        // as in config.KeyType.String
	Reason    string    `json:"reason"`          // why it was ordered, one of plan's reasons
	Replaces  string    `json:"replaces"`        // certID (RFC 9773 §4.1), empty without
	Trial     bool      `json:"trial,omitempty"` // at a staging directory: its certificate is never used
	Created   time.Time `json:"created"`         // UTC
	Expires   time.Time `json:"expires"`         // UTC; zero if the CA did not say
}

// An Exchange is one HTTP request to a CA and how it ended, for metrics and logs.
type Exchange struct {
	CA        string        // nickname of the CA
	Operation string        // directory, nonce, account, order, authz, challenge, finalize, cert, ari, revoke
	Status    int           // HTTP status; zero if there was no answer
	Sent      time.Time     // when the request began, with the monotonic clock
	Took      time.Duration // from the request to the end of the body
	Date      time.Time     // the CA's Date header; zero if absent or garbled
	Cached    bool          // the answer has an Age header, so Date is old
	Problem   string        // type of the problem document as in Problem.Type; empty if there was none
	RetryAt   time.Time     // UTC, as in Problem.RetryAt: until when the CA wants to be left alone; else zero
	Err       error         // of the transport; nil if there was an answer
}

// Options say which CA a Client talks to, and as whom.
// Directory must be set; every other field has a working zero value.
type Options struct {
	Name      string         // nickname of the CA for errors and exchanges; empty means the directory's host
	Directory string         // https URL
	Key       crypto.Signer  // account key, RSA or ECDSA; needed for all but Directory
	KID       string         // account URL if known, so that it need not be looked up
	RootsPEM  []byte         // trusted roots for the CA's own TLS; nil means the system's
	UserAgent string         // empty means "certd"
	Observe   func(Exchange) // called after every request, from many goroutines; nil means nobody looks
	Timeout   time.Duration  // of one HTTP request from the dial to the end of the body; zero means 60 s
}
