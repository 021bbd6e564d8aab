// Package issue is how one certificate is obtained: order, authorize, finalize,
// download, accept; and how that is taken up again after a crash.
package issue

import (
	"context"
	"crypto"
	"crypto/x509"
	"time"

	"certd/acme"
)

// A Solver proves control of one identifier (RFC 8555 §8).
type Solver interface {
	// Present makes the answer to ch visible to the CA and returns soon.
	Present(ctx context.Context, id acme.Identifier, ch acme.Challenge) error
	// CleanUp removes whatever Present made, even if Present failed.
	CleanUp(ctx context.Context, id acme.Identifier, ch acme.Challenge) error
}

// A Waiter is a Solver whose answer can be checked from here: Wait returns nil
// once it is seen as the CA would see it. It is called after every Present of the
// order and before the CA is told; its error is the reason not to tell the CA.
type Waiter interface {
	Wait(ctx context.Context, id acme.Identifier, ch acme.Challenge) error
}

// A Patient Waiter depends on others who take their time, such as the name servers
// of a DNS provider: Patience is how long the Wait for ch may take, which does not
// count as the order's own time. Zero means that it does.
type Patient interface {
	Patience(ch acme.Challenge) time.Duration
}

// A Sequencer is a Solver whose challenges cannot all be presented at once, such
// as a DNS provider that keeps one value of a record: those of the same queue are
// proven one after the other, with a pause between. An empty queue means that
// there is no such need.
type Sequencer interface {
	Sequence(ctx context.Context) (queue string, pause time.Duration)
}

// A Preparer is a Solver that presents nothing: what the CA looks for must be
// there already. Prepared returns nil if it is; else the next way is taken. It is
// called before Present.
type Preparer interface {
	Prepared(ctx context.Context, id acme.Identifier, ch acme.Challenge) error
}

// A Journal makes orders survive the process. Every method returns only once the
// record is durable.
type Journal interface {
	// OpenOrder records that o (still without a URL) is about to be sent.
	OpenOrder(o acme.OpenOrder) error
	// SaveOrder records o under its URL, and that the intent of OpenOrder is answered.
	SaveOrder(o acme.OpenOrder) error
	// CloseOrder forgets o: finished, given up or never accepted by the CA.
	CloseOrder(o acme.OpenOrder) error
}

// Keys holds certificate keys.
type Keys interface {
	// SaveKey makes key durable and returns its ID.
	SaveKey(key crypto.Signer) (id string, err error)
	// LoadKey returns the key with this ID; the error wraps fs.ErrNotExist if there is none.
	LoadKey(id string) (crypto.Signer, error)
}

// A Request says which certificate is wanted.
type Request struct {
	Open     acme.OpenOrder                // Directory, Names, Target, Profile, KeyType, Reason (and Replaces) filled in; URL too when an order is resumed
	Adopt    bool                          // an earlier newOrder, whose intent Open is, went unanswered: look for its order at the CA before sending another
	NewKey   func() (crypto.Signer, error) // makes the certificate key, called once the order is ready and no key was journaled
	KeyID    string                        // reuse this key instead of NewKey; empty means a new one
	Roots    *x509.CertPool                // roots the chain must lead to; nil means that any self-consistent chain of two or more will do
	Chain    string                        // which of the chains the CA offers is wanted, see prefer; empty means its first
	Staple   bool                          // ask for must-staple
	SelfTest bool                          // call Waiters before the CA is told; those of challenges in the DNS are called in any case
	Avoid    []string                      // challenge types that failed before, the last one last: they are tried after all others, in this order
	// Anchors are roots that a chain of one certificate may lead to; nil means that
	// such a chain is refused. They say nothing about longer chains.
	Anchors *x509.CertPool
	// Admit is asked before each newOrder, which its error prevents; nil: there is
	// no limit.
	Admit func() error
	// Claim takes the order at url for this target and reports whether it could.
	// Some CAs answer a newOrder with an order that is already open for the same
	// names, which another target may be working on. nil: every order is free.
	Claim func(url string) bool
}

// A Certificate is an accepted certificate.
type Certificate struct {
	Open     acme.OpenOrder // the order as journaled; close it once the certificate is published
	KeyID    string
	Leaf     *x509.Certificate
	CertPEM  []byte // the leaf
	ChainPEM []byte // the intermediates, leaf's issuer first; may be empty
	CleanUp  error  // what a Solver could not remove after use; nil if all is gone
	Notice   string // why the chain is not the one that Request.Chain asked for, or not the CA's first; empty if it is
}

// A Step is progress of one target, for terminals and logs.
type Step struct {
	Target string
	Name   string // first name of the target or the identifier at work
	Step   string // order, authorize, self-test, validate, finalize, download
}
