package plan

import (
	"time"

	"certd/state"
)

const (
	day = 24 * time.Hour

	// defaultMargin is how long before its end a certificate is renewed when
	// the target does not say.
	defaultMargin = 30 * day

	// shortLifetime is below which certificates are renewed at half of it.
	shortLifetime = 10 * day
)

// RenewAt returns when a certificate is due without the CA's advice, in UTC:
// marginDays (0 means 30) before its end, but not in the first two thirds of
// its lifetime; with a lifetime under 10 days at half of it, or marginDays
// before its end if that is later. Without a lifetime it is due at its end.
func RenewAt(notBefore, notAfter time.Time, marginDays int) time.Time {
	lifetime := notAfter.Sub(notBefore)
	if lifetime <= 0 {
		return notAfter.UTC()
	}
	margin := time.Duration(min(marginDays, 100*365)) * day
	before := lifetime / 3
	switch {
	case lifetime < shortLifetime && margin > 0:
		before = min(margin, lifetime/2)
	case lifetime < shortLifetime:
		before = lifetime / 2
	case margin > 0:
		before = min(margin, before)
	default:
		before = min(defaultMargin, before)
	}
	return notAfter.Add(-before).UTC()
}

// due returns when a certificate is to be renewed, and what decides it: the
// instant drawn from the CA's window, or RenewAt without one or if that
// instant would leave less than a twentieth of the lifetime and is the later.
func (p *planner) due(c *state.Certificate, marginDays int) (time.Time, Cause) {
	own := RenewAt(c.NotBefore, c.NotAfter, marginDays)
	drawn, ok := p.RenewAt[c.ID]
	if !ok {
		return own, CauseExpiry
	}
	latest := c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 20)
	if drawn.After(latest) && own.Before(drawn) {
		return own, CauseExpiry
	}
	return drawn.UTC(), CauseARI
}
