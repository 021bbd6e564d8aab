package dnscheck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// Defaults and bounds of waiting.
const (
	defaultLimit    = 2 * time.Minute
	shortest        = 500 * time.Millisecond // between two looks
	longest         = 15 * time.Second
	defaultInterval = 2 * time.Second
	patience        = 2 // looks in a row at which a server must not answer to be passed over
)

// A Checker looks for TXT records. Its zero value asks the system's resolvers who
// answers for a name, and those at port 53.
type Checker struct {
	Resolver string        // "host:port" that knows the zones and name servers; empty means the system's
	Port     int           // of authoritative servers; 0 means 53
	Only     bool          // ask Public only, no authoritative server
	Public   []string      // "host:port" of resolvers that must show the record as well
	Settle   time.Duration // how long to wait once everybody shows it

	// Wildcards says that nothing will be written at a name which is an alias only
	// by a wildcard's record: it stays one. False means that it is none.
	Wildcards bool
}

// To returns a Checker for records that are all written at delegate, or else c:
// empty means where the aliases of each name lead, as is name itself.
func (c *Checker) To(delegate, name string) *Checker {
	if delegate == "" || dns.CanonicalName(delegate) == dns.CanonicalName(name) {
		return c
	}
	to := *c
	to.Wildcards = true
	return &to
}

// Wait returns nil once every authoritative server of the zone that name leads to
// by its aliases shows all values, then every resolver of Public does, and Settle
// is over. A server that cannot be reached, or is not up to it, is passed over as
// long as another one shows them: so do resolvers. It looks again every interval
// (zero means 2 s) for as long as limit (zero means 2 min), or to the end of ctx.
// The error says who showed what instead.
func (c *Checker) Wait(ctx context.Context, name string, values []string, limit, interval time.Duration) error {
	if limit <= 0 {
		limit = defaultLimit
	}
	if interval <= 0 {
		interval = defaultInterval
	}
	interval = min(max(interval, shortest), longest)
	looks := []func(context.Context) error{c.authoritative(name, values), c.public(name, values)}
	if c.Only {
		looks = looks[1:]
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, look := range looks {
		if err := again(limited, interval, look); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("%w (seen until then: %w)", ctx.Err(), err)
			}
			return fmt.Errorf("not visible within %v: %w", limit, err)
		}
	}
	return pause(ctx, c.Settle)
}

// again looks until there is no error, or to the end of ctx; then it returns the
// last error that is not due to that end, if there is one.
func again(ctx context.Context, interval time.Duration, look func(context.Context) error) error {
	last := look(ctx)
	for last != nil {
		if pause(ctx, interval) != nil {
			return last
		}
		if err := look(ctx); err == nil || ctx.Err() == nil {
			last = err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// authoritative looks at all authoritative servers of name.
func (c *Checker) authoritative(name string, values []string) func(context.Context) error {
	var at *place
	silent := map[string]int{} // looks in a row without an answer, by address
	return func(ctx context.Context) error {
		if at == nil {
			var err error
			if at, err = c.locate(ctx, name); err != nil {
				return err
			}
		}
		found := discount(c.look(ctx, at))
		var wrong []string
		shown := 0
		for i, s := range at.servers {
			f := found[i]
			switch {
			case f.err != nil:
				if silent[s.addr]++; silent[s.addr] < patience && !hopeless(f.err) {
					wrong = append(wrong, fmt.Sprintf("%v: %v", s, f.err))
				}
				continue
			case !f.has(values):
				wrong = append(wrong, fmt.Sprintf("%v %s", s, f.without(at.name, values)))
			default:
				shown++
			}
			silent[s.addr] = 0
		}
		switch {
		case len(wrong) > 0:
			return errors.New(brief(wrong))
		case shown == 0:
			return fmt.Errorf("none of the %d name servers of %s answers; if only this machine cannot ask them, set challenge.dns-check: resolvers",
				len(at.servers), strings.TrimSuffix(at.zone, "."))
		}
		return nil
	}
}

// hopeless reports an error that another try would see again.
func hopeless(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, errBeside)
}

// A finding is what a server answered.
type finding struct {
	texts  []string
	err    error
	beside bool // it answers for another zone, or from memory: not the way an authoritative server does
}

// errBeside reports a server that does not answer for the zone it is named for.
var errBeside = errors.New("it does not answer for the zone (a lame delegation)")

func (f finding) has(values []string) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(f.texts, v) })
}

