package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"certd/acme"
	"certd/issue"
	"certd/plan"
	"certd/state"
)

const (
	pollTimeout  = 8 * time.Second  // of one question for renewal information
	pollBefore   = 10 * time.Second // of all before a pass plans: a CA that is silent holds it up no longer
	pollAfter    = 2 * time.Minute  // of those that are left, at its end
	pollParallel = 8
	pollFailures = 3 // in a row, after which a CA is not asked again in a pass
)

// A poller asks CAs for renewal information (RFC 9773) in one pass. It needs no
// account, and whatever comes of it keeps nothing from being renewed.
type poller struct {
	p *pass

	mu       sync.Mutex // guards all below
	clients  map[string]func() (*acme.Client, error)
	failures map[string]int  // in a row, by directory
	told     map[string]bool // explanations that were logged, now or earlier
	fresh    []question      // about certificates issued in this pass
}

// A question is a certificate that its CA is to be asked about.
type question struct {
	target      string
	certificate *state.Certificate
	client      *acme.Client // nil: one without an account will do
}

func newPoller(p *pass) *poller {
	l := &poller{p: p, clients: make(map[string]func() (*acme.Client, error)), failures: make(map[string]int), told: make(map[string]bool)}
	for _, r := range p.view.Snapshot.Renewals {
		l.told[r.Explanation] = true
	}
	return l
}

// before asks what has come due, as far as there is time, and returns the rest.
func (l *poller) before(ctx context.Context, in plan.Input, actions []plan.Action) []question {
	var due []question
	for _, poll := range plan.Polls(in, actions) {
		if !poll.At.After(in.Now) {
			due = append(due, question{poll.Target, poll.Certificate, nil})
		}
	}
	answers, left := l.ask(ctx, due, pollBefore)
	for _, r := range answers {
		l.p.view.Snapshot.Renewals[r.ID] = r
	}
	return left
}

// issued notes a new certificate, to be asked about once it is live.
func (l *poller) issued(a plan.Action, got *made) {
	id, err := acme.CertID(got.Leaf)
	if err != nil {
		return // it has no renewal information
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fresh = append(l.fresh, question{a.Target, &state.Certificate{ID: got.id, ARIID: id, Directory: got.client.directory,
		NotBefore: got.Leaf.NotBefore.UTC(), NotAfter: got.Leaf.NotAfter.UTC(), Created: time.Now().UTC()}, got.client.Client})
}

// after asks about the certificates of this pass, and what before left.
func (l *poller) after(ctx context.Context, left []question) {
	l.mu.Lock()
	questions := slices.Concat(l.fresh, left)
	l.mu.Unlock()
	_, _ = l.ask(ctx, questions, pollAfter) // what is left is due in the next pass
}

func (l *poller) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, connect := range l.clients {
		if client, err := connect(); err == nil {
			client.Close()
		}
	}
}

// ask puts questions to their CAs, several at once, and keeps the answers. It
// returns them, and the questions that it did not get to.
func (l *poller) ask(ctx context.Context, questions []question, within time.Duration) (answers []state.Renewal, left []question) {
	if len(questions) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	got := make([]*state.Renewal, len(questions))
	var g errgroup.Group // no WithContext: certificates are independent
	g.SetLimit(pollParallel)
	for i, q := range questions {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			got[i] = l.one(ctx, q)
			return nil
		})
	}
	_ = g.Wait() // always nil
	for i, r := range got {
		if r == nil {
			left = append(left, questions[i])
		} else {
			answers = append(answers, *r)
		}
	}
	return answers, left
}

// one puts one question and keeps the answer; nil if it was not put, or cut off.
func (l *poller) one(ctx context.Context, q question) *state.Renewal {
	c := q.certificate
	if l.gaveUp(c.Directory) {
		return nil
	}
	info, err := l.renewalInfo(ctx, q)
	if ctx.Err() != nil {
		return nil
	}
	l.judge(c.Directory, err)
	old := l.p.view.Snapshot.Renewals[c.ID]
	var now state.Renewal
	if err == nil {
		now = plan.Polled(old, c, *info, time.Now(), rand.Float64())
	} else {
		now = plan.Unpolled(old, c, err, time.Now())
	}
	l.log(q, old, now)
	if err := l.p.Store.SaveRenewal(now); err != nil {
		l.p.other(err)
	}
	return &now
}

