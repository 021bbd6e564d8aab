package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"certd/doctor"
	"certd/hooks"
)

type doctorRow struct {
	Check  string  `json:"check"`
	Name   *string `json:"name"`
	Result string  `json:"result"`
	Detail string  `json:"detail"`
	Remedy *string `json:"remedy"`
}

func (a *app) doctorCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "doctor [NAME...]",
		Short: "Look whether everything is ready, and say what to do",
		Long: `Looks at everything that a certificate needs: state directory, configuration, hooks,
CA, account, clock and port; and for every wanted name, or those given, which need not be
wanted yet: DNS, DNSSEC, CAA records, and whether an answer to a challenge is seen on each
address, or in the DNS. For that it presents a random token, or has the DNS provider or hook
set a random record, as reconcile would, and removes it again.

Each line is ok, warning or failure, and says what to do about it. Nothing is ordered or
registered, and nothing is written to the state directory but the journal of that record.

Exit: 0 if nothing failed, else 1. See docs/doctor.md.`,
		Example: `  certd doctor
  certd doctor -o json www.example.com`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(format); err != nil {
				return err
			}
			var names []string
			for _, arg := range args {
				name, _, err := parseLive(arg)
				if err != nil {
					return err
				}
				names = append(names, name)
			}
			dir, err := filepath.Abs(a.stateDir)
			if err != nil {
				return fmt.Errorf("state directory: %w", err)
			}
			found := doctor.Run(cmd.Context(), doctor.Options{StateDir: dir, Names: names, UserAgent: "certd/" + version,
				Hooks: &hooks.Runner{Dirs: a.hookDirs, StateDir: dir}})
			if err := cmd.Context().Err(); err != nil {
				return fmt.Errorf("doctor: %w", err)
			}
			if format == "json" {
				if err := a.printJSON(doctorRows(found)); err != nil {
					return err
				}
			} else {
				a.printFindings(found)
			}
			if slices.ContainsFunc(found, func(f doctor.Finding) bool { return f.Result == doctor.Failure }) {
				return &exitError{code: exitFailed} // printed with the remedy
			}
			return nil
		},
		ValidArgsFunction: a.completeNames(targetNames),
	}
	outputFlag(c, &format)
	return c
}

func doctorRows(found []doctor.Finding) []doctorRow {
	rows := make([]doctorRow, 0, len(found))
	for _, f := range found {
		rows = append(rows, doctorRow{f.Check, textOrNull(f.Name), string(f.Result), f.Detail, textOrNull(f.Remedy)})
	}
	return rows
}

// printFindings prints a paragraph for each finding, and how many there were of a kind.
func (a *app) printFindings(found []doctor.Finding) {
	count := map[doctor.Result]int{}
	const indent = "         "
	for _, f := range found {
		count[f.Result]++
		what := f.Check
		if f.Name != "" {
			what = f.Name + " " + what
		}
		lines := wrap(fmt.Sprintf("%s%s: %s", indent, what, f.Detail), indent)
		fmt.Fprintf(a.out, "%-9s%s\n", f.Result, strings.Join(lines, "\n")[len(indent):])
		if f.Remedy != "" {
			fmt.Fprintln(a.out, strings.Join(wrap(indent+"-> "+f.Remedy, indent+"   "), "\n"))
		}
	}
	fmt.Fprintf(a.out, "%d ok, %s, %s\n", count[doctor.OK], plural(count[doctor.Warning], "warning"), plural(count[doctor.Failure], "failure"))
}
