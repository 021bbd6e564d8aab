package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"certd/challenge"
	"certd/config"
)

// A setup is what is made from conf/certd.yaml and lives until the next reload.
type setup struct {
	settings  *config.Settings
	ticker    *ticker
	status    *server  // nil if off
	responder *door    // nil if there is none of our own
	start     []func() // of what does not run yet
}

// A door is an address of the responder that is always open.
type door struct {
	addr string
	ln   net.Listener // nil if it is a challenge's as well, which opened it
	stop func() error // ends the serving; nil if that has not begun
}

// serve begins to answer: challenges, and what else h answers.
func (d *door) serve(r *challenge.Responder, h http.Handler) (err error) {
	d.stop, err = r.Serve(d.ln, h)
	return err
}

func (d *door) close() error {
	if d.stop == nil {
		return d.ln.Close()
	}
	return d.stop()
}

// build makes everything from settings that can fail, and touches nothing that
// runs. What stays the same is taken over from the present setup.
//
// An address in use is waited for, which is for the start: whoever had it before
// may not be gone yet.
func (l *loop) build(ctx context.Context, settings *config.Settings, wait time.Duration) (setup, error) {
	next := setup{settings: settings}
	say := func(err error) { l.Log.Warn("an address is in use, trying again", "at_most", wait, "err", err.Error()) }
	err := l.buildParts(ctx, &next, func(open func() error) error { return challenge.WhileInUse(ctx, wait, say, open) })
	if err != nil {
		return setup{}, errors.Join(err, next.close(&l.setup))
	}
	return next, nil
}

func (l *loop) buildParts(ctx context.Context, next *setup, patiently func(func() error) error) (err error) {
	s, leaving := next.settings, l.leaving(next.settings)
	if next.ticker, err = newTicker(ctx, s.Schedule, s.Jitter, l.ticks, l.Log); err != nil {
		return err
	}
	next.start = append(next.start, next.ticker.start)
	switch old := l.setup.status; {
	case len(l.inherited.status) > 0 || s.Listen == "":
	case old != nil && old.addr == s.Listen:
		next.status = old
	default:
		if err := patiently(func() (err error) {
			next.status, err = openServer(ctx, s.Listen, l.handler(s.Listen), leaving...)
			return err
		}); err != nil {
			return err
		}
		next.start = append(next.start, next.status.serve)
	}
	switch old := l.setup.responder; {
	case s.Responder == "" || l.inherited.has(s.Responder):
	case old != nil && old.addr == s.Responder:
		next.responder = old
	default:
		if err := patiently(func() error { return l.openDoor(ctx, next, leaving) }); err != nil {
			return fmt.Errorf("%w; responder: in conf/certd.yaml says where", err)
		}
	}
	return nil
}

// leaving are the listeners that will not be needed any more with s. They give
// way to addresses that overlap theirs.
func (l *loop) leaving(s *config.Settings) (own []net.Listener) {
	if old := l.setup.status; old != nil && old.addr != s.Listen {
		own = append(own, old.ln)
	}
	if old := l.setup.responder; old != nil && old.ln != nil && old.addr != s.Responder {
		own = append(own, old.ln)
	}
	return own
}

// openDoor opens an address for challenges: on loopback for those alone, since
// a web server passes them on, else with the redirector around them. One that a
// challenge has open on loopback is shared.
func (l *loop) openDoor(ctx context.Context, next *setup, leaving []net.Listener) error {
	addr := next.settings.Responder
	ln, err := challenge.BindBeside(ctx, addr, leaving...)
	if err != nil && isLoopback(addr) {
		if release, err := l.responder.Listen([]string{addr}); err == nil {
			next.responder = &door{addr: addr, stop: release}
			return nil
		}
	}
	if err != nil {
		return err
	}
	d, h := &door{addr: addr, ln: ln}, http.Handler(nil)
	if !isLoopback(addr) {
		h = l.redirector()
	}
	next.responder = d
	next.start = append(next.start, func() {
		if err := d.serve(l.responder, h); err != nil {
			l.Log.Error("the responder does not answer", "addr", addr, "err", err.Error()) // it is closed: certd ends
		}
	})
	return nil
}

// redirector sends everything but challenges to https, for names that are wanted
// or live.
func (l *loop) redirector() http.Handler {
	r := &challenge.Redirector{Allowed: l.allowed}
	if l.Metrics != nil {
		r.Count = l.Metrics.Redirect
	}
	return r.Handler(l.responder)
}

