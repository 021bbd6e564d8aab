package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"certd/daemon"
	"certd/state"
)

func (a *app) cullCommand() *cobra.Command {
	var dryRun bool
	var format string
	c := &cobra.Command{
		Use:   "cull",
		Short: "Delete expired and revoked certificates that nothing uses",
		Long: `Deletes certificate directories that have expired or were revoked, and the notes on
targets that are gone. Never deletes what live/ points to, nor any key.`,
		Example: `  certd cull --dry-run
  certd cull`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(format); err != nil {
				return err
			}
			store, err := a.store()
			if err != nil {
				return err
			}
			if missing(store) {
				return a.cullNothing(store, format)
			}
			if !dryRun {
				lock, err := daemon.Lock(cmd.Context(), store, a.lockWait(), a.log)
				if err != nil {
					return err
				}
				defer lock.Unlock()
			}
			view, err := daemon.Look(store)
			if err != nil {
				return err
			}
			removed, err := store.Cull(time.Now(), view.Files(), dryRun)
			if format == "json" {
				if jsonErr := a.printJSON(append([]string{}, removed...)); jsonErr != nil {
					return jsonErr
				}
			} else {
				a.printCull(removed, dryRun)
			}
			broken := a.broken(view)
			if err != nil {
				return err
			}
			return broken
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only list what would be deleted")
	outputFlag(c, &format)
	return c
}

// cullNothing is cull where there is no state directory, which it must not make.
func (a *app) cullNothing(store *state.Store, format string) error {
	if format == "json" {
		fmt.Fprintf(a.err, "certd: state directory %s does not exist\n", store.Dir())
		return a.printJSON([]string{})
	}
	fmt.Fprintf(a.out, "state directory %s does not exist: nothing to cull; is --state right?\n", store.Dir())
	return nil
}

func (a *app) printCull(removed []string, dryRun bool) {
	verb := "deleted"
	if dryRun {
		verb = "would delete"
	}
	for _, path := range removed {
		fmt.Fprintf(a.out, "%s %s\n", verb, path)
	}
	if len(removed) == 0 {
		fmt.Fprintln(a.out, "nothing to cull")
	}
}
