package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/spf13/cobra"

	"certd/daemon"
	"certd/hooks"
	"certd/state"
)

func (a *app) runCommand() *cobra.Command {
	var hooksSocket string
	c := &cobra.Command{
		Use:   "run",
		Short: "Run as a daemon: renew what is due when it is due",
		Long: `Reconciles at once, by the schedule in conf/certd.yaml, when something comes due, and
when desired/ changes; serves /healthz and /metrics at listen, and challenges at
responder if that is set. Runs in the foreground and logs to standard error.

SIGHUP reloads conf/certd.yaml; a file with a mistake leaves the old settings in force.
SIGTERM ends it within 10 seconds with orders left resumable, a second one at once.
Under systemd it uses Type=notify, WatchdogSec= and sockets named http, proxy, status.`,
		Example: `  certd run
  certd --log-format json run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := a.store()
			if err != nil {
				return err
			}
			options, err := a.runOptions(store)
			if err != nil {
				return err
			}
			if hooksSocket != "" {
				options.Hooks = &hooks.Remote{Socket: hooksSocket, Dirs: a.hookDirs}
			}
			hup := make(chan os.Signal, 1)
			signal.Notify(hup, syscall.SIGHUP)
			defer signal.Stop(hup)
			options.Reload = hup
			if options.Sockets, err = activation.ListenersWithNames(); err != nil {
				return fmt.Errorf("sockets of the service manager: %w", err)
			}
			return daemon.Run(cmd.Context(), options)
		},
	}
	c.Flags().StringVar(&hooksSocket, "hooks-socket", "", "have hooks run by certd hooks serve behind this unix socket `FILE`, as root")
	return c
}

func (a *app) runOptions(store *state.Store) (daemon.RunOptions, error) {
	answers, err := a.answers(store)
	if err != nil {
		return daemon.RunOptions{}, err
	}
	return daemon.RunOptions{
		Options: daemon.Options{
			Store:     store,
			Hooks:     a.runner(store),
			Answers:   answers,
			Log:       a.log,
			UserAgent: "certd/" + version,
			Metrics:   newMetrics(),
		},
		Reread: func() (daemon.Answers, error) { return a.answers(store) },
	}, nil
}
