package main

import (
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"

	"certd/hooks"
)

// hooksServeCommand is the root's half of a daemon that is not root.
func (a *app) hooksServeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the hooks for one event that arrives on a socket",
		Long: `Reads one event from the socket that is its standard input, runs the hooks for it, and
answers what they said. systemd starts it (certd-hooks.socket), as root, whenever the
daemon, which is not root, has something to tell (certd run --hooks-socket). Only files
that nobody but root may change are run; see docs/service.md.`,
		Example: `  systemctl status certd-hooks.socket`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conn, err := net.FileConn(os.Stdin)
			if err != nil {
				return usage("hooks serve: standard input is not a socket: %w; systemd starts this command (certd-hooks.socket)", err)
			}
			defer conn.Close()
			store, err := a.store()
			if err != nil {
				return err
			}
			if err := hooks.Serve(cmd.Context(), conn, a.runner(store)); err != nil {
				return fmt.Errorf("hooks serve: %w", err)
			}
			return nil
		},
	}
}