// without says what is missing of values.
func (f finding) without(name string, values []string) string {
	name = strings.TrimSuffix(name, ".")
	if len(f.texts) == 0 {
		return "has no TXT record " + name
	}
	missing := 0
	for _, v := range values {
		if !slices.Contains(f.texts, v) {
			missing++
		}
	}
	return fmt.Sprintf("has the TXT record %s, with %d of the %d values missing", name, missing, len(values))
}

// look asks all servers of a place.
func (c *Checker) look(ctx context.Context, at *place) []finding {
	found := make([]finding, len(at.servers))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, s := range at.servers {
		g.Go(func() error {
			m, err := Query(ctx, s.addr, at.name, dns.TypeTXT, false)
			if found[i].err = err; err == nil {
				found[i].texts, found[i].beside = texts(m), !m.Authoritative
			}
			return nil
		})
	}
	_ = g.Wait() // always nil
	return found
}

// discount makes errors of what servers answered for which the zone is not theirs,
// as resolvers do; but not where that is true of all of them.
func discount(found []finding) []finding {
	if slices.ContainsFunc(found, func(f finding) bool { return f.err == nil && !f.beside }) {
		for i, f := range found {
			if f.err == nil && f.beside {
				found[i] = finding{err: errBeside}
			}
		}
	}
	return found
}

// texts are the TXT records of an answer, each put together.
func texts(m *dns.Msg) []string {
	var all []string
	for _, rr := range m.Answer {
		if txt, ok := rr.(*dns.TXT); ok {
			all = append(all, strings.Join(txt.Txt, ""))
		}
	}
	return all
}

// public looks at all resolvers of Public.
func (c *Checker) public(name string, values []string) func(context.Context) error {
	return func(ctx context.Context) error {
		var wrong []string
		for _, resolver := range c.Public {
			m, err := Query(ctx, resolver, name, dns.TypeTXT, true)
			if err != nil {
				wrong = append(wrong, fmt.Sprintf("resolver %s: %v", resolver, err))
			} else if f := (finding{texts: texts(m)}); !f.has(values) {
				wrong = append(wrong, fmt.Sprintf("resolver %s %s", resolver, f.without(name, values)))
			}
		}
		if len(wrong) > 0 {
			return errors.New(brief(wrong))
		}
		return nil
	}
}

// Texts are the TXT records that a resolver has for name, aliases followed; none
// if there is no such name.
func (c *Checker) Texts(ctx context.Context, name string) ([]string, error) {
	m, err := c.resolve(ctx, dns.CanonicalName(name), dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	return texts(m), nil
}

// brief joins a few of many texts.
func brief(all []string) string {
	const most = 4
	if len(all) > most {
		return fmt.Sprintf("%s; and %d more", strings.Join(all[:most], "; "), len(all)-most)
	}
	return strings.Join(all, "; ")
}

// Shown reports whether any authoritative server that name leads to still shows
// value. The error is that none could be asked.
func (c *Checker) Shown(ctx context.Context, name, value string) (bool, error) {
	at, err := c.locate(ctx, name)
	if err != nil {
		return false, err
	}
	answered := false
	for _, f := range c.look(ctx, at) {
		if f.err == nil && slices.Contains(f.texts, value) {
			return true, nil
		}
		answered = answered || f.err == nil
	}
	if !answered {
		return false, fmt.Errorf("none of the %d name servers of %s answers", len(at.servers), strings.TrimSuffix(at.zone, "."))
	}
	return false, nil
}
