package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"certd/config"
	"certd/metrics"
	"certd/state"
)

// MeasureState reads the configuration and the state directory into m, and what
// was counted there. The error is that of Look, in which case m says that the
// configuration could not be read, or that the counters could not be. It changes
// nothing on disk; runner may be nil.
func MeasureState(store *state.Store, runner HookRunner, m *metrics.Metrics) error {
	data, err := store.LoadCounters()
	if err == nil && data != nil {
		if err = m.Restore(data); err != nil {
			err = fmt.Errorf("%s: %w; the next run begins at 0", store.Path("counters.json"), err)
		}
	}
	view, lookErr := Look(store)
	if lookErr != nil {
		m.SetView(unconfigured(store, time.Now()))
		return lookErr
	}
	m.SetView(view.metrics(store, runner))
	return err
}

// MetricsHandler serves m. It looks at the state directory before, at most once
// a second, so that what is wanted no longer, and what came due meanwhile, is
// told at once.
func MetricsHandler(store *state.Store, runner HookRunner, m *metrics.Metrics) http.Handler {
	var mu sync.Mutex
	var last time.Time
	serve := m.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if now := time.Now(); now.Sub(last) >= time.Second {
			last = now
			if view, err := Look(store); err == nil { // else the view of the last pass stays, which says so
				m.SetView(view.metrics(store, runner))
			}
		}
		mu.Unlock()
		serve.ServeHTTP(w, r)
	})
}

// metrics is what v says to the metrics.
func (v *View) metrics(store *state.Store, runner HookRunner) metrics.View {
	out := metrics.View{
		Time:         v.Now,
		ConfigOK:     len(v.Mistakes) == 0,
		ConfigDigest: v.digest(),
		CAs:          v.cas(),
		Broken:       v.broken(),
		ByState:      make(map[string]int),
		HookPending:  v.pendingByHook(runner),
		Interval:     interval(v.Settings.Schedule, v.Now),
	}
	if out.ConfigOK {
		out.ConfigLoaded = v.Now
	}
	names := v.Status()
	for _, state := range v.targetStates(names) {
		out.ByState[string(state)]++
	}
	for _, n := range names {
		if n.Target != "" || n.Certificate != nil && v.Targets.Unread[n.Certificate.Target] {
			out.Names = append(out.Names, measured(n))
		}
	}
	out.Names = installed(store, metrics.Bounded(out.Names))
	for _, o := range v.Snapshot.Orders {
		out.Orders = append(out.Orders, metrics.Order{CA: v.nickname(o.Directory), Start: o.Created})
	}
	return out
}

// unconfigured is what can be told without the configuration: the certificates
// that are live, whoever wants them.
func unconfigured(store *state.Store, now time.Time) metrics.View {
	out := metrics.View{Time: now}
	snapshot, err := store.Snapshot()
	if err != nil {
		return out
	}
	v := View{Settings: &config.Settings{}, Targets: &config.Targets{}, Snapshot: snapshot, Now: now}
	for _, n := range v.Status() {
		n.RenewAt = time.Time{}
		out.Names = append(out.Names, measured(n))
	}
	out.Names = installed(store, metrics.Bounded(out.Names))
	return out
}

// installed reads what is installed under each name.
func installed(store *state.Store, names []metrics.Name) []metrics.Name {
	for i, n := range names {
		if n.NotAfter.IsZero() { // there is no certificate
			continue
		}
		in, _ := store.Installed(n.Name) // what cannot be read has no series; Status says what is wrong
		names[i].Installed, names[i].ChainNotAfter = in.Switched, in.ChainNotAfter
	}
	return names
}

// measured is one live name.
func measured(n NameStatus) metrics.Name {
	link := n.Name
	if n.Label != "" {
		link += ":" + n.Label
	}
	out := metrics.Name{Name: link, CA: n.CA, RenewAt: n.RenewAt, LastAttempt: n.Attempt.LastAttempt, NextAttempt: n.Attempt.NextAttempt,
		LastOK: n.LastError == "", Failures: n.Attempt.Failures}
	c := n.Certificate
	if c == nil {
		return out
	}
	out.KeyType, out.Profile, out.NotBefore, out.NotAfter = c.KeyType, c.Profile, c.NotBefore, c.NotAfter
	if r := n.Renewal; !r.Start.IsZero() || r.Failures > 0 {
		out.WindowStart, out.WindowEnd, out.NextPoll = r.Start, r.End, r.NextPoll
	}
	return out
}

// targetStates is how every want stands: as the worst of its names does.
func (v *View) targetStates(names []NameStatus) map[string]State {
	worst := []State{Expired, Missing, Failing, Issuing, Due, Ready}
	states := make(map[string]State)
	for _, t := range v.Targets.Targets {
		states[t.File] = Ready // one that owns no name has nothing to do
	}
	for _, n := range names {
		if n.Target != "" && slices.Index(worst, n.State) < slices.Index(worst, states[n.Target]) {
			states[n.Target] = n.State
		}
	}
	for file := range v.Targets.Unread {
		states[file] = Failing
	}
	return states
}

// pendingByHook counts the undelivered events of each hook there is. Events that
// wait for no hook that can be named, as when a hook directory is refused, are
// those of "other".
func (v *View) pendingByHook(runner HookRunner) map[string]int {
	out := make(map[string]int)
	all, _ := listHooks(runner)
	for _, h := range all {
		out[filepath.Base(h.Path)] = 0
	}
	for _, e := range v.Snapshot.Pending {
		waiting := 0
		for _, h := range all {
			if !slices.Contains(e.Done, h.Path) {
				out[filepath.Base(h.Path)]++
				waiting++
			}
		}
		if waiting == 0 {
			out["other"]++
		}
	}
	return out
}

// cas are the nicknames of the CAs that are set up or asked.
func (v *View) cas() []string {
	var out []string
	for _, ca := range v.Settings.CAs {
		out = append(out, ca.Name)
	}
	for _, t := range v.Targets.Targets {
		for _, name := range t.CAs {
			if ca, err := v.Settings.CA(name); err == nil {
				out = append(out, ca.Name)
			}
		}
		if ca, err := v.Settings.CA(""); err == nil && len(t.CAs) == 0 {
			out = append(out, ca.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// broken are the CAs that do not work, and until when they are not asked.
func (v *View) broken() map[string]time.Time {
	out := make(map[string]time.Time)
	for _, name := range v.cas() {
		if ca, err := v.Settings.CA(name); err == nil {
			if until := v.Limits.Open(ca.Directory, v.Now); !until.IsZero() {
				out[name] = until
			}
		}
	}
	return out
}

// Interval is the longest time between two runs by the schedule, jitter included;
// zero if it is unknown.
func (v *View) Interval() time.Duration {
	pause := interval(v.Settings.Schedule, v.Now)
	if pause == 0 {
		return 0
	}
	return pause + v.Settings.Jitter
}

// interval is the longest time between two ticks of a schedule, as far as can be
// seen; zero if it is none.
func interval(schedule string, now time.Time) time.Duration {
	s, err := cron.ParseStandard(schedule)
	if err != nil {
		return 0
	}
	var longest time.Duration
	at := s.Next(now)
	for range 64 {
		next := s.Next(at)
		if next.IsZero() {
			break
		}
		longest = max(longest, next.Sub(at))
		at = next
	}
	return longest
}

// digest is short for the configuration in force: settings and default target.
func (v *View) digest() string {
	data, err := json.Marshal([]any{v.Settings, v.Targets.Default})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:4])
}