// allowed reports whether a name is wanted or live, also by a wildcard.
func (l *loop) allowed(name string) bool {
	names := l.names.Load()
	if names == nil {
		return false
	}
	_, parent, _ := strings.Cut(name, ".")
	return (*names)[name] || (*names)["*."+parent]
}

// know takes the names that the redirector serves from a view.
func (l *loop) know(v *View) {
	names := make(map[string]bool)
	for _, t := range v.Targets.Targets {
		for _, n := range t.RequestNames { // Names among them
			names[n] = true
		}
	}
	for link := range v.Snapshot.Live {
		name, _ := config.SplitLive(link)
		names[name] = true
	}
	l.names.Store(&names)
}

func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// swap puts a new setup in place, and closes what the old one had for itself.
func (l *loop) swap(next setup) {
	old := l.setup
	l.setup = next
	for _, start := range next.start {
		start()
	}
	if err := old.close(&next); err != nil {
		l.Log.Warn("closing what the last configuration had open", "err", err.Error())
	}
}

// close closes everything that other does not have as well; other may be nil.
func (s *setup) close(other *setup) error {
	if other == nil {
		other = &setup{}
	}
	var errs []error
	if s.ticker != nil && s.ticker != other.ticker {
		s.ticker.close()
	}
	if s.status != nil && s.status != other.status {
		errs = append(errs, s.status.close())
	}
	if s.responder != nil && s.responder != other.responder {
		errs = append(errs, s.responder.close())
	}
	return errors.Join(errs...)
}

// reload reads conf/ anew. A mistake, or an address that is taken, leaves
// everything as it is, is logged, and is shown until a reload works.
func (l *loop) reload(ctx context.Context) {
	l.notifier.reloading()
	defer l.notifier.ready()
	view, err := l.look(nil)
	var next setup
	if err == nil {
		l.responder.Hush() // their ports may be wanted
		l.alpn.Hush()
		next, err = l.build(ctx, view.Settings, 0)
	}
	if l.reloadErr = firstLine(err); err != nil {
		l.retry = len(l.runs) > 0 && errors.Is(err, syscall.EADDRINUSE)
		l.Log.Error("not reloaded, the configuration read before stays in force", "err", err.Error())
		return
	}
	l.swap(next)
	l.fallback = &Fallback{Settings: view.Settings, Default: view.Targets.Default}
	l.know(view)
	l.facts.trouble = ""
	l.Log.Info("reloaded", "schedule", view.Settings.Schedule, "listen", view.Settings.Listen, "responder", l.responder.Addrs())
}

// inherited is what the service manager opened for us (sd_listen_fds(3)). It
// stays open over reloads.
type inherited struct {
	status []*server
	doors  []*door
}

// adopt serves the sockets of the service manager by their names. The responder
// closes those it serves; the others are closed here if anything is wrong.
func (l *loop) adopt(sockets map[string][]net.Listener) error {
	for name := range sockets {
		if !slices.Contains([]string{"status", "http", "proxy"}, name) {
			return errors.Join(fmt.Errorf("socket %q: use FileDescriptorName=status, http or proxy", name), closeAll(sockets))
		}
	}
	for _, ln := range sockets["status"] {
		s := newServer("", ln, l.handler(""))
		s.serve()
		l.inherited.status = append(l.inherited.status, s)
	}
	var errs []error
	for _, name := range []string{"http", "proxy"} {
		var h http.Handler
		if name == "http" {
			h = l.redirector()
		}
		for _, ln := range sockets[name] {
			d := &door{addr: ln.Addr().String(), ln: ln}
			if err := d.serve(l.responder, h); err != nil {
				errs = append(errs, fmt.Errorf("socket %q: %w", name, err))
				continue
			}
			l.inherited.doors = append(l.inherited.doors, d)
		}
	}
	return errors.Join(errs...)
}

// has reports whether one of the sockets covers an address of the settings.
func (i *inherited) has(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(i.doors, func(d *door) bool {
		h, p, err := net.SplitHostPort(d.addr)
		return err == nil && p == port && (h == host || h == "::" || h == "0.0.0.0")
	})
}

func (i *inherited) close() error {
	var errs []error
	for _, s := range i.status {
		errs = append(errs, s.close())
	}
	for _, d := range i.doors {
		errs = append(errs, d.close())
	}
	return errors.Join(errs...)
}

func closeAll(sockets map[string][]net.Listener) error {
	var errs []error
	for _, list := range sockets {
		for _, ln := range list {
			errs = append(errs, ln.Close())
		}
	}
	return errors.Join(errs...)
}
