// Package plan is what is due, and why. It is pure: no I/O, no clock, no randomness.
package plan

import (
	"time"

	"certd/acme"
	"certd/config"
	"certd/limit"
	"certd/state"
)

// Input is all that Compute looks at. It is read only, and nothing of it is
// kept in the result.
type Input struct {
	Now      time.Time        // the instant to plan for
	Targets  []*config.Target // what is wanted, all of it: ownership of names needs every target
	Settings *config.Settings // for the CAs; nil means the defaults
	State    *state.Snapshot  // what there is; nil means nothing
	Force    map[string]bool  // targets, by File, to renew now although they are not due
	// NextRun is when certd is started next; zero if a daemon wakes at the very
	// moment something is due. What a CA suggests for a moment before it is done
	// now (RFC 9773 §4.2).
	NextRun time.Time
	// Limits are what the CAs were asked lately; nil means nothing.
	Limits *limit.Book
	// Stopped says why nothing is done now, such as a configuration that cannot be
	// read: every target waits, and which CAs it may have is not known. Empty means
	// that it is not.
	Stopped string
	// Unread are targets, by File, that are wanted but whose file could not be
	// read, as config.Targets.Unread has them: Stale leaves their orders alone.
	Unread map[string]bool
	// Busy are targets, by File, that somebody is at already: Compute has no action
	// for them, and Stale leaves their orders alone.
	Busy map[string]bool
}

// Kind says what a target needs.
type Kind string

// The kinds of [contract] plan output.
const (
	Keep   Kind = "keep"   // nothing to do before At
	Order  Kind = "order"  // ask the CA for a certificate now
	Resume Kind = "resume" // go on with the journaled order
	Relink Kind = "relink" // a good certificate is on disk, live/ does not point to it
	Wait   Kind = "wait"   // something is needed but must not be tried before At
)

// Cause is the machine word of why a target needs an order; it is the label
// "reason" of the metrics.
type Cause string

// The causes of an order.
const (
	CauseNone    Cause = ""
	CauseNew     Cause = "new"          // no certificate yet
	CauseExpiry  Cause = "expiry"       // its renewal point has passed
	CauseARI     Cause = "ari"          // the CA's suggested window
	CauseRevoked Cause = "revoked"      //
	CauseChanged Cause = "want_changed" // names, key type, CA or profile differ from what is wanted
	CauseDamaged Cause = "damaged"      // key missing or files damaged
	CauseManual  Cause = "manual"       // --force
)

// An Action is what is to be done for one target, and why.
type Action struct {
	Target string    // file name in desired/
	Names  []string  // what is ordered or kept, sorted
	Kind   Kind      //
	Cause  Cause     // of an order, resume or wait
	Reason string    // in words, one line
	At     time.Time // UTC: when the next thing is due; for order, resume and relink the moment given to Compute; never zero
	CertID string    // best certificate on disk; empty if none satisfies the target

	Due         time.Time // UTC: when that certificate is to be renewed; zero without one
	DueBy       Cause     // what decides Due: CauseExpiry or CauseARI
	Explanation string    // URL by which the CA explains its suggested window, for people; empty without

	// Links are the live names this target owns, sorted, and Stale those of them
	// that do not point to CertID yet (set even when Kind is order). Stale is
	// empty if CertID is, and if that certificate must not be linked: it has
	// expired, or is not valid yet.
	Links []string
	Stale []string

	Open *acme.OpenOrder // the journaled order of a Resume
	CA   string          // directory URL that will be asked (first choice)

	// CAs are the directory URLs to ask, one after the other while they fail, of an
	// Order or Resume: CA first, then those of the target that work, in its order.
	// Asks are what each is asked, as far as limits care.
	CAs  []string
	Asks []limit.Ask
	// Limit is the limit that a Wait waits for, limit.RateLimited if the CA set it,
	// or Breaker. Empty if it waits for something else.
	Limit string
	// End is when the certificate that satisfies the target ends: what ends first
	// comes first. Zero if there is none. Latest is until when a limit can be waited
	// for; zero if there is no certificate to be served meanwhile.
	End, Latest time.Time
	// Unpaused says that somebody forces a target whose CA has paused a name, so the
	// CA's word of then is not heeded.
	Unpaused bool

	patience time.Duration // for how long a CA that does not work is left alone; 0 if that is up to it

	need string // Reason without what is done about it
}
