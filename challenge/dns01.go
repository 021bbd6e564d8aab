package challenge

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"certd/acme"
)

// TypeDNS01 is the challenge type that is answered in a TXT record (RFC 8555 §8.4).
const TypeDNS01 = "dns-01"

// DNS01 answers dns-01 and, with a Label, dns-account-01 challenges of one target.
// DNS must be set. It matches
// issue.Solver, issue.Waiter and issue.Sequencer, and is safe for concurrent use.
type DNS01 struct {
	DNS      *DNS
	Target   string            // file name in desired/, for hooks; may be empty
	Provider string            // of certd-dns; empty means that hooks set the records
	EnvFile  string            // with the provider's credentials; empty means that it needs none
	Delegate string            // name of the records, for which "_acme-challenge" and each name is an alias; empty means that the DNS tells
	Env      map[string]string // environment of hooks
	Trial    bool              // the records prove nothing: they are the doctor's, and it removes them
	Label    string            // in front of "_acme-challenge": the AccountLabel of dns-account-01; empty means dns-01

	mu   sync.Mutex
	held map[string]*held // by token, from Present to CleanUp
}

// held is a record that was presented.
type held struct {
	record  DNSRecord
	terms   Terms
	release func() // of the provider's turn
	shown   bool   // Present succeeded
	perhaps bool   // it failed, and the record may be there although
	seen    bool   // Wait did, too
}

// A DNSRecord is a TXT record that was set, or is about to be: what it takes to
// remove it again, also by another process. It is journaled as JSON.
type DNSRecord struct {
	Domain           string            `json:"domain"` // that is proven, without "*."
	Name             string            `json:"name"`   // of the record: where the aliases of "_acme-challenge." and Domain end
	Value            string            `json:"value"`
	KeyAuthorization string            `json:"key_authorization"`
	Target           string            `json:"target"`
	Provider         string            `json:"provider"` // empty for hooks
	EnvFile          string            `json:"env_file"`
	Env              map[string]string `json:"env,omitempty"`    // of hooks
	Memory           []byte            `json:"memory,omitempty"` // what the provider wants to know again
	Created          time.Time         `json:"created"`
	Trial            bool              `json:"trial,omitempty"` // a doctor's, not an order's
}

// Present sets the record, and returns once the provider or a hook says that it
// did so. The record is journaled before.
func (d *DNS01) Present(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	if err := checkDNS(id, ch); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("set TXT record for %s: %w", id.Value, err)
	}
	d.mu.Lock()
	h := d.held[ch.Token]
	d.mu.Unlock()
	if h != nil && h.shown {
		return nil
	}
	r, err := d.record(ctx, id, ch)
	if err != nil {
		return fmt.Errorf("set TXT record for %s: %w", id.Value, err)
	}
	if h == nil {
		terms, err := d.DNS.terms(ctx, r)
		if err != nil {
			return fmt.Errorf("set TXT record %s: %w", r.Name, err)
		}
		release, err := d.DNS.turn(ctx, r, terms)
		if err != nil {
			return fmt.Errorf("set TXT record %s: wait for another one of %s: %w", r.Name, r.Provider, err)
		}
		h = &held{record: r, terms: terms, release: release}
		d.mu.Lock()
		if d.held == nil {
			d.held = map[string]*held{}
		}
		d.held[ch.Token] = h
		d.mu.Unlock()
	}
	err = d.DNS.set(ctx, r)
	d.mu.Lock()
	_, h.perhaps = errors.AsType[perhapsError](err)
	h.shown = err == nil
	d.mu.Unlock()
	if err != nil {
		return fmt.Errorf("set TXT record %s: %w", r.Name, err)
	}
	return nil
}

// record is the record for ch.
func (d *DNS01) record(ctx context.Context, id acme.Identifier, ch acme.Challenge) (DNSRecord, error) {
	r := DNSRecord{Domain: strings.ToLower(id.Value), Value: dnsValue(ch), KeyAuthorization: ch.KeyAuthorization,
		Target: d.Target, Provider: d.Provider, EnvFile: d.EnvFile, Created: time.Now().UTC(), Trial: d.Trial}
	if d.Provider == "" {
		r.EnvFile, r.Env = "", d.Env
	}
	if r.Name = strings.ToLower(strings.TrimSuffix(d.Delegate, ".")); r.Name != "" {
		return r, nil
	}
	end, err := d.DNS.Checker.Follow(ctx, d.recordName(r.Domain))
	if err != nil && (!d.DNS.NoWait || ctx.Err() != nil) {
		return r, err
	}
	if r.Name = end; err != nil {
		r.Name = d.recordName(r.Domain)
	}
	if !isHost(r.Name) { // hooks get it
		return r, fmt.Errorf("%s leads to %q, which is no name for a record", d.recordName(r.Domain), acme.Sanitize(r.Name))
	}
	return r, nil
}

