package challenge

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"certd/challenge/dnscheck"
)

// The events of acmetool for hooks that set DNS records.
const (
	EventDNSStart = "challenge-dns-start"
	EventDNSStop  = "challenge-dns-stop"
)

// ErrDNSUnhandled reports that no hook took up the event challenge-dns-start.
var ErrDNSUnhandled = errors.New("no hook handled " + EventDNSStart)

// errUnseen reports a record that could not be removed and that no server shows.
var errUnseen = errors.New("no server shows it yet")

// A perhapsError is of a record that was not set, as far as is known: the answer
// did not come, or came half way.
type perhapsError struct{ error }

func (e perhapsError) Unwrap() error { return e.error }

// hookLimit is for servers to show what a hook set; acmetool's dns.hook waits itself.
const hookLimit = time.Minute

// A RecordJournal remembers records until they are removed. SaveRecord and
// RemoveRecord return only once that is durable. An id is 52 letters and digits.
//
// HoldRecord opens a record's entry, for certd-dns or a hook to have it open while
// it is at work: it waits, but not for longer than wait, until no other process has, since
// what a process that was killed has started goes on. The error is fs.ErrNotExist
// without such an entry.
type RecordJournal interface {
	SaveRecord(id string, data []byte) error
	RemoveRecord(id string) error
	HoldRecord(ctx context.Context, id string, wait time.Duration) (*os.File, error)
}

// Terms are how a provider works.
type Terms struct {
	Limit      time.Duration // how long its servers may take to show a record
	Interval   time.Duration // how often to look
	Sequential bool          // it keeps one value at a time
	Pause      time.Duration // between two of them
}

// DNS sets and removes the TXT records of a process, by certd-dns or by hooks,
// and has each in the journal until it is gone. It is shared by the targets. The
// zero value of a field is documented there.
type DNS struct {
	Journal RecordJournal     // nil means that records are remembered by this process only
	Helper  *Helper           // nil means that there is no certd-dns
	Hook    HookFunc          // nil means that there are no hooks
	Checker *dnscheck.Checker // must be set
	NoWait  bool              // do not look whether records are visible

	mu     sync.Mutex
	known  map[string]Terms         // by provider and file
	turns  map[string]chan struct{} // likewise, of providers that keep one value
	active map[string]bool          // records that this process has set, by id
	left   map[string]DNSRecord     // those that are not removed yet, of earlier processes too
	swept  map[string]chan struct{} // of those that Sweep is at; closed when it is done
	hooks  sync.Mutex               // one at a time: they may change one file
}

// ID is the record's name in the journal.
func (r DNSRecord) ID() string {
	sum := sha256.Sum256([]byte(r.Provider + "\x00" + r.Name + "\x00" + r.Value))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
}

