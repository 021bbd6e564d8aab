package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"certd/daemon"
)

func (a *app) rollbackCommand() *cobra.Command {
	var to string
	var undo bool
	c := &cobra.Command{
		Use:   "rollback NAME",
		Short: "Go back to the certificate that was live before",
		Long: `Links the newest earlier certificate that is still good, and runs the hooks. All
names of the target go back together. What was live is set aside: no reconcile links
it again, and none renews the earlier one before the one set aside would have been
renewed, unless only a tenth of its lifetime is left. The next renewal ends it; so
does --undo. Certificates that expired, were revoked, or no longer are what is wanted
(names, key type, CA, profile) are never gone back to.`,
		Example: `  certd rollback www.example.com
  certd rollback www.example.com --undo`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if undo && to != "" {
				return usage("rollback: --undo and --to say different things")
			}
			name, label, err := parseLive(args[0])
			if err != nil {
				return err
			}
			return a.rollback(cmd.Context(), live(name, label), to, undo)
		},
		ValidArgsFunction: a.completeNames(liveTargetNames),
	}
	c.Flags().StringVar(&to, "to", "", "to the certificate with this `ID` in certs/")
	c.Flags().BoolVar(&undo, "undo", false, "go back to the newest one; nothing is set aside any more")
	return c
}

func (a *app) rollback(ctx context.Context, liveName, to string, undo bool) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	if missing(store) {
		return fmt.Errorf("state directory %s does not exist; is --state right?", store.Dir())
	}
	r, err := daemon.RollBack(ctx, daemon.Options{Store: store, Log: a.log, LockWait: a.editWait()}, liveName, to, undo)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s goes to certificate %s, issued %s, good until %s\n", liveName, r.To.ID, r.To.NotBefore.Format("2006-01-02"), r.To.NotAfter.Format("2006-01-02"))
	if !r.Until.IsZero() {
		fmt.Fprintf(a.out, "a new one is ordered %s at the latest\n", r.Until.Format("2006-01-02 15:04Z"))
	}
	return a.reconcileAndReport(ctx, pass{targets: []string{r.Target}, format: "text", wait: a.editWait()})
}
