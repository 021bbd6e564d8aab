package main

import (
	"bytes"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"certd/daemon"
	"certd/metrics"
)

func (a *app) metricsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "metrics",
		Short: "Print the metrics in Prometheus' text format",
		Long: `Prints what can be told of the configuration and the state directory, and what has
been counted up to the end of the last pass, as metrics.textfile has it. Asks neither
the daemon nor a CA and changes nothing. Counters are kept by the daemon, and by
reconcile if metrics.textfile is set.`,
		Example: `  certd metrics | grep certd_certificate_not_after
  certd metrics | promtool check metrics`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			store, err := a.store()
			if err != nil {
				return err
			}
			m := newMetrics()
			failed := daemon.MeasureState(store, a.runner(store), m)
			var text bytes.Buffer
			err = m.WriteText(&text)
			if err == nil {
				_, err = a.out.Write(text.Bytes())
			}
			return errors.Join(failed, err)
		},
	}
}

// newMetrics counts for this build.
func newMetrics() *metrics.Metrics {
	info := buildInfo()
	o := metrics.Options{Version: info.Version, GoVersion: info.Go}
	if info.Revision != nil {
		o.Revision = *info.Revision
	}
	return metrics.New(o)
}

// trigger says who started a reconcile, for the metrics: a person at a terminal,
// a systemd timer, or cron and its like.
func (a *app) trigger() string {
	switch {
	case isTerminal(a.err) || isTerminal(a.out):
		return "manual"
	case os.Getenv("INVOCATION_ID") != "":
		return "timer"
	}
	return "cron"
}
