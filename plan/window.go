package plan

import (
	"time"
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
