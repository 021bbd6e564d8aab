package challenge

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"certd/acme"

	"golang.org/x/sync/errgroup"
)

// Bounds of the self-test.
const (
	selfTestLimit   = 10 * time.Second
	tryTimeout      = 5 * time.Second // one address: connection, redirects and answer
	dialTimeout     = 3 * time.Second
	nextDialTimeout = time.Second // where a redirect leads: the next address gets its turn
	firstPause      = 100 * time.Millisecond
	longestPause    = time.Second
	maxAddrs        = 16 // of one name
	atOnce          = 4  // addresses tried at the same time
)

// ErrNoAddress reports a name for which the DNS gave no address.
var ErrNoAddress = errors.New("no A or AAAA record")

// A SelfTest fetches answers like a CA would, so that a mistake is found before
// it costs a failed validation. The zero value asks the system's resolver and
// port 80.
type SelfTest struct {
	Port     int           // where the CA looks; 0 means 80
	TLSPort  int           // where redirects to https may lead as well; 0 means 443
	Resolver string        // "host:port" of a DNS server; empty means the system's resolver
	Limit    time.Duration // for all tries of one Check after the first; 0 means 10 s
}

// Check returns nil once the answer to ch is seen on the addresses of id: none
// gives another one, and one at least can be reached, since a CA goes on to the
// next address (RFC 8555 §8.3 leaves that open) when it cannot connect. It tries
// again, with pauses of 100 ms to 1 s, until Limit or the end of ctx; a reload
// of the web server or a slow file system gets the time it needs. The error says
// what was seen last, without the key authorization.
func (s *SelfTest) Check(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	return s.until(ctx, id, ch, orPort(s.Port, 80), s.fetch)
}

// A lookFunc looks for the answer to ch on one address of id.
type lookFunc func(ctx context.Context, id acme.Identifier, ch acme.Challenge, addr netip.Addr) finding

// until is Check with its own way to look, on its own port.
func (s *SelfTest) until(ctx context.Context, id acme.Identifier, ch acme.Challenge, port int, look lookFunc) error {
	if err := check(id, ch); err != nil {
		return err
	}
	last := retry(ctx, s.limit(), func(ctx context.Context) error { return s.round(ctx, id, ch, port, look) })
	switch {
	case last == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("self-test of %s: %w (seen until then: %w)", id.Value, ctx.Err(), last)
	}
	return fmt.Errorf("self-test of %s: %w", id.Value, last)
}

func (s *SelfTest) limit() time.Duration {
	if s.Limit == 0 {
		return selfTestLimit
	}
	return s.Limit
}

// retry calls try until it returns nil, or until limit or the end of ctx; then it
// returns the last error that is not merely due to that end, if there is one. The
// first try is not cut short by limit, so that there is always something to tell.
func retry(ctx context.Context, limit time.Duration, try func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	last := try(ctx)
	for pause := firstPause; last != nil; pause = min(2*pause, longestPause) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-limited.Done():
			timer.Stop()
			return last
		}
		if err := try(limited); err == nil || limited.Err() == nil {
			last = err
		}
	}
	return nil
}

// round tries every address once.
func (s *SelfTest) round(ctx context.Context, id acme.Identifier, ch acme.Challenge, port int, look lookFunc) error {
	addrs, err := s.addresses(ctx, id)
	if err != nil {
		return err
	}
	findings := make([]finding, len(addrs))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, addr := range addrs {
		g.Go(func() error {
			defer recovered("self-test", &findings[i].err)
			findings[i] = look(ctx, id, ch, addr)
			return nil
		})
	}
	_ = g.Wait() // always nil: every failure is in findings
	return judge(findings, port)
}

// A finding is what one address answered.
type finding struct {
	reached bool  // a connection was made
	err     error // nil if the answer was right
}

// judge is what a CA would make of the findings: the wrong answers, or that no
// address could be reached.
func judge(findings []finding, port int) error {
	var wrong, unreached reasons
	right := 0
	for _, f := range findings {
		switch {
		case f.err == nil:
			right++
		case f.reached:
			wrong = append(wrong, f.err)
		default:
			unreached = append(unreached, f.err)
		}
	}
	switch {
	case len(wrong) > 0:
		return wrong
	case right > 0:
		return nil
	}
	return fmt.Errorf("%w; does a server listen on port %d, and does the firewall let it through? If only this machine cannot reach the name, set request.challenge.http-self-test: false", unreached, port)
}

// addresses are those of the identifier, v6 first as CAs do, at most maxAddrs.
func (s *SelfTest) addresses(ctx context.Context, id acme.Identifier) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(id.Value); err == nil {
		return []netip.Addr{addr}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	addrs, err := lookup(ctx, s.Resolver, id.Value)
	if err != nil {
		return nil, err
	}
	return addrs[:min(len(addrs), maxAddrs)], nil
}
