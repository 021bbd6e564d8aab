package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"certd/hooks"
	"certd/state"
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

// run is certd without the process around it.
func run(ctx context.Context, args []string, s streams) int {
	out := &writer{w: s.out}
	s.out = out
	a := &app{streams: s}
	root := a.command()
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	if c.CommandPath() == "certd check" {
		return a.checkExit(c, err) // Nagios has codes of its own
	}
	if err != nil && err.Error() != "" {
		fmt.Fprintf(s.err, "certd: %s\n", err)
	}
	code := exitOK
	if err != nil {
		code = exitCode(err)
	}
	if out.err != nil && (code == exitOK || code == exitChanged) {
		fmt.Fprintf(s.err, "certd: write to standard output: %v\n", out.err)
		return exitFailed
	}
	return code
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
		Args:                       cobra.ArbitraryArgs,
		RunE:                       a.runRoot,
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		PersistentPreRunE:          func(c *cobra.Command, _ []string) error { return a.setUp(c) },
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
	root.AddCommand(a.redirectorCommand(), a.checkCommand(), a.doctorCommand(), a.metricsCommand(), a.snippetCommand())
	root.AddCommand(a.accountCommand(), a.revokeCommand(), a.rollbackCommand(), a.tlsaCommand(), a.simulateCommand())
	root.Flags().Bool("version", false, "show the version")
	helpCommands(root)
	completeFlags(root)
	for _, c := range root.Commands() {
		wrapArgs(c)
	}
	return root
}

// runRoot is certd without a command it knows.
func (a *app) runRoot(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownCommand(c, args[0])
	}
	if c.Flags().Changed("version") {
		a.printVersion(buildInfo())
		return nil
	}
	return c.Help()
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

// standardStateDir is where certificates are unless somebody says otherwise.
const standardStateDir = "/var/lib/acme"

func defaultStateDir() string {
	for _, name := range []string{"CERTD_STATE_DIR", "ACME_STATE_DIR"} {
		if dir := os.Getenv(name); dir != "" {
			return dir
		}
	}
	return standardStateDir
}

// setUp checks the global flags. An empty value is a mistake, such as a variable
// that is not set: it would mean the current directory.
func (a *app) setUp(c *cobra.Command) error {
	if a.stateDir == "" {
		return usage("--state is empty: name the state directory, or leave the flag out")
	}
	if slices.Contains(a.hookDirs, "") {
		return usage("--hooks is empty: name a hook directory, or leave the flag out")
	}
	if a.responseFile == "" && c.Flags().Changed("response-file") {
		return usage("--response-file is empty: name the file, or leave the flag out")
	}
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

// editWait is how long want and quickstart wait for the pass of another certd, also in scripts:
// beside a daemon one may just be running, and is soon over. Other edits take
// turns for no longer than it takes to write a file.
func (a *app) editWait() time.Duration { return max(a.lockWait(), 10*time.Second) }
