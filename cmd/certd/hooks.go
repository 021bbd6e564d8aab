package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"certd/config"
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
			found, listErr := a.runner(store).List()
			rows := make([]hookRow, 0, len(found))
			for _, h := range found {
				rows = append(rows, hookRow{h.Path, h.Managed, textOrNull(h.Refused)})
			}
			if format == "json" {
				if err := a.printJSON(rows); err != nil {
					return err
				}
				return listErr
			}
			for _, h := range found {
				line := h.Path
				if h.Managed {
					line += "  (comes with certd)"
				}
				if h.Refused != "" {
					line += "  refused: " + h.Refused
				}
				fmt.Fprintln(a.out, line)
			}
			if len(found) == 0 {
				fmt.Fprintf(a.out, "no hooks in %s; certd hooks install adds the bundled ones\n", strings.Join(a.hookDirs, ", "))
			}
			return listErr
		},
	}
	outputFlag(c, &format)
	return c
}

func (a *app) hooksTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "test [NAME...]",
		Short: "Run the live-updated hooks as if these names had changed",
		Long: `Runs every hook with the event live-updated as if these live names had changed, all of
them without a NAME, and shows what they answer. Exit 1 if one fails.`,
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
			failed := false
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
			if err == nil && failed {
				return &exitError{code: exitFailed}
			}
			return err
		},
	}
}

// liveNames returns the live names asked for, or all of them.
func liveNames(s *state.Snapshot, args []string) ([]string, error) {
	var names []string
	if len(args) == 0 {
		for name := range s.Live {
			names = append(names, name)
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("live/ is empty: give the names to test the hooks with")
		}
		return names, nil
	}
	for _, arg := range args {
		name, err := config.ParseName(arg)
		if err != nil {
			return nil, usage("%w", err)
		}
		names = append(names, name)
	}
	return names, nil
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
