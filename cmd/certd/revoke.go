package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"certd/acme"
	"certd/config"
	"certd/daemon"
	"certd/state"
)

func (a *app) revokeCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "revoke NAME|CERTID",
		Short: "Have the CA revoke a certificate, and replace it at once",
		Long: `Revokes the certificate that is live under NAME (or NAME:LABEL), or the one with this
ID in certs/, by the account or, if it is not the account's, by its own key. Targets
that used it get another one, with another key, in the same run.

REASON is unspecified, keyCompromise, superseded, cessationOfOperation,
affiliationChanged or another one of RFC 5280, or its number; CAs take some of them.
With keyCompromise the CA sees the certificate's key first, and certifies it no more.`,
		Example: `  certd revoke www.example.com --reason keyCompromise
  certd revoke mmc3qkw5c6zsshvqzsu5bvjyn3glo4ovphjb62dmpg7z3sv4ppsq`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			why, err := acme.ParseReason(reason)
			if err != nil {
				return usage("--reason: %w", err)
			}
			return a.revoke(cmd.Context(), args[0], why)
		},
		ValidArgsFunction: a.completeNames(liveTargetNames),
	}
	c.Flags().StringVar(&reason, "reason", "unspecified", "why, a `REASON` of RFC 5280")
	completeValues(c, "reason", acme.Reasons()...)
	return c
}

func (a *app) revoke(ctx context.Context, arg string, reason acme.Reason) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	view, err := daemon.Look(store)
	if err != nil {
		return err
	}
	c, err := certificateOf(view, arg)
	if err != nil {
		return err
	}
	names := strings.Join(c.Names, ", ")
	if len(c.Names) > 5 {
		names = fmt.Sprintf("%s and %d more", strings.Join(c.Names[:5], ", "), len(c.Names)-5)
	}
	help := fmt.Sprintf("The certificate %s of %s, good until %s, is revoked for everybody (%s), and replaced.", c.ID, names, c.NotAfter.Format("2006-01-02"), reason)
	if err := a.confirm(ctx, help, "Revoke it?"); err != nil {
		return err
	}
	targets, err := daemon.Revoke(ctx, daemon.Options{Store: store, Log: a.log, LockWait: a.editWait(), UserAgent: "certd/" + version}, c.ID, reason)
	if err == nil {
		fmt.Fprintf(a.out, "revoked certificate %s of %s (%s)\n", c.ID, names, reason)
	}
	if c.KeyID != "" && reason == acme.ReasonKeyCompromise {
		a.warnOfKey(view, c)
	}
	if len(targets) == 0 {
		if err == nil && slices.Contains(slices.Collect(maps.Values(view.Snapshot.Live)), c.ID) {
			fmt.Fprintln(a.out, "nothing wants it, so it is not replaced; links in live/ still lead to it, see certd cull --unwanted")
		}
		return err
	}
	// Also if the CA could not be asked: it will be, and then nothing should use it.
	return errors.Join(err, a.reconcileAndReport(ctx, pass{targets: targets, format: "text", wait: a.editWait()}))
}

// warnOfKey names other certificates with a key that has leaked.
func (a *app) warnOfKey(view *daemon.View, c *state.Certificate) {
	for id, other := range view.Snapshot.Certificates {
		if id != c.ID && other.KeyID == c.KeyID && !other.Revoked && other.NotAfter.After(view.Now) {
			a.log.Warn("another certificate has the same key: revoke it as well", "certificate", id, "names", other.Names)
		}
	}
}

// certificateOf finds what a command means by NAME, NAME:LABEL or a certificate's ID.
func certificateOf(view *daemon.View, arg string) (*state.Certificate, error) {
	if c := view.Snapshot.Certificates[arg]; c != nil {
		return c, nil
	}
	name, label, err := parseLive(arg)
	if err != nil {
		return nil, usage("%q is neither a name nor the ID of a certificate in certs/", arg)
	}
	c := view.Snapshot.Certificates[view.Snapshot.Live[live(name, label)]]
	if c != nil {
		return c, nil
	}
	for link := range view.Snapshot.Live {
		if n, l := config.SplitLive(link); n == name && label == "" {
			return nil, fmt.Errorf("%s: no certificate is live under this name without a label; say %s", arg, live(n, l))
		}
	}
	return nil, fmt.Errorf("%s: no certificate is live under this name; certd status lists those there are", arg)
}
