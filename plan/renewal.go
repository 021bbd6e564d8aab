package plan

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"time"

	"certd/acme"
	"certd/state"
)

const (
	longPause   = 6 * time.Hour // after an error that lasts, or without Retry-After (RFC 9773 §4.3.3)
	youth       = time.Hour     // of a certificate, at most: a window that says "now" then has to say so twice
	windowSlack = time.Second   // by which windows may end late: notAfter includes its second
)

// Polled returns what is known of the renewal of c after its CA answered info at
// now; old is what was known before, of this certificate or another. draw, from
// 0 to 1, picks the instant of a window that was not known yet; of one that has
// not changed the instant stays (RFC 9773 §4.2). A window that ends after the
// certificate, or is longer than its life, is none.
func Polled(old state.Renewal, c *state.Certificate, info acme.RenewalInfo, now time.Time, draw float64) state.Renewal {
	r := asked(old, c, now)
	pause := info.RetryAfter
	if pause <= 0 {
		pause = longPause
	}
	r.NextPoll = r.Polled.Add(min(max(pause, minPause), maxPause))
	if why := absurd(c, info); why != "" {
		r.Failures, r.LastError, r.NextPoll = r.Failures+1, why, r.Polled.Add(longPause)
		return r
	}
	known := !r.Chosen.IsZero() && r.Start.Equal(info.Start) && r.End.Equal(info.End)
	doubted := r.Doubted
	r.Failures, r.LastError, r.Explanation, r.Doubted = 0, "", info.Explanation, false
	if !known {
		r.Start, r.End = info.Start.UTC(), info.End.UTC()
		r.Chosen = r.Start.Add(time.Duration(min(max(draw, 0), 1) * float64(r.End.Sub(r.Start))))
	}
	if !known && !doubted && !r.Chosen.After(now) {
		lifetime := c.NotAfter.Sub(c.NotBefore)
		r.Doubted = now.Sub(issued(c)) < min(youth, lifetime/20)
	}
	return r
}

// Unpolled returns what is known of the renewal of c after its CA was asked at
// now and err came of it. What may pass is tried again after 10 s, 30 s, 1, 2 and
// 5 minutes, and then like the rest after 6 hours; not before the CA allows it. A
// CA without renewal information is asked again a day later. The window stays,
// unless the CA does not know the certificate.
func Unpolled(old state.Renewal, c *state.Certificate, err error, now time.Time) state.Renewal {
	r := asked(old, c, now)
	r.Failures, r.LastError = r.Failures+1, acme.Sanitize(err.Error())
	problem, _ := errors.AsType[*acme.Problem](err)
	pause := longPause
	switch {
	case errors.Is(err, acme.ErrNoRenewalInfo):
		r = state.Renewal{ID: r.ID, ARIID: r.ARIID, Polled: r.Polled, LastError: acme.ErrNoRenewalInfo.Error(), Unreplaced: r.Unreplaced}
		pause = maxPause
	case problem != nil && problem.Status == http.StatusNotFound && problem.Operation == "ari":
		r.Start, r.End, r.Chosen, r.Doubted, r.Explanation = time.Time{}, time.Time{}, time.Time{}, false, ""
	case !acme.LastingRenewalError(err):
		pause = step(r.Failures, 10*time.Second, 30*time.Second, time.Minute, 2*time.Minute, 5*time.Minute, longPause)
	}
	r.NextPoll = r.Polled.Add(pause)
	if problem != nil && problem.RetryAt.After(r.NextPoll) {
		r.NextPoll = problem.RetryAt.UTC()
	}
	if last := r.Polled.Add(maxPause); r.NextPoll.After(last) {
		r.NextPoll = last
	}
	return r
}

// asked is what stays of old when the CA of c is asked at now: nothing if it is
// about another certificate.
func asked(old state.Renewal, c *state.Certificate, now time.Time) state.Renewal {
	if old.ARIID != c.ARIID {
		old = state.Renewal{}
	}
	old.ID, old.ARIID, old.Polled = c.ID, c.ARIID, now.UTC()
	return old
}

// absurd says why a window is none for c; empty if it is one.
func absurd(c *state.Certificate, info acme.RenewalInfo) string {
	switch lifetime := c.NotAfter.Sub(c.NotBefore); {
	case !info.End.After(info.Start):
		return "the suggested window ends before it starts"
	case info.End.After(c.NotAfter.Add(windowSlack)):
		return "the suggested window ends after the certificate does"
	case info.End.Sub(info.Start) > lifetime+2*windowSlack:
		return "the suggested window is longer than the certificate lasts"
	}
	return ""
}