// terms asks the provider of r how it works, once.
func (d *DNS) terms(ctx context.Context, r DNSRecord) (Terms, error) {
	if r.Provider == "" {
		if d.Hook == nil {
			return Terms{}, errors.New("neither request.challenge.dns-provider is set, nor are there hooks to run")
		}
		return Terms{Limit: hookLimit}, nil
	}
	if d.Helper == nil {
		return Terms{}, errors.New("there is no certd-dns")
	}
	key := r.Provider + " " + r.EnvFile
	d.mu.Lock()
	known, ok := d.known[key]
	d.mu.Unlock()
	if ok {
		return known, nil
	}
	terms, err := d.Helper.describe(ctx, r)
	if err != nil {
		return terms, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil {
		d.known = map[string]Terms{}
	}
	d.known[key] = terms
	return terms, nil
}

// Ready returns what keeps a provider of certd-dns from being used until somebody
// mends it, nil if nothing does: the program has to be there, the file readable,
// and the variables complete. Nothing is set. What may pass by is no reason.
func (d *DNS) Ready(ctx context.Context, provider, envFile string) error {
	_, err := d.terms(ctx, DNSRecord{Provider: provider, EnvFile: envFile})
	if _, lasting := errors.AsType[unfit](err); lasting {
		return err
	}
	return nil
}

// turn waits until no other record of a provider that keeps one value is set.
func (d *DNS) turn(ctx context.Context, r DNSRecord, terms Terms) (release func(), err error) {
	if !terms.Sequential {
		return func() {}, nil
	}
	key := r.Provider + " " + r.EnvFile
	d.mu.Lock()
	if d.turns == nil {
		d.turns = map[string]chan struct{}{}
	}
	if d.turns[key] == nil {
		d.turns[key] = make(chan struct{}, 1)
	}
	mine := d.turns[key]
	d.mu.Unlock()
	select {
	case mine <- struct{}{}:
		return func() { <-mine }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// set journals a record, and then sets it.
func (d *DNS) set(ctx context.Context, r DNSRecord) error {
	if err := d.claim(ctx, r.ID()); err != nil {
		return err
	}
	d.mu.Lock()
	kept, left := d.left[r.ID()]
	d.mu.Unlock()
	if left { // by an earlier process, whose certd-dns may undo it yet
		hold, err := d.hold(ctx, r.ID(), helperGrace)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		unhold(hold)
	}
	r.Memory = kept.Memory // the record may be there already
	if err := d.save(r); err != nil {
		return err
	}
	hold, err := d.hold(ctx, r.ID(), 0)
	if err != nil {
		return err
	}
	defer unhold(hold)
	if r.Provider == "" {
		return d.runHook(ctx, EventDNSStart, r, hold)
	}
	memory, err := d.Helper.present(ctx, r, hold)
	if len(memory) > 0 {
		r.Memory = memory
		err = errors.Join(err, d.save(r))
	}
	return err
}

// claim makes a record this process's, once Sweep has let go of it.
func (d *DNS) claim(ctx context.Context, id string) error {
	for {
		d.mu.Lock()
		swept := d.swept[id]
		if swept == nil {
			if d.active == nil {
				d.active = map[string]bool{}
			}
			d.active[id] = true
			d.mu.Unlock()
			return nil
		}
		d.mu.Unlock()
		select {
		case <-swept:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *DNS) save(r DNSRecord) error {
	d.mu.Lock()
	if d.left == nil {
		d.left = map[string]DNSRecord{}
	}
	d.left[r.ID()] = r
	d.mu.Unlock()
	if d.Journal == nil {
		return nil
	}
	data, err := json.Marshal(r)
	if err == nil {
		err = d.Journal.SaveRecord(r.ID(), data)
	}
	if err != nil {
		return fmt.Errorf("journal it: %w", err)
	}
	return nil
}

// remove removes a record and forgets it. One that the provider cannot remove,
// but that no server shows, counts as removed unless it is fresh: nobody has seen
// it, and servers may not show it yet. One that another process has removed is
// forgotten.
func (d *DNS) remove(ctx context.Context, r DNSRecord, fresh bool) error {
	d.mu.Lock()
	if kept, ok := d.left[r.ID()]; ok {
		r = kept // with what the provider wants to know again
	}
	mine := d.active[r.ID()]
	d.mu.Unlock()
	hold, err := d.hold(ctx, r.ID(), helperGrace)
	gone := errors.Is(err, fs.ErrNotExist)
	if err != nil && !gone {
		return err
	}
	defer unhold(hold)
	switch {
	case gone && !mine:
		d.forget(r.ID())
		return nil
	case r.Provider == "":
		err = d.runHook(ctx, EventDNSStop, r, hold)
	case d.Helper == nil:
		err = errors.New("there is no certd-dns")
	default:
		err = d.Helper.cleanUp(ctx, r, hold)
	}
	if err != nil {
		shown, lookErr := d.Checker.Shown(ctx, r.Name, r.Value)
		if fresh && !shown && lookErr == nil {
			err = fmt.Errorf("%w: %w", errUnseen, err)
		}
		if fresh || shown || lookErr != nil {
			return fmt.Errorf("remove TXT record %s with the value %s (it is tried again; or remove it by hand): %w", r.Name, r.Value, err)
		}
	}
	d.forget(r.ID())
	if d.Journal == nil {
		return nil
	}
	return d.Journal.RemoveRecord(r.ID())
}

func (d *DNS) forget(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.active, id)
	delete(d.left, id)
}

// hold opens the entry of a record in the journal, as RecordJournal says; nil
// without a journal.
func (d *DNS) hold(ctx context.Context, id string, wait time.Duration) (*os.File, error) {
	if d.Journal == nil {
		return nil, nil
	}
	return d.Journal.HoldRecord(ctx, id, wait)
}

// unhold ends what hold began, also for what a hook that has ended left behind.
func unhold(hold *os.File) {
	if hold != nil {
		_ = unix.Flock(int(hold.Fd()), unix.LOCK_UN) // else the end of all who have it open does it
		_ = hold.Close()                             // only read
	}
}

// runHook runs an event as acmetool does: host name, target, value, and an empty
// argument, which is "wildcard" never, as authorizations have the bare name.
func (d *DNS) runHook(ctx context.Context, event string, r DNSRecord, hold *os.File) error {
	if d.Hook == nil {
		return fmt.Errorf("%w: there are none", ErrDNSUnhandled)
	}
	d.hooks.Lock()
	defer d.hooks.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	env := map[string]string{"CERTD_DNS_RECORD": r.Name}
	for k, v := range r.Env {
		env[k] = v
	}
	handled, err := d.Hook(ctx, event, []string{r.Domain, r.Target, r.Value, ""}, nil, env, hold)
	switch {
	case handled:
		return nil
	case err != nil: // such as of acmetool's dns.hook, which sets a record and then does not see it
		return perhapsError{fmt.Errorf("hook %s for %s: %w", event, r.Domain, err)}
	case event == EventDNSStop:
		return nil
	}
	return fmt.Errorf("%w; install one, or set request.challenge.dns-provider", ErrDNSUnhandled)
}

// checkAlias wants name to be an alias for record.
func checkAlias(ctx context.Context, checker *dnscheck.Checker, name, record string) error {
	end, err := checker.Follow(ctx, name)
	if err != nil {
		return err
	}
	if end != record {
		return fmt.Errorf("request.challenge.delegate is %s, but %s leads to %s; create the record: %s. CNAME %s", record, name, end, name, record)
	}
	return nil
}
