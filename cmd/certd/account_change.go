package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"certd/acme"
	"certd/config"
	"certd/daemon"
	"certd/state"
)

func (a *app) accountUpdateCommand() *cobra.Command {
	var ca string
	var emails []string
	var none bool
	c := &cobra.Command{
		Use:   "update",
		Short: "Tell the CA other contact addresses, or none",
		Long: `Replaces the contact addresses that the CA has for the account. Some CAs keep none:
what they keep is printed.`,
		Example: `  certd account update --email ops@example.com --email tls@example.com
  certd account update --no-email`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (len(emails) > 0) == none {
				return usage("account update: say --email ADDRESS, or --no-email")
			}
			var contacts []string
			for _, address := range emails {
				if !isAddress(address) {
					return usage("--email %q: that is no e-mail address", address)
				}
				contacts = append(contacts, "mailto:"+address)
			}
			return a.withAccount(cmd.Context(), ca, func(_ *daemon.View, account *daemon.CAAccount, ca config.CA) error {
				if err := account.Update(cmd.Context(), contacts); err != nil {
					return err
				}
				fmt.Fprintf(a.out, "contacts at %s: %s\n", ca.Name, cmp.Or(strings.Join(account.State.Contacts, ", "), "none"))
				return nil
			})
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().StringArrayVar(&emails, "email", nil, "contact `ADDRESS`, repeatable")
	c.Flags().BoolVar(&none, "no-email", false, "the CA forgets the addresses that it has")
	caFlag(c, &ca)
	return c
}

func (a *app) accountRolloverCommand() *cobra.Command {
	var ca, keyType string
	c := &cobra.Command{
		Use:   "rollover",
		Short: "Give an account a new key",
		Long: `Makes a new account key, has the CA take it in place of the old one, and puts that
away. Both keys are on disk until it is known which one the CA has: a run that was cut
off is finished by the next one, of whatever command needs the account.

The thumbprint changes: where web servers answer challenges by it (method stateless),
their configuration must follow before the next certificate is due.`,
		Example: `  certd account rollover
  certd account rollover --ca letsencrypt --key-type ecdsa-p384`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := config.ParseKeyType(keyType)
			if err != nil {
				return usage("--key-type: %w", err)
			}
			return a.withAccount(cmd.Context(), ca, func(view *daemon.View, account *daemon.CAAccount, ca config.CA) error {
				old := account.State.ID
				if err := account.Rollover(cmd.Context(), key); err != nil {
					return err
				}
				return a.printRollover(view, account.State, old, ca)
			})
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().StringVar(&keyType, "key-type", "", "`TYPE` of the new key: ecdsa, ecdsa-p384, rsa-2048 and so on; default ecdsa-p256")
	caFlag(c, &ca)
	return c
}

func (a *app) printRollover(view *daemon.View, account *state.Account, old string, ca config.CA) error {
	thumbprint, err := acme.Thumbprint(account.Key.Public())
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "the account at %s has a new key\n  thumbprint  %s\n  on disk     accounts/%s\n", ca.Name, thumbprint, account.ID)
	fmt.Fprintf(a.out, "the old key, accounts/%s, is put away; certd cull deletes it\n", old)
	if slices.ContainsFunc(view.Targets.Targets, func(t *config.Target) bool { return t.Challenge.Method == "stateless" }) {
		a.paragraph("targets with the method stateless: put the new thumbprint into the web servers' configuration, see certd snippet")
	}
	return nil
}

func (a *app) accountDeactivateCommand() *cobra.Command {
	var ca string
	c := &cobra.Command{
		Use:   "deactivate",
		Short: "End an account for good",
		Long: `Has the CA end the account, and puts it away. It cannot be used again. Certificates
stay valid, and can still be revoked by their keys. If a target still wants
certificates of this CA, the next reconcile makes another account.`,
		Example: `  certd account deactivate --ca letsencrypt-staging`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withAccount(cmd.Context(), ca, func(_ *daemon.View, account *daemon.CAAccount, ca config.CA) error {
				err := a.confirm(cmd.Context(), fmt.Sprintf("The account %s at %s ends for good; nothing brings it back.", account.State.URL, ca.Name), "Deactivate it?")
				if err == nil {
					err = account.Deactivate(cmd.Context())
				}
				if err != nil {
					return err
				}
				fmt.Fprintf(a.out, "the account at %s is deactivated; accounts/%s is put away, certd cull deletes it\n", ca.Name, account.State.ID)
				return nil
			})
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	caFlag(c, &ca)
	return c
}
