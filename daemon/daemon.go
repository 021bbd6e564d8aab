// Package daemon turns the crank: one reconcile pass makes what is wanted true.
// It wires config, plan, issue, challenge, state and hooks together, and is the
// only package that logs what happened.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"certd/acme"
	"certd/challenge"
	"certd/config"
	"certd/hooks"
	"certd/issue"
	"certd/limit"
	"certd/metrics"
	"certd/plan"
	"certd/state"
)

// Options say what a pass works on. Store must be set; the zero value of every
// other field is a working default.
type Options struct {
	Store     *state.Store
	Hooks     HookRunner          // runs hooks; nil means that there are none
	Targets   []string            // only these: file names in desired/ or names they contain; empty means all
	NextKey   bool                // order, for targets that reuse their key, with the next one; the others are left alone
	Force     bool                // order even what is not due, and ignore waits after failures
	Answers   Answers             // of the response file: contact and agreement
	LockWait  time.Duration       // how long to wait for another certd; zero means not at all
	Log       *slog.Logger        // nil discards
	Progress  func(Progress)      // called from many goroutines; nil means nobody looks
	Observe   func(acme.Exchange) // every request to a CA; nil means nobody looks
	UserAgent string              // empty means "certd"
	Webroot   string              // the webroot that is always used; empty means /run/acme/acme-challenge
	Trigger   string              // why there is a pass: startup, cron, timer, manual, watch, signal; empty means manual
	// Metrics counts what happens; nil means that nobody counts.
	Metrics *metrics.Metrics
	// KeepCounters keeps the counters in the state directory after every pass,
	// also if the configuration wants metrics nowhere.
	KeepCounters bool
	// Responder answers challenges in place of one that only lives for the
	// pass, and stays open; nil means one of the pass's own.
	Responder *challenge.Responder
	// ALPN is likewise for tls-alpn-01.
	ALPN *challenge.ALPNResponder
	// Fallback is used for what of conf/ has a mistake now; nil means that such
	// a mistake is an error.
	Fallback *Fallback

	// OneShot says that no daemon wakes at the moments that CAs suggest: what
	// comes before the next run by the schedule is renewed now (RFC 9773 §4.2).
	OneShot bool

	crew *crew // of the passes that this one may overlap with; nil means that there are none
	run  *run  // hears when something is due while the pass is at its targets; nil means nobody

	RequestTimeout time.Duration // of one HTTP request to a CA; zero means 60 s
	OrderTimeout   time.Duration // of one issuance, but for its wait for DNS records; zero means 15 min
}

// Answers are what a person said once, in the response file or the quickstart.
type Answers struct {
	Contact string // e-mail address for the CA; empty for none
	Refused bool   // the CA's terms were explicitly not agreed to
}

// A HookRunner runs every hook for an event; it is implemented by *hooks.Runner.
type HookRunner interface {
	Run(ctx context.Context, ev hooks.Event, skip func(path string) bool) ([]hooks.Result, error)
}

// An Issuer obtains one certificate; it is implemented by *issue.Issuer.
type Issuer interface {
	Issue(ctx context.Context, r issue.Request) (*issue.Certificate, error)
}

// Progress says where a pass is.
type Progress struct {
	Done, Total int // targets finished, targets that need work
	Step        issue.Step
}

// View is what is wanted and what is there, read at one moment.
type View struct {
	Settings *config.Settings
	Targets  *config.Targets
	Snapshot *state.Snapshot
	Now      time.Time
	NextRun  time.Time   // when certd is started next; zero if a daemon wakes by itself
	Limits   *limit.Book // what CAs were asked lately
	// LimitsLost is why that could not be read, nil if it could: Limits is empty then.
	LimitsLost error
	// Mistakes are those of conf/ for which the fallback is in use.
	Mistakes []error
	busy     map[string]bool // targets, by file, to leave to passes that are at them
	again    bool            // one of them may be left alone by now
	// Stopped says that nothing is done until the mistakes are mended: there was
	// nothing to fall back on but what certd does without conf/.
	Stopped bool
}

// A Fallback is configuration that was once read without a mistake.
type Fallback struct {
	Settings *config.Settings // of conf/certd.yaml
	Default  *config.Target   // of conf/target

	stopped bool // it is certd's own; nothing is to be done by it
}

// A ConfigError is a mistake in conf/ that makes every target unsafe to work on.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns the mistake.
func (e *ConfigError) Unwrap() error { return e.Err }

// Look reads the configuration and the state directory and changes nothing.
// Broken targets and entries are in the View; only a mistake in conf/ (a
// *ConfigError) or an unreadable directory is an error.
func Look(store *state.Store) (*View, error) { return look(store, nil) }

