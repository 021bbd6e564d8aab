package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"certd/acme"
	"certd/config"
	"certd/daemon"
	"certd/state"
)

func (a *app) accountCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "account",
		Short: "Show and change the accounts at CAs",
		Long: `An account and its key is what a CA knows this machine by. It is made by certd
quickstart, or when a CA is needed for the first time. See docs/accounts.md.`,
		Example: `  certd account show
  certd account update --email ops@example.com
  certd account rollover --ca letsencrypt`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usage("account: say show, update, rollover, deactivate, thumbprint or url; see certd account --help")
		},
	}
	c.AddCommand(a.accountShowCommand(), a.accountLineCommand("thumbprint", "Print the thumbprint of each account key, for stateless challenges",
		func(row accountRow) string { return row.Thumbprint + "\t" + row.ID }))
	c.AddCommand(a.accountLineCommand("url", "Print the URL of each account, as for CAA records (RFC 8657)", func(row accountRow) string {
		if row.URL == nil {
			return ""
		}
		return *row.URL
	}))
	c.AddCommand(a.accountUpdateCommand(), a.accountRolloverCommand(), a.accountDeactivateCommand())
	return c
}

// accountRow is one account on disk.
type accountRow struct {
	CA         string   `json:"ca"`
	ID         string   `json:"id"`
	URL        *string  `json:"url"`
	Directory  string   `json:"directory"`
	Thumbprint string   `json:"thumbprint"`
	KeyType    string   `json:"key_type"`
	Contacts   []string `json:"contacts"`
	EABKeyID   *string  `json:"eab_kid"`
	KeyChange  bool     `json:"key_change_pending"`
}

func caFlag(c *cobra.Command, ca *string) {
	c.Flags().StringVar(ca, "ca", "", "the account at this CA: its `NAME` in conf/certd.yaml, or directory URL")
}

// accountRows reads the accounts, all of them or that at one CA. It needs no lock.
func (a *app) accountRows(ca string) ([]accountRow, error) {
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	settings, err := config.LoadSettings(store.Dir())
	if err != nil {
		return nil, &daemon.ConfigError{Err: err}
	}
	accounts, broken, err := store.Accounts()
	if err != nil {
		return nil, err
	}
	for _, b := range broken {
		a.log.Error("broken", "path", b.Path, "err", b.Err.Error())
	}
	var only config.CA
	if ca != "" {
		if only, err = settings.CA(ca); err != nil {
			return nil, usage("--ca: %w", err)
		}
	}
	rows := []accountRow{}
	for _, account := range accounts {
		if ca != "" && state.CanonicalDirectory(account.Directory) != state.CanonicalDirectory(only.Directory) {
			continue
		}
		row, err := newAccountRow(settings, account)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b accountRow) int { return cmp.Or(cmp.Compare(a.CA, b.CA), cmp.Compare(a.ID, b.ID)) })
	if len(broken) > 0 {
		return rows, &exitError{code: exitFailed} // each is in the log
	}
	return rows, nil
}

func newAccountRow(settings *config.Settings, account state.Account) (accountRow, error) {
	name := account.Directory
	if ca, err := settings.CA(account.Directory); err == nil {
		name = ca.Name
	}
	thumbprint, err := acme.Thumbprint(account.Key.Public())
	if err != nil {
		return accountRow{}, fmt.Errorf("account %s: %w", account.ID, err)
	}
	return accountRow{CA: name, ID: account.ID, URL: textOrNull(account.URL), Directory: account.Directory, Thumbprint: thumbprint,
		KeyType: state.KeyType(account.Key.Public()), Contacts: append([]string{}, account.Contacts...), EABKeyID: textOrNull(account.EABKeyID),
		KeyChange: account.Next != nil}, nil
}