func (l *poller) renewalInfo(ctx context.Context, q question) (*acme.RenewalInfo, error) {
	client := q.client
	if client == nil {
		var err error
		if client, err = l.client(q.certificate.Directory); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	return client.RenewalInfo(ctx, q.certificate.ARIID)
}

// client returns a client without an account for the CA with this directory.
func (l *poller) client(directory string) (*acme.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	connect, ok := l.clients[directory]
	if !ok {
		connect = sync.OnceValues(func() (*acme.Client, error) {
			ca, err := l.p.view.Settings.CA(directory)
			if err != nil {
				return nil, &acme.Problem{CA: directory, Operation: "ari", Class: acme.ClassOperator, Err: err}
			}
			bundle, err := ca.RootsPEM()
			if err != nil {
				return nil, &acme.Problem{CA: ca.Name, Operation: "ari", Class: acme.ClassOperator, Err: err}
			}
			return acme.New(acme.Options{Name: ca.Name, Directory: ca.Directory, RootsPEM: bundle, UserAgent: l.p.UserAgent,
				Observe: l.p.observe, Timeout: l.p.RequestTimeout})
		})
		l.clients[directory] = connect
	}
	return connect()
}

func (l *poller) gaveUp(directory string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failures[directory] >= pollFailures
}

// judge counts the failures of a CA that are not about one certificate.
func (l *poller) judge(directory string, err error) {
	problem := problemOf(err)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case problem == nil || errors.Is(err, acme.ErrNoRenewalInfo):
		l.failures[directory] = 0
	case problem.Operation == "directory" || problem.Class == acme.ClassWait || problem.Status < 400 || problem.Status >= 500:
		l.failures[directory]++
	}
}

// log says what is new: a window that moved, an explanation, an error.
func (l *poller) log(q question, old, now state.Renewal) {
	ca := l.p.view.nickname(q.certificate.Directory)
	if !now.Start.Equal(old.Start) || !now.End.Equal(old.End) {
		level := slog.LevelInfo
		if old.Start.IsZero() && now.Chosen.After(now.Polled) {
			level = slog.LevelDebug // as it does of every new certificate
		}
		l.p.Log.Log(context.Background(), level, "the CA suggests when to renew", "target", q.target, "ca", ca, "from", stamp(now.Start), "to", stamp(now.End),
			"chosen", stamp(now.Chosen), "doubted", now.Doubted)
	}
	if l.unheard(now.Explanation) {
		l.p.Log.Warn("the CA explains when it suggests to renew", "ca", ca, "target", q.target, "see", now.Explanation)
	}
	switch {
	case now.LastError == "" || now.LastError == old.LastError || old.Failures > 0:
	case now.Failures == 0:
		l.p.Log.Debug("no renewal information", "target", q.target, "ca", ca, "err", now.LastError)
	default:
		l.p.Log.Warn("no renewal information, renewal goes by the certificate's lifetime", "target", q.target, "ca", ca,
			"err", now.LastError, "next", stamp(now.NextPoll))
	}
}

// unheard reports whether an explanation was never logged, and notes it.
func (l *poller) unheard(explanation string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if explanation == "" || l.told[explanation] {
		return false
	}
	l.told[explanation] = true
	return true
}

// explanation is the URL by which a CA explains why it wanted a renewal that is
// made because of it; empty if it is not.
func explanation(a plan.Action) string {
	if a.Cause != plan.CauseARI {
		return ""
	}
	return a.Explanation
}

// predecessor is the certificate that an order for a replaces (RFC 9773 §5): one
// of the same CA and account that shares a name; nil if there is none, or the CA
// did not let it be replaced. After failures whose cause nobody knows it is left
// out, as it may be the cause.
func (p *pass) predecessor(client *caClient, a plan.Action) *state.Certificate {
	const mayBeTheCause = 3
	s := p.view.Snapshot
	if last := s.Attempts[a.Target]; last.Failures >= mayBeTheCause && last.Class == string(acme.ClassTransient) {
		return nil
	}
	ids := []string{a.CertID}
	for _, link := range a.Links {
		ids = append(ids, s.Live[link])
	}
	if a.Cause == plan.CauseRevoked { // what serves meanwhile was replaced before
		slices.Reverse(ids)
	}
	for _, id := range ids {
		c := s.Certificates[id]
		if c == nil || c.ARIID == "" || c.Account == "" || c.Account != client.accountID || !sameCA(c.Directory, client.directory) {
			continue
		}
		shared := slices.ContainsFunc(c.Names, func(n string) bool { return slices.Contains(a.Names, n) })
		if shared && (c.Target == "" || c.Target == a.Target) && s.Renewals[id].Unreplaced == "" {
			return c
		}
	}
	return nil
}

// replaced hears what became of a newOrder that replaces a certificate.
func (p *pass) replaced(client *caClient, a plan.Action, outcome, why string) {
	switch outcome {
	case issue.ReplaceMute:
		p.Log.Warn("the CA does not say whether the order replaces the certificate", "target", a.Target, "ca", client.name)
	case issue.ReplaceRefused:
		p.Log.Warn("the CA does not let the order replace the certificate, it is sent again as a new one", "target", a.Target,
			"ca", client.name, "err", why)
		p.count.unreplaced(client.name)
		c := p.predecessor(client, a)
		if c == nil {
			return
		}
		r := p.view.Snapshot.Renewals[c.ID]
		r.ID, r.ARIID, r.Unreplaced = c.ID, c.ARIID, why
		if err := p.Store.SaveRenewal(r); err != nil {
			p.other(fmt.Errorf("keep that %s is not replaced: %w", a.Target, err))
		}
	}
}
