package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"certd/config"
	"certd/daemon"
	"certd/state"
)

func (a *app) wantCommand() *cobra.Command {
	var opts config.NewTarget
	var noReconcile bool
	var format string
	c := &cobra.Command{
		Use:   "want NAME...",
		Short: "Record names as one wanted certificate, then obtain it",
		Long: `Records one target with these names, which is one certificate, in desired/ and
reconciles it. Nothing is written if a target already covers all the names.`,
		Example: `  certd want www.example.com example.com
  certd want --challenge webroot --no-reconcile www.example.com`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(format); err != nil {
				return err
			}
			file, err := a.want(cmd.Context(), args, opts)
			if err != nil || noReconcile {
				return err
			}
			report, err := a.reconcile(cmd.Context(), []string{file}, false)
			if err != nil {
				return err
			}
			return a.finish(report, format, false)
		},
	}
	c.Flags().StringVar(&opts.Label, "label", "", "publish under live/NAME:`LABEL`, to keep two certificates for the same names")
	c.Flags().StringVar(&opts.KeyType, "key-type", "", "ecdsa, ecdsa-p384, rsa, rsa-3072, ...; default that of conf/target, else ecdsa")
	c.Flags().StringVar(&opts.Profile, "profile", "", "profile of the CA, such as shortlived")
	c.Flags().StringVar(&opts.Challenge, "challenge", "", "challenge `METHOD`: webroot, proxy, redirector, listen, stateless, hook")
	c.Flags().BoolVar(&noReconcile, "no-reconcile", false, "only record, leave the rest to the next reconcile")
	outputFlag(c, &format)
	return c
}

// want records a target and returns its file, or that of the target that
// already covers the names.
func (a *app) want(ctx context.Context, args []string, opts config.NewTarget) (string, error) {
	names, err := parseNames(args)
	if err != nil {
		return "", err
	}
	opts.Names = names
	data, err := config.NewTargetFile(opts)
	if err != nil {
		return "", usage("want: %w", err)
	}
	store, err := a.store()
	if err != nil {
		return "", err
	}
	if file, ok, err := covered(store, opts); ok || err != nil {
		return file, err
	}
	lock, err := daemon.Lock(ctx, store, a.lockWait(), a.log)
	if err != nil {
		return "", err
	}
	defer lock.Unlock()
	if file, ok, err := covered(store, opts); ok || err != nil {
		return file, err
	}
	file, err := store.AddDesired(fileName(names[0], opts.Label), data)
	if err != nil {
		return "", fmt.Errorf("record %s: %w", names[0], err)
	}
	a.log.Info("recorded", "target", file, "names", strings.Join(names, " "))
	return file, nil
}

// parseNames normalises the names of the command line; every bad one is named.
func parseNames(args []string) ([]string, error) {
	var names, bad []string
	for _, arg := range args {
		name, err := config.ParseName(arg)
		if err != nil {
			bad = append(bad, err.Error())
			continue
		}
		names = append(names, name)
	}
	if len(bad) > 0 {
		return nil, usage("%s", strings.Join(bad, "; "))
	}
	first := names[0]
	slices.Sort(names)
	names = slices.Compact(names)
	i := slices.Index(names, first) // the file is called after the first name given
	names[0], names[i] = names[i], names[0]
	return names, nil
}

// covered looks for a target with this label that has all the names.
func covered(store *state.Store, opts config.NewTarget) (file string, ok bool, err error) {
	targets, err := config.LoadTargets(store.Dir())
	if err != nil {
		return "", false, &daemon.ConfigError{Err: err}
	}
	for _, t := range targets.Targets {
		if t.Label == opts.Label && !slices.ContainsFunc(opts.Names, func(n string) bool { return !slices.Contains(t.Names, n) }) {
			return t.File, true, nil
		}
	}
	return "", false, nil
}

func fileName(name, label string) string {
	name = strings.Replace(name, "*", "wildcard", 1)
	if label != "" {
		name += "-" + label
	}
	return name
}

func (a *app) unwantCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "unwant NAME...",
		Short: "Stop wanting names",
		Long: `Removes the names from every target; a target left empty goes. Certificates and
live links stay, so that nothing that is served breaks; certd cull removes what has expired.`,
		Example: `  certd unwant old.example.com`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := parseNames(args)
			if err != nil {
				return err
			}
			return a.unwant(cmd.Context(), names)
		},
	}
}

func (a *app) unwant(ctx context.Context, names []string) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	lock, err := daemon.Lock(ctx, store, a.lockWait(), a.log)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	targets, err := config.LoadTargets(store.Dir())
	if err != nil {
		return &daemon.ConfigError{Err: err}
	}
	found := make(map[string]bool)
	for _, t := range targets.Targets {
		if err := removeFrom(store, t, names, found); err != nil {
			return err
		}
	}
	var unknown []string
	for _, n := range names {
		if !found[n] {
			unknown = append(unknown, n)
		}
	}
	if len(unknown) > 0 {
		return fmt.Errorf("not wanted by any target: %s; certd plan lists the targets", strings.Join(unknown, ", "))
	}
	return nil
}

// removeFrom takes names out of one target file and marks them in found.
func removeFrom(store *state.Store, t *config.Target, names []string, found map[string]bool) error {
	touched := false
	for _, n := range names {
		if slices.Contains(t.RequestNames, n) {
			found[n], touched = true, true
		}
	}
	if !touched {
		return nil
	}
	data, err := store.ReadDesired(t.File)
	if err != nil {
		return fmt.Errorf("read target %s: %w", t.File, err)
	}
	data, left, err := config.RemoveNames(t.File, data, names)
	if err != nil {
		return fmt.Errorf("edit target %s: %w", t.File, err)
	}
	if left == 0 {
		return store.RemoveDesired(t.File)
	}
	return store.WriteDesired(t.File, data)
}
