package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"certd/daemon"
	"certd/state"
)

func (a *app) cullCommand() *cobra.Command {
	var dryRun, unwanted bool
	var format string
	c := &cobra.Command{
		Use:   "cull",
		Short: "Delete expired and revoked certificates, and old unused keys",
		Long: `Deletes, and says of each why:

  live/       links of names that are not wanted any more, once their
              certificate has expired; with --unwanted at once. A server whose
              configuration still names such a link fails at its next reload.
  certs/      certificates that have expired or were revoked, unless live/ or an
              open order refers to them, or one that was revoked has no
              successor yet
  keys/       keys older than 30 days that no certificate, order or target uses
  accounts/   account keys that were replaced, accounts that were deactivated
  orders/ attempts/ staged/ renewal/   notes on what is gone

Never deletes what a wanted name uses. While a target cannot be read, links and keys
are kept: it may want them.`,
		Example: `  certd cull --dry-run
  certd cull
  certd cull --dry-run --unwanted      also links that are good but not wanted`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(format); err != nil {
				return err
			}
			return a.cull(cmd.Context(), unwanted, dryRun, format)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only list what would be deleted")
	c.Flags().BoolVar(&unwanted, "unwanted", false, "also links of names not wanted any more whose certificate is still good")
	outputFlag(c, &format)
	return c
}

func (a *app) cull(ctx context.Context, unwanted, dryRun bool, format string) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	if missing(store) {
		return a.cullNothing(store, format)
	}
	if !dryRun {
		lock, err := daemon.Lock(ctx, store, a.lockWait(), a.log)
		if err != nil {
			return err
		}
		defer lock.Unlock()
	}
	view, err := daemon.Look(store)
	if err != nil {
		return err
	}
	culling := view.Culling()
	culling.Unwanted, culling.DryRun = unwanted, dryRun
	removed, err := store.Cull(culling)
	if format == "json" {
		if jsonErr := a.printJSON(cullRows(removed)); jsonErr != nil {
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
}

// cullNothing is cull where there is no state directory, which it must not make.
func (a *app) cullNothing(store *state.Store, format string) error {
	if format == "json" {
		fmt.Fprintf(a.err, "certd: state directory %s does not exist\n", store.Dir())
		return a.printJSON([]cullRow{})
	}
	fmt.Fprintf(a.out, "state directory %s does not exist: nothing to cull; is --state right?\n", store.Dir())
	return nil
}

type cullRow struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

func cullRows(removed []state.Culled) []cullRow {
	rows := make([]cullRow, 0, len(removed))
	for _, item := range removed {
		rows = append(rows, cullRow{Path: item.Path, Why: item.Why})
	}
	return rows
}

func (a *app) printCull(removed []state.Culled, dryRun bool) {
	verb := "deleted"
	if dryRun {
		verb = "would delete"
	}
	for _, item := range removed {
		fmt.Fprintf(a.out, "%s %s\n    %s\n", verb, item.Path, item.Why)
	}
	if len(removed) == 0 {
		fmt.Fprintln(a.out, "nothing to cull")
	}
}
