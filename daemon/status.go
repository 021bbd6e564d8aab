package daemon

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"certd/config"
	"certd/plan"
	"certd/state"
)

// State is how a name stands; it is the label "state" of the metrics.
type State string

// The states of a name.
const (
	Ready   State = "ready"   // a good certificate is live and nothing is due
	Due     State = "due"     // a good certificate is live, and something is to be done now
	Issuing State = "issuing" // an order is open
	Failing State = "failing" // the last attempt failed
	Missing State = "missing" // there is no certificate, or none that could be served
	Expired State = "expired" // the live certificate has expired
)

// NameStatus is one live name: wanted, or left in live/ by a target that is gone.
type NameStatus struct {
	Name, Label string
	Target      string // file name in desired/; empty if nothing that can be read wants it
	State       State
	CA          string             // nickname of the CA that issued it, or will be asked; empty if unknown
	Certificate *state.Certificate // the live one; nil if there is none
	RenewAt     time.Time          // zero if nothing renews it
	Reason      string             // what happens next and why
	LastError   string             // of the last attempt; empty after a success
	Attempt     state.Attempt      // zero if there was none
	Renewal     state.Renewal      // what the CA said of its renewal; zero if nothing
	Pending     int                // undelivered hook events that concern it
}

// Status returns every name that is wanted or in live/, by name and label.
func (v *View) Status() []NameStatus {
	actions := make(map[string]plan.Action)
	owner := make(map[string]string) // live name to target
	for _, a := range plan.Compute(v.input(nil, false)) {
		actions[a.Target] = a
		for _, link := range a.Links {
			owner[link] = a.Target
		}
	}
	files := make(map[string]*config.Target)
	for _, t := range v.Targets.Targets {
		files[t.File] = t
	}
	var out []NameStatus
	for link, file := range owner {
		out = append(out, v.wanted(link, files[file], actions[file]))
	}
	for link := range v.Snapshot.Live {
		if _, ok := owner[link]; !ok {
			out = append(out, v.unwanted(link))
		}
	}
	slices.SortFunc(out, func(a, b NameStatus) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Label, b.Label))
	})
	return out
}

func (v *View) wanted(link string, t *config.Target, a plan.Action) NameStatus {
	s := v.live(link)
	s.Target = t.File
	if last, ok := v.Snapshot.Attempts[t.File]; ok && last.Digest == t.Digest() { // a changed target starts afresh
		s.Attempt, s.LastError = last, last.LastError
	}
	s.Reason = a.Reason
	if s.CA == "" {
		s.CA = v.nickname(a.CA)
	}
	switch {
	case s.Certificate != nil && s.Certificate.ID == a.CertID:
		s.RenewAt = a.Due
	case s.Certificate != nil:
		s.RenewAt = plan.RenewAt(s.Certificate.NotBefore, s.Certificate.NotAfter, t.Margin)
	}
	switch {
	case s.Certificate != nil && !s.Certificate.NotAfter.After(v.Now):
		s.State = Expired
	case s.Attempt.Failures > 0 && (a.Kind == plan.Order || a.Kind == plan.Resume || a.Kind == plan.Wait):
		s.State = Failing
	case a.Kind == plan.Resume:
		s.State = Issuing
	case s.Certificate == nil || !s.Certificate.Usable():
		s.State = Missing
	case a.Kind == plan.Keep:
		s.State = Ready
	default:
		s.State = Due
	}
	return s
}

func (v *View) unwanted(link string) NameStatus {
	s := v.live(link)
	s.State = Ready
	switch {
	case s.Certificate == nil || !s.Certificate.Usable():
		s.State = Missing
	case !s.Certificate.NotAfter.After(v.Now):
		s.State = Expired
	case !plan.RenewAt(s.Certificate.NotBefore, s.Certificate.NotAfter, 0).After(v.Now):
		s.State = Due
	}
	s.Reason = fmt.Sprintf("not wanted any more, nothing renews it; certd want %s", s.Name)
	switch {
	case s.Certificate != nil && v.Targets.Unread[s.Certificate.Target]:
		s.Reason = fmt.Sprintf("not renewed: desired/%s cannot be used, mend it", s.Certificate.Target)
	case len(v.Targets.Unread) > 0:
		s.Reason = "no target that can be read wants it; mend the others first"
	}
	return s
}

// live is what can be said of a live name without its target.
func (v *View) live(link string) NameStatus {
	s := NameStatus{}
	s.Name, s.Label = config.SplitLive(link)
	if c, ok := v.Snapshot.Certificates[v.Snapshot.Live[link]]; ok {
		s.Certificate = c
		s.Renewal = v.Snapshot.Renewals[c.ID]
		s.CA = v.nickname(c.Directory)
	}
	for _, e := range v.Snapshot.Pending {
		if slices.Contains(e.Names, link) {
			s.Pending++
		}
	}
	return s
}

// nickname is what certd.yaml or certd itself calls a CA.
func (v *View) nickname(directory string) string {
	if directory == "" {
		return ""
	}
	ca, err := v.Settings.CA(directory)
	if err != nil {
		return directory
	}
	return ca.Name
}
