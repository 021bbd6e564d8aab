// Package state is what is on disk: the state directory as a published format,
// and the only place that writes to it.
package state

import (
	"crypto"
	"time"

	"certd/acme"
)

// A Snapshot is everything the state directory held at one moment, without
// private keys. Broken entries are listed and otherwise left out.
type Snapshot struct {
	Certificates map[string]*Certificate // by certificate ID
	Live         map[string]string       // live name, such as "www.example.com" or "www.example.com:ecdsa", to certificate ID
	Orders       []acme.OpenOrder        // journaled orders with a URL, by creation time
	Attempts     map[string]Attempt      // by target (file name in desired/)
	Staged       map[string]Staged       // keys made ahead, by target
	Renewals     map[string]Renewal      // what CAs said of renewal, by certificate ID
	Pending      []Event                 // undelivered hook events, oldest first
	Broken       []Broken                // by path
	TooWide      []string                // private keys that everybody may read, relative to the state directory, by path; for Store.Narrow
}

// A Certificate is one directory of certs/: immutable once named.
type Certificate struct {
	ID        string    // base32 of SHA-256 of the order URL
	URL       string    // order URL (acmetool's oldest directories: certificate URL)
	Directory string    // directory URL of the CA; empty if nothing tells (no meta.json and no account link)
	Account   string    // account ID "<server>/<keyid>"; empty if there is no account link
	KeyID     string    // of the certificate's key
	KeyType   string    // of the leaf's public key, such as "ecdsa-p256" or "rsa-2048"
	HasKey    bool      // keys/<KeyID>/privkey is there and not empty
	Names     []string  // subject alternative names, A-labels and canonical IP addresses, sorted
	NotBefore time.Time // UTC
	NotAfter  time.Time // UTC
	Created   time.Time // UTC, when it was published here; zero if unknown, as for acmetool's
	Serial    string    // lower-case hex
	ARIID     string    // its identifier at the CA (RFC 9773 §4.1); empty if it has none
	Issuer    string    // common name of the issuer, sanitised
	Profile   string    // as asked for; empty if unknown or default
	Target    string    // file name in desired/; empty if unknown
	Reason    string    // why it was ordered; empty if unknown
	Revoked   bool      // a "revoke" or "revoked" flag file is there
	SetAside  bool      // kept out of live/ by a rollback
	Expiring  string    // step for which the event "expiring" was raised last; empty if none
	// RevokePending says that the CA has not confirmed the revocation yet, and
	// RevokeReason why it is wanted, as in RFC 5280; empty for acmetool's.
	RevokePending bool
	RevokeReason  string
	Damage        string // what is wrong with its files, in words; empty if nothing
}

// Compromised reports whether the certificate's key is not to be used again.
func (c *Certificate) Compromised() bool {
	return c.Revoked && c.RevokeReason == acme.ReasonKeyCompromise.String()
}

// Usable reports whether the certificate could be served: undamaged, not
// revoked and with its key.
func (c *Certificate) Usable() bool { return c.Damage == "" && !c.Revoked && c.HasKey }

// An Account is one directory of accounts/: a CA account and its key.
type Account struct {
	ID        string        // "<server>/<keyid>" (acmetool's account ID)
	Directory string        // directory URL of the CA
	Key       crypto.Signer // account key
	URL       string        // account URL; empty for acmetool's, which did not store it
	Contacts  []string      // such as "mailto:ops@example.com"
	OrdersURL string        // RFC 8555 §7.1.2.1; empty if the CA has none
	EABKeyID  string        // of the external account binding; empty without
	Terms     string        // URL of the terms of service that were agreed to; empty if not known
	Next      crypto.Signer // key of a rollover that has begun, which the CA may have by now; nil without
	Old       *Account      // whose key this one's has replaced at the CA, for FinishRollover; nil without
}

