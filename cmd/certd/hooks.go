package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"certd/hooks"
	"certd/state"
)

func (a *app) hooksCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "hooks",
		Short: "List, try and install the executables that run after a change",
		Long: `Hooks are executables in the hook directories. They are called with the event as
first argument; exit 42 means that the event is not theirs. See docs/hooks.md.`,
		Example: `  certd hooks list
  certd hooks test www.example.com
  certd hooks install`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usage("hooks: say list, test, install or serve; see certd hooks --help")
		},
	}
	c.AddCommand(a.hooksListCommand(), a.hooksTestCommand(), a.hooksInstallCommand(), a.hooksServeCommand())
	return c
}

type hookRow struct {
	Path    string  `json:"path"`
	Managed bool    `json:"managed"`
	Refused *string `json:"refused"`
}

func (a *app) hooksListCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the hooks in the order they run, and why one is refused",
		Example: `  certd hooks list -o json`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := checkOutput(format); err != nil {
				return err
			}
			store, err := a.store()
			if err != nil {
				return err
			}
			found, err := a.runner(store).List()
			if format == "json" {
				if jsonErr := a.printJSON(hookRows(found)); jsonErr != nil {
					return jsonErr
				}
			} else {
				a.printHooks(found, err)
			}
			if err == nil && slices.ContainsFunc(found, func(h hooks.Hook) bool { return h.Refused != "" }) {
				return &exitError{code: exitFailed} // printed with the reason
			}
			return err
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	outputFlag(c, &format)
	return c
}

func hookRows(found []hooks.Hook) []hookRow {
	rows := make([]hookRow, 0, len(found))
	for _, h := range found {
		rows = append(rows, hookRow{h.Path, h.Managed, textOrNull(h.Refused)})
	}
	return rows
}

// printHooks lists hooks; err is why a directory could not be used.
func (a *app) printHooks(found []hooks.Hook, err error) {
	for _, h := range found {
		line := h.Path
		if h.Managed {
			line += "  (comes with certd)"
		}
		fmt.Fprintln(a.out, line)
		if h.Refused != "" {
			a.paragraph("    refused: %s", h.Refused)
		}
	}
	if len(found) == 0 && err == nil {
		a.noHooks()
	}
}

func (a *app) noHooks() {
	fmt.Fprintf(a.out, "no hooks in %s; certd hooks install adds the bundled ones\n", strings.Join(a.hookDirs, ", "))
}

func (a *app) hooksTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "test [NAME...]",
		Short: "Run the live-updated hooks as if these names had changed",
		Long: `Runs every hook with the event live-updated as if these live names had changed, all of
them without a NAME, and shows what they answer. A NAME may be NAME:LABEL. Exit 1 if
one fails.`,
		Example: `  certd hooks test www.example.com`,
		RunE: func(cmd *cobra.Command, args []string) error {
			view, err := a.look()
			if err != nil {
				return err
			}
			names, err := liveNames(view.Snapshot, args)
			if err != nil {
				return err
			}
			store, err := a.store()
			if err != nil {
				return err
			}
			results, err := a.runner(store).Run(cmd.Context(),
				hooks.Event{Name: "live-updated", Stdin: []byte(strings.Join(names, "\n") + "\n")}, nil)
			failed := a.printResults(results)
			if err == nil && len(results) == 0 {
				a.noHooks()
			}
			if err == nil && failed {
				return &exitError{code: exitFailed}
			}
			return err
		},
		ValidArgsFunction: a.completeNames(liveTargetNames),
	}
}

// printResults shows what hooks answered, and reports whether one failed.
func (a *app) printResults(results []hooks.Result) (failed bool) {
	for _, r := range results {
		fmt.Fprintf(a.out, "%s: %s\n", r.Hook, r.Outcome)
		if r.Output != "" {
			fmt.Fprintf(a.out, "  %s\n", strings.ReplaceAll(strings.TrimSpace(r.Output), "\n", "\n  "))
		}
		if r.Err != nil {
			failed = true
			fmt.Fprintf(a.out, "  %v\n", r.Err)
		}
	}
	return failed
}

// liveNames returns the live names asked for, or all of them; sorted, each once.
func liveNames(s *state.Snapshot, args []string) ([]string, error) {
	if len(args) == 0 {
		if len(s.Live) == 0 {
			return nil, fmt.Errorf("live/ is empty: give the names to test the hooks with")
		}
		return slices.Sorted(maps.Keys(s.Live)), nil
	}
	var names []string
	for _, arg := range args {
		name, label, err := parseLive(arg)
		if err != nil {
			return nil, err
		}
		names = append(names, live(name, label))
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (a *app) hooksInstallCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "install",
		Short: "Install the bundled hooks reload and haproxy",
		Long: `Writes the bundled hooks into the first hook directory and brings those that carry the
managed marker up to date. A file without the marker is yours and is kept; an empty file
stays empty, which is how a bundled hook is turned off.`,
		Example: `  certd hooks install
  certd --hooks /srv/certd/hooks hooks install`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			installed, err := hooks.Install(a.hookDirs[0], state.ReplaceFile)
			for _, i := range installed {
				fmt.Fprintf(a.out, "%s: %s\n", i.Path, i.Action)
			}
			return err
		},
	}
}
