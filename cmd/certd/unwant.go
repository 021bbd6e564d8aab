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
		ValidArgsFunction: a.completeNames(plainNames),
	}
}

func (a *app) unwant(ctx context.Context, names []string) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	if missing(store) {
		return fmt.Errorf("state directory %s does not exist: nothing is wanted there; is --state right?", store.Dir())
	}
	lock, err := store.LockEdit(ctx, a.editWait())
	if err != nil {
		return err
	}
	defer lock.Unlock()
	view, err := daemon.Look(store)
	if err != nil {
		return err
	}
	found := make(map[string]bool)
	for _, t := range view.Targets.Targets {
		if err := a.removeFrom(store, t, names, found); err != nil {
			return err
		}
	}
	broken := a.broken(view)
	var unknown []string
	for _, n := range names {
		if !found[n] {
			unknown = append(unknown, n)
		}
	}
	if len(unknown) > 0 {
		return fmt.Errorf("not wanted by any target: %s; certd plan lists the targets", strings.Join(unknown, ", "))
	}
	return broken
}

// removeFrom takes names out of one target file, says so, and marks them in found.
func (a *app) removeFrom(store *state.Store, t *config.Target, names []string, found map[string]bool) error {
	var removed []string
	for _, n := range names {
		if slices.Contains(t.RequestNames, n) {
			removed = append(removed, n)
			found[n] = true
		}
	}
	if len(removed) == 0 {
		return nil
	}
	left := 0
	err := store.EditDesired(t.File, func(old []byte) (data []byte, err error) {
		data, left, err = config.RemoveNames(t.File, old, names)
		if left == 0 {
			data = nil
		}
		return data, err
	})
	if err != nil {
		return err
	}
	if left == 0 {
		fmt.Fprintf(a.out, "removed %s from desired/%s; it had no other names and is gone\n", strings.Join(removed, " "), t.File)
		return nil
	}
	fmt.Fprintf(a.out, "removed %s from desired/%s\n", strings.Join(removed, " "), t.File)
	return nil
}
