package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"certd/config"
	"certd/daemon"
	"certd/plan"
	"certd/state"
)

// eventPatience is how long a hook event may wait that no hook has refused.
const eventPatience = time.Hour

// textfilePatience is how long a pass may take to write metrics.textfile.
const textfilePatience = 2 * time.Minute

// An examination judges one view of the state directory.
type examination struct {
	*checkReport
	view   *daemon.View
	store  *state.Store
	limits checkLimits
	names  map[string]bool // those asked for; empty means all that are wanted
	status []daemon.NameStatus
	keys   map[string]string      // what is wrong with a key, by ID
	acts   map[string]plan.Action // by live name
}

func (x *examination) run() {
	x.now, x.stale = x.view.Now, x.limits.stale
	x.counts, x.keys, x.acts = map[daemon.State]int{}, map[string]string{}, map[string]plan.Action{}
	for _, act := range x.view.Plan(func(*config.Target) bool { return true }, false) {
		for _, link := range act.Links {
			x.acts[link] = act
		}
	}
	x.status = x.view.Status()
	found := map[string]bool{}
	for _, s := range x.status {
		if !x.concerns(s) {
			continue
		}
		found[s.Name] = true
		x.total++
		x.counts[s.State]++
		x.name(s)
	}
	for name := range x.names {
		if !found[name] {
			x.add(checkCritical, "%s is neither wanted nor in live/", name)
		}
	}
	if len(x.names) == 0 && x.total == 0 && len(x.findings) == 0 {
		x.add(checkUnknown, "nothing is wanted in %s", x.store.Dir())
	}
	x.files()
	x.events()
	x.reconciled()
	x.textfile()
}

// concerns reports whether a name is looked at. One that nothing wants any more
// is only if it is asked for, or if the target that wants it may be among those
// that cannot be read.
func (x *examination) concerns(s daemon.NameStatus) bool {
	if len(x.names) > 0 {
		return x.names[s.Name]
	}
	_, wanted := x.acts[liveLink(s)]
	return wanted || len(x.view.Targets.Unread) > 0
}

func liveLink(s daemon.NameStatus) string {
	if s.Label == "" {
		return s.Name
	}
	return s.Name + ":" + s.Label
}

// name judges one live name. One problem is told for each, the worst.
func (x *examination) name(s daemon.NameStatus) {
	link, c := liveLink(s), s.Certificate
	switch {
	case c == nil && s.LastError != "":
		x.add(checkCritical, "%s has no certificate: %s", link, s.LastError)
		return
	case c == nil:
		x.add(checkCritical, "%s has no certificate: %s", link, cmp.Or(s.Reason, "its link is missing"))
		return
	}
	x.expires(link, s)
	left := c.NotAfter.Sub(x.now)
	switch {
	case left <= 0:
		x.add(checkCritical, "%s expired %s ago%s", link, duration(-left), because(s))
	case c.Revoked:
		x.add(checkCritical, "%s is revoked, or about to be", link)
	case c.Damage != "":
		x.add(checkCritical, "%s is damaged: %s", link, c.Damage)
	case !c.HasKey:
		x.add(checkCritical, "%s has no key: keys/%s/privkey is missing", link, c.KeyID)
	case x.wrongKey(c.KeyID) != "":
		x.add(checkCritical, "%s does not fit its key: %s", link, x.wrongKey(c.KeyID))
	case !covers(c.Names, s.Name):
		x.add(checkCritical, "%s has a certificate for other names: %s", link, strings.Join(c.Names, " "))
	case c.NotBefore.After(x.now.Add(time.Minute)):
		x.add(checkWarning, "%s is not valid before %s", link, c.NotBefore.Format(time.RFC3339))
	case left < x.limits.critical.of(c.NotBefore, c.NotAfter, s.RenewAt):
		x.add(checkCritical, "%s expires in %s%s", link, duration(left), because(s))
	case left < x.limits.warning.of(c.NotBefore, c.NotAfter, s.RenewAt):
		x.add(checkWarning, "%s expires in %s%s", link, duration(left), because(s))
	case s.State == daemon.Failing:
		x.add(checkWarning, "%s: %s failed%s", link, plural(s.Attempt.Failures, "attempt"), because(s))
	case slices.Contains(x.acts[link].Stale, link):
		x.add(checkWarning, "live/%s does not lead to the newest certificate; certd reconcile links it", link)
	}
}

func because(s daemon.NameStatus) string {
	if s.LastError == "" {
		return ""
	}
	return ": " + s.LastError
}

// expires keeps the certificate that is the first to expire.
func (x *examination) expires(link string, s daemon.NameStatus) {
	c := s.Certificate
	left := c.NotAfter.Sub(x.now)
	if x.soonest.name == "" || left < x.soonest.left {
		x.soonest = remaining{
			name: link, left: left,
			warning:  x.limits.warning.of(c.NotBefore, c.NotAfter, s.RenewAt),
			critical: x.limits.critical.of(c.NotBefore, c.NotAfter, s.RenewAt),
		}
	}
}

