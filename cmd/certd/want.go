package main

import (
	"cmp"
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
			file, err := a.want(cmd.Context(), args, opts, format)
			if err != nil {
				return err
			}
			if !noReconcile {
				return a.reconcileAndReport(cmd.Context(), pass{targets: []string{file}, format: format, wait: a.editWait()})
			}
			if format == "json" {
				if err := a.printJSON([]resultRow{}); err != nil {
					return err
				}
			}
			view, err := a.look()
			if err != nil {
				return err
			}
			return a.broken(view)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().StringVar(&opts.Label, "label", "", "publish under live/NAME:`LABEL`, to keep two certificates for the same names")
	c.Flags().StringVar(&opts.KeyType, "key-type", "", "ecdsa, ecdsa-p384, rsa, rsa-3072, ...; default that of conf/target, else ecdsa")
	c.Flags().StringVar(&opts.Profile, "profile", "", "profile of the CA, such as shortlived")
	c.Flags().StringVar(&opts.Challenge, "challenge", "", "challenge `METHOD`: webroot, proxy, redirector, listen, stateless, hook")
	c.Flags().BoolVar(&noReconcile, "no-reconcile", false, "only record, leave the rest to the next reconcile")
	completeValues(c, "challenge", "webroot", "proxy", "redirector", "listen", "stateless", "hook")
	completeValues(c, "key-type", "ecdsa", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa", "rsa-2048", "rsa-3072", "rsa-4096")
	outputFlag(c, &format)
	return c
}

// want records a target and returns its file, or that of the target that
// already covers the names. All that reconcile will need is read before anything
// is written.
func (a *app) want(ctx context.Context, args []string, opts config.NewTarget, format string) (string, error) {
	names, err := parseNames(args)
	if err != nil {
		return "", err
	}
	if err := needsDNS01(names, opts.Challenge); err != nil {
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
	if _, err := a.answers(store); err != nil {
		return "", err
	}
	if _, err := config.LoadSettings(store.Dir()); err != nil {
		return "", &daemon.ConfigError{Err: err}
	}
	if t, err := covered(store, opts); t != nil || err != nil {
		return a.sayCovered(store, t, opts, format), err
	}
	lock, err := daemon.Lock(ctx, store, a.editWait(), a.log)
	if err != nil {
		return "", err
	}
	defer lock.Unlock()
	if t, err := covered(store, opts); t != nil || err != nil {
		return a.sayCovered(store, t, opts, format), err
	}
	file, err := store.AddDesired(fileName(names[0], opts.Label), data)
	if err != nil {
		return "", fmt.Errorf("record %s: %w", names[0], err)
	}
	a.log.Info("recorded", "target", file, "names", strings.Join(names, " "))
	return file, nil
}

// covered looks for a target that has all the names and the label that a new
// target would have; nil without one.
func covered(store *state.Store, opts config.NewTarget) (*config.Target, error) {
	targets, err := config.LoadTargets(store.Dir())
	if err != nil {
		return nil, &daemon.ConfigError{Err: err}
	}
	label := cmp.Or(opts.Label, targets.Default.Label)
	for _, t := range targets.Targets {
		if t.Label == label && !slices.ContainsFunc(opts.Names, func(n string) bool { return !slices.Contains(t.Names, n) }) {
			return t, nil
		}
	}
	return nil, nil
}

// sayCovered says which target covers the names, and which flags that target
// does not follow. It returns the target's file; t may be nil.
func (a *app) sayCovered(store *state.Store, t *config.Target, opts config.NewTarget, format string) string {
	if t == nil {
		return ""
	}
	names := strings.Join(opts.Names, " ")
	unlike := unlike(t, opts)
	if format == "json" {
		a.log.Info("already covered", "target", t.File, "names", names, "not_applied", strings.Join(unlike, " "))
		return t.File
	}
	fmt.Fprintf(a.out, "desired/%s already covers %s; nothing recorded\n", t.File, names)
	if len(unlike) > 0 {
		fmt.Fprintf(a.out, "not applied: %s; to change that target edit %s, or add a second certificate with --label\n",
			strings.Join(unlike, " "), store.Path("desired", t.File))
	}
	return t.File
}

// unlike returns the flags that ask for something else than the target does.
func unlike(t *config.Target, opts config.NewTarget) []string {
	var flags []string
	if key, err := config.ParseKeyType(opts.KeyType); err == nil && opts.KeyType != "" && key != t.Key {
		flags = append(flags, "--key-type "+opts.KeyType)
	}
	if opts.Profile != "" && opts.Profile != t.Profile {
		flags = append(flags, "--profile "+opts.Profile)
	}
	if opts.Challenge != "" && opts.Challenge != t.Challenge.Method {
		flags = append(flags, "--challenge "+opts.Challenge)
	}
	return flags
}

func fileName(name, label string) string {
	name = strings.Replace(name, "*", "wildcard", 1)
	if label != "" {
		name += "-" + label
	}
	return name
}
