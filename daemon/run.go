package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"certd/challenge"
	"certd/state"
)

const (
	// turnEvery is how often the loop turns while nothing happens: it looks at
	// desired/ and at the wall clock, which may have been set or have slept.
	turnEvery = time.Second

	// stopWithin is how long a pass may take to come to an end after the daemon
	// was told to stop. Whatever it still does is safe to cut off: systems and
	// people wait 10 s for the process.
	stopWithin = 8 * time.Second

	// bindWait is how long the start waits for an address that is in use.
	bindWait = 10 * time.Second

	// lockWait is how long a pass waits for another certd.
	lockWait = time.Minute
)

// RunOptions say how Run works. Options apply to every pass, but for Targets,
// Force, Trigger, LockWait, Responder, ALPN and Fallback, which are Run's own.
type RunOptions struct {
	Options
	Reload         <-chan os.Signal          // each one reloads conf/; nil never does
	Sockets        map[string][]net.Listener // open already, by name: "status", "http" (port 80), "proxy" (port 402); Run closes them
	Reread         func() (Answers, error)   // reads Options.Answers anew before each pass; those read last stay on an error. Nil keeps them
	MetricsHandler http.Handler              // serves /metrics; nil serves Options.Metrics, and answers 404 if that is nil, too
}

// Run is the daemon: it reconciles at once, then by schedule, when something
// comes due, and when desired/ changes, until ctx is done. It ends within 10 s
// of that, with orders left resumable, and returns nil. An error says what kept
// it from starting: a *ConfigError, fs.ErrPermission of the state directory, or
// an address that is taken.
func Run(ctx context.Context, o RunOptions) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MetricsHandler == nil && o.Metrics != nil {
		o.MetricsHandler = MetricsHandler(o.Store, o.Hooks, o.Metrics)
	}
	view, err := Look(o.Store)
	if err != nil {
		return errors.Join(err, closeAll(o.Sockets))
	}
	if err := mayWrite(ctx, o.Store); err != nil {
		return errors.Join(err, closeAll(o.Sockets))
	}
	defer claim(ctx, o)()
	l := newLoop(o, Reconcile)
	l.fallback = &Fallback{Settings: view.Settings, Default: view.Targets.Default}
	l.know(view)
	if err := l.adopt(o.Sockets); err != nil {
		return errors.Join(err, l.close())
	}
	next, err := l.build(ctx, view.Settings, bindWait)
	if err != nil {
		if ctx.Err() != nil {
			err = nil // it was told to stop while it waited for an address
		}
		return errors.Join(err, l.close())
	}
	l.swap(next)
	o.Log.Info("certd runs", "state", o.Store.Dir(), "schedule", view.Settings.Schedule, "listen", view.Settings.Listen,
		"responder", l.responder.Addrs())
	return l.run(ctx)
}