// recordName is where the CA looks for the record (RFC 8555 §8.4).
func (d *DNS01) recordName(domain string) string {
	name := "_acme-challenge." + domain
	if d.Label != "" {
		name = d.Label + "." + name
	}
	return name
}

// dnsValue is the content of the TXT record (RFC 8555 §8.4).
func dnsValue(ch acme.Challenge) string {
	sum := sha256.Sum256([]byte(ch.KeyAuthorization))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// CleanUp removes the record that Present, of this process or an earlier one,
// has journaled. Without one there is nothing to do. What could not be removed
// stays in the journal. There is no error if that is a record that perhaps was
// never set, and that no server shows.
func (d *DNS01) CleanUp(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	if err := checkDNS(id, ch); err != nil {
		return err
	}
	d.mu.Lock()
	h := d.held[ch.Token]
	delete(d.held, ch.Token)
	d.mu.Unlock()
	if h == nil {
		return d.DNS.removeLeft(ctx, dnsValue(ch))
	}
	defer h.release()
	err := d.DNS.remove(ctx, h.record, (h.shown || h.perhaps) && !h.seen)
	if errors.Is(err, errUnseen) && !h.shown {
		return nil // Present has said what is wrong, and the next run sees to it
	}
	return err
}

// Wait returns nil once everybody shows the record, together with the others
// that this solver has set under its name, as the CA would find them. Without
// a check there is nothing to wait for.
func (d *DNS01) Wait(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	if err := checkDNS(id, ch); err != nil {
		return err
	}
	d.mu.Lock()
	h := d.held[ch.Token]
	var values []string
	if h != nil {
		values = d.values(h.record.Name)
	}
	d.mu.Unlock()
	if h == nil || d.DNS.NoWait {
		return nil
	}
	name := d.recordName(h.record.Domain)
	checker := d.DNS.Checker.To(d.Delegate, name)
	if d.Delegate != "" && !checker.Only {
		if err := checkAlias(ctx, checker, name, h.record.Name); err != nil {
			return err
		}
	}
	if err := checker.Wait(ctx, name, values, h.terms.Limit, h.terms.Interval); err != nil {
		return err
	}
	d.mu.Lock()
	h.seen = true
	d.mu.Unlock()
	return nil
}

// Patience is how long Wait may take: as long as the provider says, and until the
// servers have settled.
func (d *DNS01) Patience(ch acme.Challenge) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.held[ch.Token]
	if h == nil || d.DNS.NoWait {
		return 0
	}
	return h.terms.Limit + d.DNS.Checker.Settle
}

// values are all values that are set under a name now.
func (d *DNS01) values(name string) []string {
	var all []string
	for _, h := range d.held {
		if h.shown && h.record.Name == name {
			all = append(all, h.record.Value)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Sequence says that challenges of the same queue have to be proven one after
// the other, with a pause between them, because the provider keeps one value at
// a time. An empty queue means that they can be proven together.
func (d *DNS01) Sequence(ctx context.Context) (queue string, pause time.Duration) {
	terms, err := d.DNS.terms(ctx, DNSRecord{Provider: d.Provider, EnvFile: d.EnvFile})
	if err != nil || !terms.Sequential {
		return "", 0 // Present tells the error
	}
	return d.Provider + " " + d.EnvFile, terms.Pause
}

// checkDNS is check for a challenge in the DNS.
func checkDNS(id acme.Identifier, ch acme.Challenge) error {
	if err := check(id, ch); err != nil {
		return err
	}
	if _, err := netip.ParseAddr(id.Value); err == nil || id.Type != "dns" || strings.Contains(id.Value, ":") {
		return fmt.Errorf("challenge for %q: %w", acme.Sanitize(id.Value), errNoDNSName)
	}
	return nil
}

var errNoDNSName = errors.New("only names can be proven in the DNS, not IP addresses")
