package main

import (
	"cmp"
	"context"
	"errors"
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
reconciles it. Nothing is written if a target already covers all the names.

If another certd is at work for more than 10 seconds, the target is recorded all the
same. Beside certd run that is enough: it takes the target up, and the exit code is 0.
Otherwise the code is 75, and the next reconcile takes it up.`,
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
				err := a.reconcileAndReport(cmd.Context(), pass{targets: []string{file}, format: format, wait: a.editWait()})
				if locked, ok := errors.AsType[*state.LockedError](err); ok {
					return a.later(file, format, locked)
				}
				return err
			}
			if err := a.later(file, format, nil); err != nil {
				return err
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
	c.Flags().StringVar(&opts.Challenge, "challenge", "", "challenge `METHOD`: webroot, proxy, redirector, listen, stateless, dns, hook")
	c.Flags().BoolVar(&noReconcile, "no-reconcile", false, "only record, leave the rest to the next reconcile")
	completeValues(c, "challenge", "webroot", "proxy", "redirector", "listen", "stateless", "dns", "hook")
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
	lock, err := store.LockEdit(ctx, a.editWait())
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

// later says who takes up a target that this process does not reconcile: the
// daemon, if there is one, since it watches desired/. Without one it is an error
// that another certd is at work, as locked says; nil means that nobody tried.
func (a *app) later(file, format string, locked *state.LockedError) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	pid, watched := store.Daemon()
	if !watched && locked != nil {
		return fmt.Errorf("desired/%s is recorded and left to the next reconcile: %w", file, locked)
	}
	if format == "json" {
		if watched {
			a.log.Info("left to certd run", "target", file, "process", pid)
		}
		return a.printJSON([]resultRow{})
	}
	if watched {
		fmt.Fprintf(a.out, "certd run%s takes desired/%s up; certd status shows how it stands\n", process(pid), file)
	}
	return nil
}

// process names a process in brackets, if its number is known.
func process(pid int) string {
	if pid == 0 {
		return ""
	}
	return fmt.Sprintf(" (process %d)", pid)
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