// mayWrite says that no pass will ever get the lock, since this user may not
// write to the state directory. What may pass by, such as a full disk or another
// certd at work, is for the passes to report.
func mayWrite(ctx context.Context, store *state.Store) error {
	lock, err := store.Lock(ctx, 0)
	if err == nil {
		err = lock.Unlock()
	}
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// claim tells certd want that there is a daemon, until the function that it
// returns is called. That it cannot be told keeps nothing from working.
func claim(ctx context.Context, o RunOptions) (release func()) {
	lock, err := o.Store.LockDaemon(ctx)
	switch locked, ok := errors.AsType[*state.LockedError](err); {
	case ok:
		o.Log.Warn("another certd run looks after the same state directory; one of them is enough", "process", locked.PID)
	case err != nil:
		o.Log.Warn("certd want cannot be told that there is a daemon", "err", err.Error())
	}
	if err != nil {
		return func() {}
	}
	return func() { _ = lock.Unlock() } // it ends with the process, too
}

// A reconcileFunc makes one pass; it is Reconcile, or a test's.
type reconcileFunc func(context.Context, Options) (*Report, error)

// A loop is a running daemon. Its fields belong to the goroutine of run, but
// for pulse, names, responder and alpn, which are safe for all.
type loop struct {
	RunOptions
	reconcile reconcileFunc
	look      func(*Fallback) (*View, error)
	responder *challenge.Responder
	alpn      *challenge.ALPNResponder
	pulse     *pulse
	names     atomic.Pointer[map[string]bool] // that the redirector serves
	notifier  notifier
	watcher   *watcher
	inherited inherited
	setup     setup

	fallback  *Fallback
	reloadErr error // why conf/ could not be reloaded; nil after a good one
	retry     bool  // reload again after the pass: it may hold a port

	ticks  chan chan<- struct{} // from the cron schedule; the inner one is closed when its pass is done
	done   chan outcome         // from the passes
	asked  string               // trigger of the next pass; empty without
	waiter chan<- struct{}      // of the cron job that asked for it
	runs   []*run               // the passes at work, the newest last
	crew   crew                 // what they are to each other
	newest *run                 // the pass that began last
	looked time.Time            // when it did, or when a pass ended since
	ended  time.Time            // end of the last pass
	owed   bool                 // a pass has ended since newest began, and has left things
	next   time.Time            // the exact wake-up as planned after it; zero without
	facts  facts                // likewise
}

// An outcome is how a pass ended, and how things stand after it.
type outcome struct {
	run    *run
	at     time.Time // when it was over, before anything was looked at
	report *Report
	err    error // it did not run
	view   *View // nil with lookErr
	look   error
	// answers are those that it was made with.
	answers Answers
}

func newLoop(o RunOptions, reconcile reconcileFunc) *loop {
	l := &loop{
		RunOptions: o,
		reconcile:  reconcile,
		responder:  newResponder(o.Metrics),
		alpn:       newALPN(o.Metrics),
		pulse:      &pulse{turned: time.Now(), text: "starting"}, // it may be asked before the first turn
		notifier:   newNotifier(o.Log),
		ticks:      make(chan chan<- struct{}),
		done:       make(chan outcome, maxRuns),
		asked:      "startup",
	}
	l.responder.Linger = lateLooks
	l.alpn.Linger(lateLooks)
	l.responder.Dirs = []string{cmp.Or(o.Webroot, challenge.StandardWebroot)}
	l.look = func(f *Fallback) (*View, error) { return look(o.Store, f) }
	if o.Store != nil {
		l.watcher = newWatcher(o.Store.Dir())
		l.responder.Dirs = append(l.responder.Dirs, lentDir(o.Store))
	}
	return l
}

// run turns the loop until ctx is done.
func (l *loop) run(ctx context.Context) error {
	l.looked = time.Now()
	l.notifier.ready()
	for ctx.Err() == nil {
		l.turn(ctx)
		timer := time.NewTimer(l.pause(time.Now()))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case waiter := <-l.ticks:
			l.tick(waiter)
		case out := <-l.done:
			l.finish(ctx, out)
		case <-l.Reload:
			l.reload(ctx)
			l.ask("signal")
		}
		timer.Stop()
	}
	return l.stop()
}

// turn does what has come due, and shows that the loop turns.
func (l *loop) turn(ctx context.Context) {
	now := time.Now()
	if l.watcher != nil && l.watcher.changed(now) {
		l.ask("watch")
	}
	free := l.free(now)
	if free && l.due(now) {
		l.ask("timer")
	}
	if free && l.asked != "" {
		l.begin(ctx)
	}
	if l.Metrics != nil {
		l.Metrics.SetDaemon(l.nextPass(), l.reloadErr == nil)
	}
	l.pulse.turn(l.describe(now))
	l.notifier.status(l.sentence(now))
	if l.pulse.stalled() == nil {
		l.notifier.feed(now)
	}
}

// due reports whether the exact wake-up has come, by the wall clock. If that was
// set back since the last pass it says nothing, and everything is looked at
// again; so it is at least once a day by the monotonic clock.
func (l *loop) due(now time.Time) bool {
	next, passed := l.wakeTime(), now.Sub(l.looked)
	return !next.IsZero() && !now.Before(next) || passed >= day || setBack(now.Round(0).Sub(l.looked.Round(0)), passed)
}

// setBack reports whether the wall clock was set back while so much time passed by
// it and by the monotonic clock.
func setBack(wall, monotonic time.Duration) bool { return wall < monotonic-time.Minute }

// pause is how long the loop may sleep.
func (l *loop) pause(now time.Time) time.Duration {
	d := l.notifier.atMost(turnEvery)
	if next := l.wakeTime(); l.free(now) && !next.IsZero() {
		d = min(d, next.Sub(now))
	}
	return max(d, time.Millisecond)
}

// ask wants a pass; what was asked for before comes first, and serves both.
func (l *loop) ask(trigger string) {
	if l.asked == "" {
		l.asked = trigger
	}
}

// tick is the cron schedule's turn. A pass at work serves it, too.
func (l *loop) tick(waiter chan<- struct{}) {
	if len(l.runs) > 0 {
		l.Log.Debug("scheduled pass skipped, one is running", "trigger", l.newest.trigger)
		close(waiter)
		return
	}
	l.ask("cron")
	l.waiter = waiter
}