// An Attempt is what attempts/<target>.json keeps of a target's last try.
type Attempt struct {
	Target      string    `json:"target"`
	Digest      string    `json:"digest"` // of what was wanted: a changed target starts afresh
	CA          string    `json:"ca"`     // directory URL
	Account     string    `json:"account"`
	Failures    int       `json:"failures"`             // in a row; 0 after a success
	Class       string    `json:"class"`                // acme.Class of the last failure; empty after a success
	LastError   string    `json:"last_error"`           // sanitised, one line; empty after a success
	Name        string    `json:"name"`                 // the identifier that failed, if one did
	Challenges  string    `json:"challenges,omitempty"` // types of challenges that failed since the last success, with spaces between, the last one last
	LastAttempt time.Time `json:"last_attempt"`         // UTC, its end
	NextAttempt time.Time `json:"next_attempt"`         // UTC; zero means at once
	// Ordering is the order that was sent and whose answer has not been
	// journaled: the next run asks the CA for it before it orders again.
	Ordering *acme.OpenOrder `json:"ordering,omitempty"`
	// Elsewhere are such orders at other CAs, which were asked before that of
	// Ordering: at most one for each.
	Elsewhere []acme.OpenOrder `json:"elsewhere,omitempty"`
	// Paused says that the CA has paused the account for a name, and how to have
	// that undone: the URL that a person can visit, or the CA's words. Empty if not.
	Paused string `json:"paused,omitempty"`
}

// A Renewal is what renewal/<certid>.json keeps of the renewal information of a
// certificate (RFC 9773): the last window its CA suggested, and when to ask again.
type Renewal struct {
	ID          string    `json:"-"`           // of the certificate, from the file's name
	ARIID       string    `json:"ari_id"`      // of the certificate that the rest is about
	Start       time.Time `json:"start"`       // UTC, of the window; zero without one
	End         time.Time `json:"end"`         // UTC
	Chosen      time.Time `json:"chosen"`      // UTC, drawn once from the window; zero without one
	Doubted     bool      `json:"doubted"`     // it said "now" of a certificate just issued, and has to say so again
	Explanation string    `json:"explanation"` // URL, for people; empty without
	Polled      time.Time `json:"polled"`      // UTC, when the CA was asked last
	NextPoll    time.Time `json:"next_poll"`   // UTC, before which it is not asked again; zero means at once
	Failures    int       `json:"failures"`    // in a row
	LastError   string    `json:"last_error"`  // sanitised, one line; empty after a success
	// Unreplaced is why the CA would not let an order replace the certificate;
	// empty if it did not refuse one. It is not asked again.
	Unreplaced string `json:"unreplaced"`
}

// An Event is a hook event not yet delivered: one file of pending/.
type Event struct {
	ID          string    `json:"id"`     // file name without ".json"
	Event       string    `json:"event"`  // such as "live-updated"
	Names       []string  `json:"names"`  // live names, sorted
	Detail      string    `json:"detail"` // for the events that have one, such as the error of "failed"
	Done        []string  `json:"done"`   // hooks (paths) that have handled it
	Failures    int       `json:"failures"`
	LastError   string    `json:"last_error"`
	Created     time.Time `json:"created"`      // UTC
	NextAttempt time.Time `json:"next_attempt"` // UTC; zero means at once
}

// Broken is an entry of the state directory that could not be read or does not
// belong there. It is reported, left alone, and makes commands exit with 1.
type Broken struct {
	Path string // relative to the state directory
	Live string // the live name, if it is one: Link sets it right; else empty
	Err  error
}

// A NewCertificate is an accepted certificate about to be published.
type NewCertificate struct {
	URL       string   // order URL
	Directory string   // of the CA
	Account   string   // account ID
	KeyID     string   // its key is already in keys/
	Cert      []byte   // PEM of the leaf
	Chain     []byte   // PEM of the intermediates, may be empty
	Profile   string   // asked for
	Target    string   // file name in desired/
	Reason    string   // why it was ordered
	Names     []string // sorted
	NotBefore time.Time
	NotAfter  time.Time
	Files     Files // of the private key
}

// Files says whose a private key is and who may read it. Empty fields leave
// that to conf/perm.
type Files struct {
	Owner string // name or number of a user
	Group string // name or number of a group, which may then enter the key's directory
	Mode  string // octal, at most 0660; with Group and without Mode the group may read
}
