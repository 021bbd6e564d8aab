package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"certd/acme"
	"certd/config"
	"certd/packaging"
	"certd/state"
)

// services is how certd can be made to run by itself on this machine.
type services struct {
	root     string // where units and crontabs go; empty means this machine
	found    []packaging.Found
	stateDir string
	hookDirs []string // that are not the default ones
}

func findServices(root, stateDir string, hookDirs []string) services {
	return services{root: root, stateDir: stateDir, hookDirs: hookDirs, found: packaging.Detect(root)}
}

// may reports whether the user may install units and crontabs.
func (v services) may() bool { return v.root != "" || os.Geteuid() == 0 }

// systemd reports whether units are of any use.
func (v services) systemd() bool {
	return v.may() && (v.root != "" || packaging.Suggest(v.root) == packaging.Timer)
}

// suggest is the answer to run that suits the machine.
func (v services) suggest() string {
	switch kind := packaging.Suggest(v.root); {
	case !v.may() || kind == packaging.None && v.root == "":
		return runNothing
	case kind == packaging.None:
		return runTimer
	default:
		return string(kind)
	}
}

// rivals are what does certd's work besides what Install manages and what was
// asked for: a second timer, or a second server on port 80.
func (v services) rivals(answers responses) []packaging.Found {
	return slices.DeleteFunc(slices.Clone(v.found), func(f packaging.Found) bool {
		if f.Kind == packaging.Redirector {
			return !f.Enabled || f.Program == "certd" || answers["install-redirector-systemd"] != "yes"
		}
		return !f.Enabled || f.Managed || answers["run"] == runNothing || f.Program == "certd" && string(f.Kind) == answers["run"]
	})
}

// options are what packaging needs to know of the answers.
func (v services) options(s *setup) (packaging.Options, error) {
	binary, err := os.Executable()
	if err != nil {
		return packaging.Options{}, fmt.Errorf("find my own program: %w", err)
	}
	dir, err := filepath.Abs(v.stateDir)
	if err != nil {
		return packaging.Options{}, fmt.Errorf("state directory: %w", err)
	}
	dir = s.image.inside(dir) // as it is called once the image runs
	o := packaging.Options{Kind: packaging.Kind(s.answers["run"]), Binary: s.image.program(binary), StateDir: dir, Root: v.root,
		Redirector: s.answers["install-redirector-systemd"] == "yes"}
	if o.Kind == runNothing {
		o.Kind = packaging.None
	}
	for _, hooks := range v.hookDirs {
		if hooks, err = filepath.Abs(hooks); err != nil {
			return o, fmt.Errorf("hook directory: %w", err)
		}
		o.HookDirs = append(o.HookDirs, s.image.inside(hooks))
	}
	switch method := s.answers["choose-method"]; method {
	case "listen":
		o.Sockets = []string{packaging.SocketHTTP}
	case "proxy":
		o.Sockets = []string{packaging.SocketProxy}
	case "webroot":
		o.WritePaths = []string{s.answers["webroot-path"]}
	}
	o.ReadPaths = s.readPaths()
	if file := s.settings.Metrics.Textfile; file != "" {
		o.WritePaths = append(o.WritePaths, filepath.Dir(file))
	}
	return o, nil
}

// readPaths are the files that certd reads for its CAs, the chosen one and those
// of conf/certd.yaml, and for its DNS provider.
func (s *setup) readPaths() []string {
	var paths []string
	for _, ca := range append([]config.CA{s.ca}, s.settings.CAs...) {
		for _, file := range []string{ca.Bundle, ca.EABHMACFile} {
			if filepath.IsAbs(file) && !slices.Contains(paths, file) {
				paths = append(paths, file)
			}
		}
	}
	if file := s.answers["dns-env-file"]; filepath.IsAbs(file) {
		paths = append(paths, file)
	}
	return paths
}

// unseen says what the units that are asked for cannot see.
func (v services) unseen(s *setup) []packaging.Unseen {
	if !v.may() {
		return nil
	}
	o, err := v.options(s)
	if err != nil {
		return nil // check has told
	}
	return packaging.FindUnseen(o)
}

// check finds out whether install can do what was answered.
func (v services) check(s *setup) error {
	if !v.may() {
		return nil
	}
	o, err := v.options(s)
	if err == nil {
		_, err = packaging.Plan(o)
	}
	return err
}

// install makes certd run as was answered, and nothing else. Commands are run
// only on this machine, and only if there is something to change.
func (v services) install(ctx context.Context, s *setup, r *record) error {
	if !v.may() {
		return nil
	}
	o, err := v.options(s)
	if err != nil {
		return err
	}
	v.turnOff(ctx, s.answers, r)
	if o.Kind == packaging.None && !o.Redirector && !slices.ContainsFunc(v.found, func(f packaging.Found) bool { return f.Managed }) {
		return nil
	}
	before, enabled := packaging.Before(o), v.enabled(o)
	if len(before) > 0 {
		r.commands(ctx, v.root, before)
	}
	changes, err := packaging.Install(o, state.ReplaceFile)
	changed := !enabled
	for _, c := range changes {
		r.add(c.Path, c.Action)
		changed = changed || c.Action != packaging.Unchanged && c.Action != packaging.Kept
	}
	if v.root != "" {
		if !enabled {
			r.commands(ctx, v.root, packaging.Enable(o))
		}
		r.todo = append(r.todo, s.image.missing(o.Binary)...)
		return err
	}
	if err == nil && changed {
		r.commands(ctx, v.root, packaging.After(o))
	}
	return err
}

// enabled reports whether the units of o start by themselves already.
func (v services) enabled(o packaging.Options) bool {
	has := func(kind packaging.Kind) bool {
		return slices.ContainsFunc(v.found, func(f packaging.Found) bool { return f.Program == "certd" && f.Kind == kind && f.Enabled })
	}
	return (o.Kind == packaging.None || has(o.Kind)) && (!o.Redirector || has(packaging.Redirector))
}

// turnOff turns off what else starts certd or acmetool, or says how to.
func (v services) turnOff(ctx context.Context, answers responses, r *record) {
	for _, f := range v.rivals(answers) {
		if v.root != "" {
			f = f.Offline(v.root)
		}
		if len(f.Commands) > 0 && v.root == "" && answers["turn-off-others"] == "yes" {
			r.commands(ctx, v.root, f.Commands)
		} else {
			r.todo = append(r.todo, f.What+": "+f.Advice)
		}
	}
}

// commands runs the commands one after the other; what fails is recorded. For
// an image they are left to whoever makes it.
func (r *record) commands(ctx context.Context, root string, commands [][]string) {
	for _, args := range commands {
		text := strings.Join(args, " ")
		if root != "" {
			r.todo = append(r.todo, text)
			continue
		}
		if err := command(ctx, args); err != nil {
			r.errs = append(r.errs, fmt.Errorf("%s: %w", text, err))
			continue
		}
		r.ran = append(r.ran, text)
	}
}

// command runs one command, for at most a minute.
func command(ctx context.Context, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		return errors.New(strings.TrimSpace(err.Error() + ": " + acme.Sanitize(out.String())))
	}
	return nil
}