// begin starts a pass in its own goroutine, so that the loop goes on turning. It
// will see to all that is due by now.
func (l *loop) begin(ctx context.Context) {
	now := time.Now()
	r := &run{trigger: l.asked, begun: now, waiter: l.waiter}
	for _, other := range l.runs {
		other.forget(now, now)
	}
	l.runs, l.newest, l.looked = append(l.runs, r), r, now
	l.asked, l.waiter, l.next, l.owed = "", nil, time.Time{}, false
	if l.watcher != nil {
		l.watcher.seen()
	}
	o := l.Options
	o.Targets, o.Force, o.Trigger, o.LockWait = nil, false, r.trigger, lockWait
	o.Responder, o.ALPN, o.Fallback, o.KeepCounters = l.responder, l.alpn, l.fallback, true
	o.crew, o.run = &l.crew, r
	l.pulse.begin(r, &o)
	l.Log.Debug("pass begins", "trigger", r.trigger, "beside", len(l.runs)-1)
	go func() { l.done <- l.pass(ctx, o) }() // joined by finish, or by stop
}

// pass is one pass; a panic in it is its failure only.
func (l *loop) pass(ctx context.Context, o Options) (out outcome) {
	defer func() {
		if v := recover(); v != nil {
			l.Log.Error("panic contained", "trigger", o.Trigger, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			out.err = errors.Join(out.err, fmt.Errorf("internal error: %v", v))
		}
	}()
	out.run, out.answers = o.run, l.reread(&o)
	out.report, out.err = l.reconcile(ctx, o)
	out.at = time.Now()
	others := l.crew.current()
	busy := others.atWork()
	if out.view, out.look = l.look(o.Fallback); out.look == nil {
		others.leaveOut(out.view, busy)
		others.keepPending(out.view)
	}
	return out
}

// reread reads the answers for a pass, and returns them.
func (l *loop) reread(o *Options) Answers {
	if l.Reread == nil {
		return o.Answers
	}
	answers, err := l.Reread()
	if err != nil {
		l.Log.Error("the answers read before stay in force", "err", err.Error())
		return o.Answers
	}
	o.Answers = answers
	return answers
}

// finish takes in what a pass did, and sets when the next one comes.
func (l *loop) finish(ctx context.Context, out outcome) {
	r, now := out.run, time.Now()
	l.runs = slices.DeleteFunc(l.runs, func(other *run) bool { return other == r })
	l.ended, l.looked = now, now
	l.pulse.end(r)
	if r.waiter != nil {
		close(r.waiter)
	}
	if ctx.Err() != nil {
		return
	}
	if out.err != nil {
		l.Log.Error("pass failed", "trigger", r.trigger, "err", out.err.Error())
	}
	if out.look != nil && !sameText(out.look, out.err) {
		l.Log.Error("cannot see what comes next", "err", out.look.Error())
	}
	if r == l.newest { // else another one has read them since
		l.Answers = out.answers
	}
	l.planNext(out)
	l.facts = gather(out)
	if v := out.view; v != nil {
		l.know(v)
		if len(v.Mistakes) == 0 {
			l.fallback = &Fallback{Settings: v.Settings, Default: v.Targets.Default}
		}
	}
	l.Log.Info("pass done", "trigger", r.trigger, "took", now.Sub(r.begun).Round(time.Millisecond), "summary", l.sentence(now), "next", stamp(l.nextPass()))
	if l.retry {
		l.retry = false
		l.reload(ctx)
	}
}

// stop ends the daemon: first the passes, which need their responder, then the rest.
func (l *loop) stop() error {
	l.notifier.stopping()
	l.Log.Info("stopping")
	timer := time.NewTimer(stopWithin)
	defer timer.Stop()
	for over := false; len(l.runs) > 0 && !over; {
		select {
		case out := <-l.done:
			l.runs = slices.DeleteFunc(l.runs, func(r *run) bool { return r == out.run })
		case <-timer.C:
			over = true
			l.Log.Warn("the pass did not end in time and is cut off; the next run goes on with its orders", "trigger", l.runs[0].trigger)
		}
	}
	if err := l.close(); err != nil {
		l.Log.Warn("stopping", "err", err.Error())
	}
	return nil
}

// close releases everything that is open.
func (l *loop) close() error {
	return errors.Join(l.setup.close(nil), l.inherited.close(), l.responder.Close(), l.alpn.Close())
}

func sameText(a, b error) bool { return a != nil && b != nil && a.Error() == b.Error() }

// stamp is a time for people and logs; "-" for the zero time.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
