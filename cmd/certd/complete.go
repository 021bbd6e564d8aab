package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"certd/config"
	"certd/state"
)

// completeValues lets a shell complete the values of a flag.
func completeValues(c *cobra.Command, flag string, values ...string) {
	// It fails only for a flag that is not there, which a test would show.
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// completeFlags lets a shell complete the values of the global flags.
func completeFlags(root *cobra.Command) {
	completeValues(root, "log-level", "debug", "info", "warn", "error")
	completeValues(root, "log-format", "text", "json")
	_ = root.MarkPersistentFlagDirname("state")
	_ = root.MarkPersistentFlagDirname("hooks")
}

// completeNames lets a shell complete arguments with what list finds in the state
// directory; without a readable one there is nothing to offer.
func (a *app) completeNames(list func(*state.Store) []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		store, err := a.store()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names := slices.DeleteFunc(list(store), func(n string) bool {
			return !strings.HasPrefix(n, prefix) || slices.Contains(args, n)
		})
		slices.Sort(names)
		return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
	}
}

func targets(store *state.Store) []*config.Target {
	all, err := config.LoadTargets(store.Dir())
	if err != nil {
		return nil
	}
	return all.Targets
}

// plainNames are the names of all targets.
func plainNames(store *state.Store) []string {
	var names []string
	for _, t := range targets(store) {
		names = append(names, t.RequestNames...)
	}
	return names
}

// liveTargetNames are the live names that targets have or would have.
func liveTargetNames(store *state.Store) []string {
	var names []string
	for _, t := range targets(store) {
		for _, n := range t.Names {
			names = append(names, t.LiveName(n))
		}
	}
	return names
}

// targetNames are the files and the live names of all targets.
func targetNames(store *state.Store) []string {
	names := liveTargetNames(store)
	for _, t := range targets(store) {
		names = append(names, t.File)
	}
	return names
}
