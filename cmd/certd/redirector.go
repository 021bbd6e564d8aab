package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"certd/challenge"
	"certd/config"
)

// namesInterval is how often the redirector looks whether what is wanted has changed.
const namesInterval = 2 * time.Second

// bindWait is how long the start waits for an address that is in use.
const bindWait = 10 * time.Second

// A redirectorRun is one run of certd redirector, and its flags.
type redirectorRun struct {
	*app
	listen  []string
	dirs    []string
	user    string
	userSet bool // --user was given
	status  int
	all     bool

	mu    sync.Mutex
	count map[string]int // requests by result
}

func (a *app) redirectorCommand() *cobra.Command {
	r := &redirectorRun{app: a, count: map[string]int{}}
	c := &cobra.Command{
		Use:   "redirector",
		Short: "Redirect http to https and serve challenge files, on port 80",
		Long: `Answers on port 80: challenge files from the challenge directories, and a redirect to
the same URL with https for every name that is wanted or in live/; others get 421.
Binds its ports (or takes those of systemd), gives up root, makes sure that it cannot
have it back and cannot read a key, and serves. Wanted names are read again when they
change, and on SIGHUP. It refuses to serve as root or where it could read keys, unless
--user "" says to go on as whoever started it.`,
		Example: `  certd redirector
  certd redirector --listen 192.0.2.1:80 --listen '[2001:db8::1]:80'
  certd redirector --user "" --listen :8080       as an ordinary user, for tests`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r.userSet = cmd.Flags().Changed("user")
			return r.run(cmd.Context(), cmd.Flags().Changed("listen"))
		},
	}
	flags := c.Flags()
	flags.StringArrayVar(&r.listen, "listen", []string{":80"}, "address `HOST:PORT`, repeatable; not used with sockets of systemd unless given")
	flags.StringArrayVar(&r.dirs, "path", nil, "challenge directory `DIR`, repeatable; default those of conf/target and "+challenge.StandardWebroot)
	flags.StringVar(&r.user, "user", "daemon", "serve as this user, `NAME` or number; \"\" stays who started it")
	flags.IntVar(&r.status, "status-code", http.StatusPermanentRedirect, "status of redirects: 301, 302, 307 or 308")
	flags.BoolVar(&r.all, "all", false, "redirect for every valid name, wanted or not")
	return c
}

func (r *redirectorRun) run(ctx context.Context, listen bool) error {
	if !slices.Contains([]int{301, 302, 307, 308}, r.status) {
		return usage("--status-code %d: use 301, 302, 307 or 308", r.status)
	}
	for _, addr := range r.listen {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return usage("--listen %q: want HOST:PORT, such as :80 or 192.0.2.1:80", addr)
		}
	}
	store, err := r.store()
	if err != nil {
		return err
	}
	if err := r.findDirs(store.Dir()); err != nil {
		return err
	}
	listeners, err := r.bind(ctx, listen)
	if err != nil {
		return err
	}
	who, err := r.giveUpRights(store.Dir())
	if err != nil {
		return errors.Join(append([]error{err}, closeAll(listeners)...)...)
	}
	names := &wantedNames{dir: store.Dir()}
	if err := names.read(); err != nil && !r.all { // as who we are now: later reads work as well, or nothing starts
		err = fmt.Errorf("read the wanted names as %s: %w; let it read desired/ and live/ (conf/perm), or redirect for --all", who, err)
		return errors.Join(append([]error{err}, closeAll(listeners)...)...)
	}
	return r.serve(ctx, listeners, names, who)
}

// findDirs completes the challenge directories.
func (r *redirectorRun) findDirs(stateDir string) error {
	for i, dir := range r.dirs {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return fmt.Errorf("--path %s: %w", dir, err)
		}
		r.dirs[i] = abs
	}
	if len(r.dirs) > 0 {
		return nil
	}
	targets, err := config.LoadTargets(stateDir)
	if err != nil {
		return &exitError{exitConfig, err}
	}
	r.dirs = append(slices.Clone(targets.Default.Challenge.WebrootPaths), challenge.StandardWebroot)
	return nil
}

// bind takes the sockets of systemd and opens --listen where there are none.
func (r *redirectorRun) bind(ctx context.Context, listen bool) ([]net.Listener, error) {
	byName, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("take the sockets of systemd: %w", err)
	}
	var listeners []net.Listener
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		listeners = append(listeners, byName[name]...)
	}
	if len(listeners) > 0 && !listen {
		return listeners, nil
	}
	for _, addr := range r.listen {
		var ln net.Listener
		say := func(err error) {
			r.log.Warn("an address is in use, trying again", "at_most", bindWait, "err", err.Error())
		}
		err := challenge.WhileInUse(ctx, bindWait, say, func() (err error) {
			ln, err = challenge.Bind(ctx, addr)
			return err
		})
		if err != nil {
			return nil, errors.Join(append([]error{err}, closeAll(listeners)...)...)
		}
		listeners = append(listeners, ln)
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) (failed []error) {
	for _, ln := range listeners {
		if err := ln.Close(); err != nil {
			failed = append(failed, fmt.Errorf("close %s: %w", ln.Addr(), err))
		}
	}
	return failed
}

// serve answers until ctx is done.
func (r *redirectorRun) serve(ctx context.Context, listeners []net.Listener, names *wantedNames, who string) error {
	responder := challenge.NewResponder()
	responder.Dirs = r.dirs
	responder.Count = func(result string) { r.counted("challenge " + result) }
	redirector := &challenge.Redirector{Allowed: names.has, All: r.all, Status: r.status, Count: r.counted}
	for i, ln := range listeners {
		if _, err := responder.Serve(ln, redirector.Handler(responder)); err != nil {
			return errors.Join(append([]error{err, responder.Close()}, closeAll(listeners[i+1:])...)...)
		}
	}
	r.log.Info("redirector serves", "addresses", strings.Join(responder.Addrs(), " "), "user", who,
		"names", names.len(), "all", r.all, "challenges", strings.Join(r.dirs, " "))
	if _, err := sd.SdNotify(false, sd.SdNotifyReady+"\nSTATUS="+r.said(names)); err != nil {
		r.log.Warn("could not tell systemd", "err", err.Error())
	}
	r.watch(ctx, names)
	_, _ = sd.SdNotify(false, sd.SdNotifyStopping)
	err := responder.Close()
	r.log.Info("redirector ends", "served", r.said(names))
	return err
}

// watch reads the names again when they have changed, and tells systemd that it lives.
func (r *redirectorRun) watch(ctx context.Context, names *wantedNames) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	tick := time.NewTicker(namesInterval)
	defer tick.Stop()
	complained := ""
	for {
		changed := false
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			changed = true
		case <-tick.C:
			changed = names.changed()
		}
		if changed {
			err := names.read()
			switch {
			case err == nil:
				r.log.Info("wanted names read again", "names", names.len())
				complained = ""
			case err.Error() != complained:
				r.log.Warn("the wanted names cannot be read; those read before stay", "err", err.Error())
				complained = err.Error()
			}
		}
		_, _ = sd.SdNotify(false, sd.SdNotifyWatchdog+"\nSTATUS="+r.said(names)) // said once at the start if it fails
	}
}

// counted counts one request.
func (r *redirectorRun) counted(result string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count[result]++
}

// said is what systemctl status shows: names and requests by result.
func (r *redirectorRun) said(names *wantedNames) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := plural(names.len(), "name")
	for _, result := range slices.Sorted(maps.Keys(r.count)) {
		text += fmt.Sprintf(", %d %s", r.count[result], strings.ReplaceAll(result, "_", " "))
	}
	return text
}
