package issue

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"certd/acme"
)

const (
	defaultTimeout = 15 * time.Minute
	cleanUpTimeout = 30 * time.Second // of one CleanUp
	cleanUpCut     = 5 * time.Second  // of all CleanUps, from a cancellation on,
	cleanUpLate    = time.Minute      // or from the end of Issuer.Timeout on
	giveUpTimeout  = 10 * time.Second
	waitTime       = time.Hour       // of Patience in one Issue; some providers of DNS take as long
	waitSteps      = 5 * time.Minute // between two Steps that say that such a wait goes on
	parallel       = 8               // requests and challenges at once, of one order
)

// An Issuer turns a Request into a certificate. Client, Journal and Keys must
// be set; the zero value of every other field is a working default. An Issuer
// may be used by many goroutines if its Solvers, Journal and Keys may.
type Issuer struct {
	Client   *acme.Client
	Solvers  map[string]Solver // by challenge type, such as "http-01"
	Journal  Journal
	Keys     Keys
	Progress func(Step)    // one call at a time for each Issue; nil: nobody looks
	Timeout  time.Duration // of one Issue, which Patience adds to, an hour at most; zero means 15 minutes
	// Unusable says of challenge types that have no Solver why not, in words for
	// an error: "dns-01": "no provider set".
	Unusable map[string]string
	// Authorized is told how each authorization ended: "valid", "reused" (it was
	// valid before), "invalid" or "expired", and the type of its challenge, which
	// may be empty. It is called from many goroutines; nil: nobody looks.
	Authorized func(challenge, outcome string)
	// Replaced is told once what became of Request.Open.Replaces (RFC 9773 §5) in
	// a newOrder: ReplaceOK, ReplaceMute, or ReplaceRefused with the CA's words.
	// nil: nobody looks.
	Replaced func(outcome, why string)
}

// Issue obtains the certificate of req, or goes on with the order of an earlier
// Issue that was cut off. On success the order is still journaled: close it once
// the certificate is published. On failure it is journaled if it can be taken up
// again (network, timeout, cancellation, a challenge that could not be presented
// or seen), and otherwise closed, its pending authorizations deactivated.
// The error wraps an *acme.Problem, or several joined, the most telling first;
// cancellation of ctx can also be told by errors.Is.
func (i *Issuer) Issue(ctx context.Context, req Request) (*Certificate, error) {
	limit := i.Timeout
	if limit == 0 {
		limit = defaultTimeout
	}
	bounded, cancel := newClock(ctx, limit, waitTime)
	defer cancel()

	r := &run{Issuer: i, req: req, open: req.Open, standStill: bounded.stop}
	cert, err := r.issue(bounded)
	left := errors.Join(r.leftovers...)
	if err == nil {
		cert.CleanUp = left
		return cert, nil
	}
	if bounded.Err() != nil && ctx.Err() == nil && cutOff(err) && acme.ClassOf(err) != acme.ClassWait {
		err = &acme.Problem{
			Operation: r.at, Class: acme.ClassTransient, Err: err,
			Detail: fmt.Sprintf("no certificate within %v", limit),
		}
		if r.itsTurn() {
			err = broken{err}
		}
	}
	if err = r.typed(err); left != nil {
		err = errors.Join(err, left)
	}
	return nil, err
}

// cutOff reports whether err is that a context ended.
func cutOff(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// A run is one Issue.
type run struct {
	*Issuer
	req        Request
	open       acme.OpenOrder                         // as journaled
	key        crypto.Signer                          // of open.KeyID; nil until it is needed
	at         string                                 // operation at work, for errors that are no Problem
	standStill func(most time.Duration) (goOn func()) // of the time that Timeout allows
	unswept    bool                                   // an earlier run may have been killed and left answers to the order's challenges behind
	leftovers  []error                                // of CleanUp
	mu         sync.Mutex                             // around Progress, and guards leftovers and last
	last       string                                 // step
}

func (r *run) issue(ctx context.Context) (*Certificate, error) {
	order, err := r.resume(ctx)
	if err == nil && order == nil && r.req.Adopt {
		order, err = r.adopt(ctx)
	}
	if err == nil && order == nil {
		order, err = r.newOrder(ctx)
	}
	if err == nil && order.Status == acme.StatusPending {
		order, err = r.authorize(ctx, order)
	}
	if err == nil && order.Status == acme.StatusReady {
		r.sweepOrder(ctx, order)
		order, err = r.finalize(ctx, order)
	}
	if err != nil {
		return nil, err
	}
	return r.collect(ctx, order)
}

// step reports progress on name.
func (r *run) step(name, step string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = step
	if r.Progress != nil {
		r.Progress(Step{Target: r.open.Target, Name: name, Step: step})
	}
}

// authorized tells how an authorization ended.
func (r *run) authorized(challenge, outcome string) {
	if r.Authorized != nil {
		r.Authorized(challenge, outcome)
	}
}

func (r *run) firstName() string {
	if len(r.open.Names) == 0 {
		return r.open.Target
	}
	return r.open.Names[0]
}

// problem is a failure found here, not by the CA.
func (r *run) problem(class acme.Class, id acme.Identifier, err error) *acme.Problem {
	return &acme.Problem{Operation: r.at, Class: class, Identifier: id, Detail: acme.Sanitize(err.Error()), Err: err}
}

// typed makes sure that err wraps a Problem.
func (r *run) typed(err error) error {
	if _, ok := errors.AsType[*acme.Problem](err); ok {
		return err
	}
	return r.problem(acme.ClassTransient, acme.Identifier{}, err)
}

// takeKey sets r.key for a CSR: the journaled key if it is there and can be read,
// else the one to reuse, else a new one; durable and journaled before it is used
// (the CSR comes after).
func (r *run) takeKey() error {
	if r.key != nil {
		return nil
	}
	// The order is ready, so no CSR came of a key that can't be loaded.
	if found, _ := r.journaledKey(); found {
		return nil
	}
	id := r.req.KeyID
	var key crypto.Signer
	var err error
	if id != "" {
		if key, err = r.Keys.LoadKey(id); err != nil {
			return r.problem(acme.ClassOperator, acme.Identifier{}, fmt.Errorf("load the key %s that is to be used again: %w", id, err))
		}
	} else {
		if key, err = r.req.NewKey(); err != nil {
			return r.problem(acme.ClassOperator, acme.Identifier{}, fmt.Errorf("make certificate key: %w", err))
		}
		if id, err = r.Keys.SaveKey(key); err != nil {
			return fmt.Errorf("save certificate key: %w", err)
		}
	}
	r.key, r.open.KeyID = key, id
	if err := r.Journal.SaveOrder(r.open); err != nil {
		return fmt.Errorf("journal the key of order %s: %w", r.open.URL, err)
	}
	return nil
}

// journaledKey loads the key that the order's journal names into r.key, and
// reports whether there is one.
func (r *run) journaledKey() (found bool, err error) {
	if r.open.KeyID == "" {
		return false, nil
	}
	key, err := r.Keys.LoadKey(r.open.KeyID)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, r.problem(acme.ClassTransient, acme.Identifier{},
			fmt.Errorf("the key %s of order %s cannot be loaded, the order is given up: %w", r.open.KeyID, r.open.URL, err))
	}
	r.key = key
	return true, nil
}
