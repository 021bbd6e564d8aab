package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"certd/daemon"
	"certd/hooks"
	"certd/state"
)

// Exit codes, as README.md lists them.
const (
	exitOK         = 0
	exitFailed     = 1  // something failed; the rest was still done
	exitChanged    = 2  // reconcile --detailed-exit-code: something changed
	exitUsage      = 64 // the command line is wrong
	exitLocked     = 75 // another certd holds the lock
	exitPermission = 77
	exitConfig     = 78
)

type streams struct {
	in       io.Reader
	out, err io.Writer
}

// An app is one run of the command: the global flags and where it reads and writes.
type app struct {
	streams
	stateDir     string
	hookDirs     []string
	batch        bool
	responseFile string
	logLevel     string
	logFormat    string
	screen       *screen
	log          *slog.Logger
}

// An exitError carries an exit code; its text may be empty where the command has
// already said what is wrong.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

// Unwrap returns what went wrong, or nil.
func (e *exitError) Unwrap() error { return e.err }

// run is certd without the process around it.
func run(ctx context.Context, args []string, s streams) int {
	a := &app{streams: s}
	root := a.command()
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	if c.CommandPath() == "certd check" {
		return a.checkExit(c, err) // Nagios has codes of its own
	}
	if err == nil {
		return exitOK
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(s.err, "certd: %s\n", text)
	}
	return exitCode(err)
}

// exitCode maps errors to the exit codes of the contract, in this one place.
func exitCode(err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[*state.LockedError](err); ok {
		return exitLocked
	}
	if _, ok := errors.AsType[*daemon.ConfigError](err); ok {
		return exitConfig
	}
	if _, ok := errors.AsType[*state.UnsafeError](err); ok {
		return exitConfig
	}
	if _, ok := errors.AsType[*daemon.UnknownTargetError](err); ok {
		return exitUsage
	}
	if errors.Is(err, fs.ErrPermission) {
		return exitPermission
	}
	return exitFailed
}

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "certd",
		Short: "Keeps TLS certificates fresh",
		Long: `certd keeps TLS certificates fresh. Say once which names you want; it obtains the
certificates from an ACME CA, renews them in time, publishes them under
live/<name>/ of the state directory and tells your servers to reload.`,
		Example: `  certd want www.example.com          obtain a certificate and keep it fresh
  certd status                        what there is, and what happens next
  certd reconcile                     renew what is due; let a timer do this`,
		Args:              cobra.ArbitraryArgs,
		RunE:              runRoot,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.setUp() },
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage("%w; see %s --help", err, c.CommandPath()) })
	flags := root.PersistentFlags()
	flags.StringVar(&a.stateDir, "state", defaultStateDir(), "state directory; also `DIR` from CERTD_STATE_DIR, ACME_STATE_DIR")
	flags.StringArrayVar(&a.hookDirs, "hooks", nil, "hook directory `DIR`, repeatable; also from ACME_HOOKS_DIR")
	flags.BoolVar(&a.batch, "batch", false, "never prompt")
	flags.StringVar(&a.responseFile, "response-file", "", "answers to questions, a YAML `FILE`; default conf/responses of the state directory")
	flags.StringVar(&a.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&a.logFormat, "log-format", "text", "text or json; logs go to standard error")
	root.AddCommand(a.quickstartCommand(), a.wantCommand(), a.unwantCommand(), a.reconcileCommand(), a.planCommand(), a.statusCommand(),
		a.cullCommand(), a.hooksCommand(), a.runCommand(), a.versionCommand())
	root.AddCommand(a.redirectorCommand(), a.checkCommand())
	root.AddCommand(a.metricsCommand())
	for _, c := range root.Commands() {
		wrapArgs(c)
	}
	return root
}

// runRoot is certd without a command it knows.
func runRoot(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	text := fmt.Sprintf("unknown command %q; see certd --help", args[0])
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		text = fmt.Sprintf("unknown command %q, did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return usage("%s", text)
}

// wrapArgs makes a wrong number of arguments a usage error, here and below.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usage("%w; see %s --help", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

func defaultStateDir() string {
	for _, name := range []string{"CERTD_STATE_DIR", "ACME_STATE_DIR"} {
		if dir := os.Getenv(name); dir != "" {
			return dir
		}
	}
	return "/var/lib/acme"
}

func (a *app) setUp() error {
	var level slog.Level
	switch a.logLevel {
	case "debug", "info", "warn", "error":
		_ = level.UnmarshalText([]byte(a.logLevel)) // cannot fail for these four
	default:
		return usage("--log-level %q: use debug, info, warn or error", a.logLevel)
	}
	a.screen = newScreen(a.err)
	options := &slog.HandlerOptions{Level: level}
	switch a.logFormat {
	case "text":
		a.log = slog.New(slog.NewTextHandler(a.screen, options))
	case "json":
		a.log = slog.New(slog.NewJSONHandler(a.screen, options))
	default:
		return usage("--log-format %q: use text or json", a.logFormat)
	}
	if len(a.hookDirs) == 0 {
		a.hookDirs = hooks.DefaultDirs(os.Getenv("ACME_HOOKS_DIR"))
	}
	return nil
}

func (a *app) store() (*state.Store, error) { return state.Open(a.stateDir) }

func (a *app) runner(store *state.Store) *hooks.Runner {
	return &hooks.Runner{Dirs: a.hookDirs, StateDir: store.Dir()}
}

// lockWait is how long a person at a terminal waits for another certd; a timer
// does not wait at all, its next run is near.
func (a *app) lockWait() time.Duration {
	if a.batch || !isTerminal(a.err) {
		return 0
	}
	return 30 * time.Second
}

// outputFlag adds -o to a command that prints data.
func outputFlag(c *cobra.Command, format *string) {
	c.Flags().StringVarP(format, "output", "o", "text", "text or json")
}

func checkOutput(format string) error {
	if format != "text" && format != "json" {
		return usage("--output %q: use text or json", format)
	}
	return nil
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