// look is Look that uses the fallback, if there is one, in place of what has a
// mistake in conf/.
func look(store *state.Store, fallback *Fallback) (*View, error) {
	var mistakes []error
	settings, err := config.LoadSettings(store.Dir())
	blind := err != nil && fallback != nil && fallback.stopped // which CAs there are is not known
	if err != nil && fallback != nil {
		mistakes = append(mistakes, &ConfigError{err})
		settings, err = fallback.Settings, nil
	}
	if err != nil {
		return nil, &ConfigError{err}
	}
	targets, err := config.LoadTargets(store.Dir())
	if err != nil && fallback != nil {
		mistakes = append(mistakes, &ConfigError{err})
		targets, err = config.LoadTargetsOver(store.Dir(), fallback.Default)
	}
	if err != nil {
		return nil, &ConfigError{err}
	}
	snapshot, err := store.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("read state directory %s: %w", store.Dir(), err)
	}
	book, lost := loadBook(store)
	view := &View{Settings: settings, Targets: targets, Snapshot: snapshot, Now: time.Now(), Limits: book, LimitsLost: lost, Mistakes: mistakes}
	if blind {
		view.Stopped = true
		return view, nil
	}
	if err := settings.CheckCAs(targets.Default); err != nil { // every target without a CA of its own would use it
		if fallback == nil || !fallback.stopped {
			return nil, &ConfigError{err}
		}
		view.Mistakes = append(view.Mistakes, &ConfigError{err})
	}
	view.Stopped = len(view.Mistakes) > 0 && fallback.stopped
	for _, t := range targets.Targets {
		if err := settings.CheckCAs(t); err != nil {
			targets.Errors = append(targets.Errors, err)
		}
	}
	return view, nil
}

// LookAnyway is Look for who only wants to see how things stand: mistakes in
// conf/ are in the View, which is then Stopped, and what they are about counts as
// not said. The error is for what cannot be read at all.
func LookAnyway(store *state.Store) (*View, error) {
	view, err := Look(store)
	if _, mistake := errors.AsType[*ConfigError](err); !mistake {
		return view, err
	}
	settings, err1 := config.ParseSettings("conf/certd.yaml", nil)
	target, err2 := config.ParseDefault("conf/target", nil, nil, 0)
	if e := errors.Join(err1, err2); e != nil {
		return nil, e // never: there is nothing to make a mistake in
	}
	return look(store, &Fallback{Settings: settings, Default: target, stopped: true})
}

// Files returns the names of all files in desired/ that stand for a target, also
// of those that could not be read.
func (v *View) Files() []string {
	files := slices.Collect(maps.Keys(v.Targets.Unread))
	for _, t := range v.Targets.Targets {
		files = append(files, t.File)
	}
	return files
}

// Plan computes what each target needs now. With force, every target that
// selected returns true for is ordered even if it is not due.
func (v *View) Plan(selected func(*config.Target) bool, force bool) []plan.Action {
	in := v.input(selected, force)
	out := make([]plan.Action, 0, len(v.Targets.Targets))
	chosen := make(map[string]bool, len(v.Targets.Targets))
	for _, t := range v.Targets.Targets {
		chosen[t.File] = selected(t)
	}
	for _, a := range plan.Compute(in) {
		if chosen[a.Target] {
			out = append(out, a)
		}
	}
	return out
}

func (v *View) input(selected func(*config.Target) bool, force bool) plan.Input {
	in := plan.Input{Now: v.Now, Targets: v.Targets.Targets, Unread: v.Targets.Unread, Settings: v.Settings, State: v.Snapshot, Limits: v.Limits, NextRun: v.NextRun, Busy: v.busy}
	if v.Stopped {
		in.Stopped = "nothing is done until conf/ is mended"
	}
	if force {
		in.Force = make(map[string]bool)
		for _, t := range v.Targets.Targets {
			if selected(t) {
				in.Force[t.File] = true
			}
		}
	}
	return in
}

// Select returns the filter for a command's arguments: a target is selected by
// its file name or by a name it contains; no arguments select all. An argument
// that selects nothing is an error.
func (v *View) Select(args []string) (func(*config.Target) bool, error) {
	if len(args) == 0 {
		return func(*config.Target) bool { return true }, nil
	}
	chosen := make(map[*config.Target]bool)
	for _, arg := range args {
		found := false
		for _, t := range v.Targets.Targets {
			if matches(t, arg) {
				chosen[t], found = true, true
			}
		}
		if !found {
			return nil, &UnknownTargetError{arg}
		}
	}
	return func(t *config.Target) bool { return chosen[t] }, nil
}

// An UnknownTargetError says that an argument selects no target.
type UnknownTargetError struct{ Arg string }

func (e *UnknownTargetError) Error() string {
	return fmt.Sprintf("no target is called %q or contains that name; certd plan lists them, certd want adds one", e.Arg)
}

func matches(t *config.Target, arg string) bool {
	if t.File == arg {
		return true
	}
	name, err := config.ParseName(arg)
	if err != nil {
		return false
	}
	for _, n := range t.Names {
		if n == name {
			return true
		}
	}
	return false
}