func (a *app) accountShowCommand() *cobra.Command {
	var ca, format string
	c := &cobra.Command{
		Use:     "show",
		Short:   "Show the accounts on disk; asks no CA",
		Example: `  certd account show -o json`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := checkOutput(format); err != nil {
				return err
			}
			rows, err := a.accountRows(ca)
			if rows == nil {
				return err
			}
			if format == "json" {
				return errors.Join(a.printJSON(rows), err)
			}
			a.printAccounts(rows)
			return err
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	caFlag(c, &ca)
	outputFlag(c, &format)
	return c
}

func (a *app) printAccounts(rows []accountRow) {
	if len(rows) == 0 {
		fmt.Fprintln(a.out, "no account; certd quickstart makes one, and so does the first certificate")
	}
	for _, row := range rows {
		fmt.Fprintf(a.out, "%s\n", row.CA)
		line := func(what, text string) {
			if text != "" {
				fmt.Fprintf(a.out, "  %-11s %s\n", what, text)
			}
		}
		url := "not known yet: the CA is asked when it is needed"
		if row.URL != nil {
			url = *row.URL
		}
		line("url", url)
		line("directory", row.Directory)
		line("contacts", cmp.Or(strings.Join(row.Contacts, ", "), "none"))
		line("key", row.KeyType)
		line("thumbprint", row.Thumbprint)
		if row.EABKeyID != nil {
			line("eab kid", *row.EABKeyID)
		}
		line("on disk", "accounts/"+row.ID)
		if row.KeyChange {
			line("key change", "begun, and not confirmed; certd account rollover goes on with it")
		}
	}
}

// accountLineCommand prints one line for each account.
func (a *app) accountLineCommand(name, short string, text func(accountRow) string) *cobra.Command {
	var ca string
	c := &cobra.Command{
		Use:     name,
		Short:   short,
		Example: "  certd account " + name,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			rows, err := a.accountRows(ca)
			if err == nil && len(rows) == 0 {
				return errors.New("there is no account; certd quickstart makes one, and so does the first certificate")
			}
			for _, row := range rows {
				line := text(row)
				if line == "" {
					err = fmt.Errorf("the %s of account %s is not known yet: certd account update asks the CA", name, row.ID)
					continue
				}
				fmt.Fprintln(a.out, line)
			}
			return err
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	caFlag(c, &ca)
	return c
}

// withAccount runs f with the account at a CA, under the lock. Without a name it
// is that of the only account there is.
func (a *app) withAccount(ctx context.Context, name string, f func(view *daemon.View, account *daemon.CAAccount, ca config.CA) error) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	if missing(store) {
		return fmt.Errorf("state directory %s does not exist: there is no account; is --state right?", store.Dir())
	}
	lock, err := daemon.Lock(ctx, store, a.editWait(), a.log)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	view, err := daemon.Look(store)
	if err != nil {
		return err
	}
	if name == "" {
		if name, err = a.onlyCA(store, view.Settings); err != nil {
			return err
		}
	}
	ca, err := view.Settings.CA(name)
	if err != nil {
		return usage("--ca: %w", err)
	}
	account, err := daemon.OpenAccount(ctx, daemon.Options{Store: store, Log: a.log, UserAgent: "certd/" + version}, ca)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; certd account show lists the accounts there are", err)
	}
	if err != nil {
		return err
	}
	defer account.Close()
	return f(view, account, ca)
}

// onlyCA is the directory of the only CA with an account.
func (a *app) onlyCA(store *state.Store, settings *config.Settings) (string, error) {
	accounts, _, err := store.Accounts()
	if err != nil {
		return "", err
	}
	var names []string
	directory := ""
	for _, account := range accounts {
		name := account.Directory
		if ca, err := settings.CA(account.Directory); err == nil {
			name = ca.Name
		}
		if !slices.Contains(names, name) {
			names, directory = append(names, name), account.Directory
		}
	}
	switch len(names) {
	case 0:
		return "", errors.New("there is no account; certd quickstart makes one, and so does the first certificate")
	case 1:
		return directory, nil
	}
	slices.Sort(names)
	return "", usage("there are accounts at several CAs: say --ca, one of %s", strings.Join(names, ", "))
}

// confirm asks somebody at a terminal; elsewhere, and with --batch, the command
// itself is the word. The error says that the answer was no.
func (a *app) confirm(ctx context.Context, help, question string) error {
	f, ok := a.in.(*os.File)
	if a.batch || !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answer, err := newAsker(a.streams, ctx.Done()).ask(ctx, prompt{text: question, help: help, initial: "no", yesNo: true})
	if err != nil {
		return err
	}
	if answer != "yes" && answer != "y" {
		return errors.New("nothing was done")
	}
	return nil
}