// wrongKey says why a key file does not belong to its certificate. A user who
// may not read keys has to believe that it does.
func (x *examination) wrongKey(id string) string {
	text, known := x.keys[id]
	if !known {
		if _, err := x.store.LoadKey(id); err != nil && !errors.Is(err, fs.ErrPermission) {
			text = err.Error()
		}
		x.keys[id] = text
	}
	return text
}

// covers reports whether one of the names of a certificate is name, or a
// wildcard for it (RFC 9525 §6.3).
func covers(names []string, name string) bool {
	_, parent, _ := strings.Cut(name, ".")
	return slices.Contains(names, name) || slices.Contains(names, "*."+parent)
}

// files judges what cannot be read or used.
func (x *examination) files() {
	for _, b := range x.view.Snapshot.Broken {
		status := checkWarning
		if errors.Is(b.Err, fs.ErrPermission) {
			status = checkUnknown
		}
		x.add(status, "%s cannot be used: %v", b.Path, b.Err)
	}
	for _, err := range x.view.Targets.Errors {
		status := checkWarning
		if errors.Is(err, fs.ErrPermission) {
			status = checkUnknown
		}
		x.add(status, "a target is not worked on: %v", err)
	}
}

// events judges hook events that wait: until they are delivered, servers may
// still have the old certificate, however new the one in live/ is.
func (x *examination) events() {
	for _, e := range x.view.Snapshot.Pending {
		if len(x.names) > 0 && !slices.ContainsFunc(e.Names, func(link string) bool { name, _ := liveName(link); return x.names[name] }) {
			continue
		}
		x.pending++
		age := x.now.Sub(e.Created)
		if e.Failures == 0 && age < eventPatience {
			continue
		}
		status := checkWarning
		if margin, ok := x.margin(e.Names); ok && age > margin/2 && e.Event == "live-updated" {
			status = checkCritical // what was replaced has half of its last stretch behind it
		}
		text := fmt.Sprintf("hook event %s of %s not delivered for %s", e.Event, title(e.Names, nil, e.ID), duration(age))
		if e.LastError != "" {
			text += ": " + e.LastError
		}
		x.add(status, "%s", text)
	}
}

// margin is the shortest time between renewal and expiry of some live names.
func (x *examination) margin(links []string) (shortest time.Duration, ok bool) {
	for _, s := range x.status {
		if s.Certificate == nil || s.RenewAt.IsZero() || !slices.Contains(links, liveLink(s)) {
			continue
		}
		if m := s.Certificate.NotAfter.Sub(s.RenewAt); !ok || m < shortest {
			shortest, ok = m, true
		}
	}
	return shortest, ok
}

// reconciled judges whether anything reconciles: by counters.json where metrics
// are wanted, since every pass writes it then, and always by what is due and was
// not tried.
func (x *examination) reconciled() {
	counters, err := os.Stat(x.store.Path("counters.json"))
	if err == nil {
		x.last = counters.ModTime()
	}
	for _, at := range x.view.Snapshot.Attempts {
		x.last = later(x.last, at.LastAttempt)
	}
	for _, c := range x.view.Snapshot.Certificates {
		x.last = later(x.last, c.Created)
	}
	sinks := x.view.Settings.Metrics
	kept := err == nil && (sinks.Textfile != "" || sinks.StatsD != "" || sinks.Graphite != "")
	if kept && len(x.acts) > 0 && x.now.Sub(x.last) > x.stale {
		x.add(checkWarning, "no reconcile for %s: does its timer, cron entry or daemon run?", duration(x.now.Sub(x.last)))
		return
	}
	for _, s := range x.status {
		act, wanted := x.acts[liveLink(s)]
		if !wanted || !x.concerns(s) || s.RenewAt.IsZero() || act.Kind != plan.Order && act.Kind != plan.Resume {
			continue
		}
		if since := later(s.RenewAt, s.Attempt.LastAttempt); x.now.Sub(since) > x.stale {
			x.add(checkWarning, "%s has been due for %s and is not tried: does the timer, cron entry or daemon run?", liveLink(s), duration(x.now.Sub(since)))
			return
		}
	}
}

// textfile judges whether metrics.textfile is as new as the counters, which each
// pass writes just before. A user who may not look has nothing to say about it.
func (x *examination) textfile() {
	path := x.view.Settings.Metrics.Textfile
	counters, err := os.Stat(x.store.Path("counters.json"))
	if path == "" || err != nil || x.now.Sub(counters.ModTime()) < textfilePatience {
		return // no pass so far, or one that may still be writing
	}
	if conf, err := os.Stat(x.store.Path("conf", "certd.yaml")); err != nil || conf.ModTime().After(counters.ModTime()) {
		return // the next pass follows it
	}
	switch file, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		x.add(checkWarning, "metrics.textfile is not there: the last reconcile could not write %s, see its log", path)
	case err == nil && counters.ModTime().Sub(file.ModTime()) > textfilePatience:
		x.add(checkWarning, "metrics.textfile has not been written for %s: the last reconcile could not write %s, see its log",
			duration(x.now.Sub(file.ModTime())), path)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