// A Poll says when the CA of a certificate is to be asked for its renewal
// information.
type Poll struct {
	Target      string // file name in desired/
	Certificate *state.Certificate
	At          time.Time // UTC; zero if it never was
	// Wake is when it is worth waking up for it alone, a little after At: so
	// certificates that are asked about at about the same time meet.
	Wake time.Time
}

// Polls returns what CAs are to be asked about, by time. actions are those of
// Compute for the same input. It is the certificates in use that are what their
// target wants: never one that has expired, is replaced, or has no identifier.
func Polls(in Input, actions []Action) []Poll {
	var polls []Poll
	seen := map[string]bool{}
	for _, a := range actions {
		c := in.State.Certificates[a.CertID]
		used := slices.ContainsFunc(a.Links, func(l string) bool { return in.State.Live[l] == a.CertID })
		if c == nil || a.Kind != Keep || !used || seen[c.ID] || c.ARIID == "" || c.Directory == "" || !c.NotAfter.After(in.Now) {
			continue
		}
		seen[c.ID] = true
		poll := pollOf(c, in.State.Renewals[c.ID], in.Now)
		poll.Target = a.Target
		polls = append(polls, poll)
	}
	slices.SortStableFunc(polls, func(a, b Poll) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Certificate.ID, b.Certificate.ID))
	})
	return polls
}

// pollOf is the next poll by what is known; what was written by a clock that was
// ahead counts no longer than it may.
func pollOf(c *state.Certificate, r state.Renewal, now time.Time) Poll {
	p := Poll{Certificate: c}
	if r.ARIID != c.ARIID || r.Polled.IsZero() || r.Polled.After(now.Add(minPause)) {
		return p
	}
	p.At = r.NextPoll.UTC()
	if last := r.Polled.Add(maxPause); p.At.After(last) {
		p.At = last
	}
	p.Wake = p.At.Add(min(max(p.At.Sub(r.Polled), 0)/20, 5*time.Minute))
	return p
}

// due returns when a certificate is to be renewed, and what decides it: the
// instant drawn from the CA's window, or RenewAt without one, or if that instant
// would leave less than a twentieth of the lifetime and is the later.
func (p *planner) due(w *want, c *state.Certificate) (time.Time, Cause) {
	own := RenewAt(c.NotBefore, c.NotAfter, w.Margin)
	r, ok := p.State.Renewals[c.ID]
	if !ok || r.ARIID != c.ARIID || r.Chosen.IsZero() || r.Doubted {
		return own, CauseExpiry
	}
	lifetime := c.NotAfter.Sub(c.NotBefore)
	latest := c.NotAfter.Add(-lifetime / 20)
	switch at := p.soon(c, r.Chosen.UTC()); {
	case at.After(latest) && own.Before(at):
		return own, CauseExpiry
	case !at.Before(own):
		return at, CauseARI
	default:
		if calm := p.calm(w, lifetime); calm.After(at) {
			at = calm.UTC()
		}
		if at.After(own) {
			return own, CauseExpiry
		}
		return at, CauseARI
	}
}

// soon returns now for an instant that comes before certd is started again
// (RFC 9773 §4.2, step 5), and otherwise the instant. In the first third of the
// certificate's life it has to wait for that to end: certd is started too seldom
// for such a certificate, and ordering at each start would not mend it.
func (p *planner) soon(c *state.Certificate, chosen time.Time) time.Time {
	if !chosen.After(p.Now) || !chosen.Before(p.NextRun) {
		return chosen
	}
	first := issued(c).Add(c.NotAfter.Sub(c.NotBefore) / 3)
	if first.After(p.Now) {
		return earlier(first.UTC(), chosen)
	}
	return p.Now
}

// calm returns before when a CA is not followed again if it suggests renewal
// earlier than we would: it was for this target once in the last day, or twice in
// a third of the lifetime; for short lifetimes once in a third.
func (p *planner) calm(w *want, lifetime time.Duration) time.Time {
	var last, before time.Time // the last two that were ordered because of it
	for _, c := range p.byTarget[w.File] {
		at := issued(c)
		if Cause(c.Reason) != CauseARI || at.After(p.Now.Add(skew)) {
			continue
		}
		if at.After(last) {
			last, before = at, last
		} else if at.After(before) {
			before = at
		}
	}
	var until time.Time
	if !last.IsZero() {
		until = last.Add(min(day, lifetime/3))
	}
	if !before.IsZero() && before.Add(lifetime/3).After(until) {
		until = before.Add(lifetime / 3)
	}
	return until
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
