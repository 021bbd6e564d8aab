package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"certd/config"
	"certd/simulate"
	"certd/state"
)

// maxLimitsFile is how much of the file of --limits is read, in bytes.
const maxLimitsFile = 1 << 20

// simulateFlags are the flags of simulate that need to be read.
type simulateFlags struct {
	days                       int
	lifetime, limits, ari      string
	fleet, order               string
	failing                    string
	outages, recalls, settings []string
	svg, format                string
}

func (a *app) simulateCommand() *cobra.Command {
	o := simulate.Defaults()
	var f simulateFlags
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Try what would happen in years: load on the CA, limits, outages",
		Long: `Runs certd's own planner, limits and schedule for years against a simulated CA and a
simulated clock, which takes seconds: how many orders there would be in an hour, what would
wait for the CA's limits, and whether a name would ever expire.

A time is a number with a unit: 47d, 160h, 30m. --outage says when the CA cannot be reached,
--recall when it moves the renewal windows of a share of all certificates to the past, as for
a mass revocation, and --clock when this machine's clock is set. All three may be repeated.
--limits takes letsencrypt, none, or a file with the key limits, written as in conf/certd.yaml.

Nothing is read from the state directory, and nothing is asked of any CA. The same flags
give the same result. See docs/simulate.md.`,
		Example: `  certd simulate --names 100000 --lifetime 47d --outage 400d+3d --svg orders.svg
  certd simulate --lifetime 160h --recall 100d:100% --clock 200d+1h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.read(&o); err != nil {
				return err
			}
			result, err := simulate.Run(cmd.Context(), o)
			if err != nil && cmd.Context().Err() == nil {
				return usage("%w", err)
			}
			if err != nil {
				return err
			}
			return a.printSimulation(result, f)
		},
	}
	flags := c.Flags()
	flags.IntVar(&f.days, "days", 1095, "days to simulate")
	flags.IntVar(&o.Names, "names", o.Names, "names in all, up to 1000000")
	flags.IntVar(&o.PerCertificate, "names-per-certificate", o.PerCertificate, "names in one certificate")
	flags.IntVar(&o.PerDomain, "names-per-domain", o.PerDomain, "names below one registered domain")
	flags.StringVar(&f.lifetime, "lifetime", "47d", "`TIME` for which the CA's certificates are valid")
	flags.IntVar(&o.Margin, "margin", 0, "satisfy.margin of the targets, in days")
	flags.StringVar(&f.fleet, "fleet", "empty", "`STATE` to begin with: empty, or spread (certificates of every age)")
	flags.StringVar(&f.limits, "limits", "letsencrypt", "`LIMITS` of the CA: letsencrypt, none, or a file")
	flags.StringVar(&f.ari, "ari", "letsencrypt", "renewal `WINDOWS` the CA suggests: letsencrypt, or none")
	flags.StringArrayVar(&f.outages, "outage", nil, "`START+LENGTH` of an outage of the CA")
	flags.StringArrayVar(&f.recalls, "recall", nil, "`START:SHARE` of a mass revocation, such as 700d:30%")
	flags.StringVar(&f.failing, "failing", "0%", "`SHARE` of orders whose names cannot be validated")
	flags.StringArrayVar(&f.settings, "clock", nil, "`START+CHANGE` or START-CHANGE of this machine's clock")
	flags.IntVar(&o.Parallel, "parallel", o.Parallel, "orders open at once, as in conf/certd.yaml")
	flags.StringVar(&f.order, "order-time", "5s", "`TIME` that one order takes")
	flags.Uint64Var(&o.Seed, "seed", 1, "seed of all that is random")
	flags.StringVar(&f.svg, "svg", "", "also write the chart to `FILE`")
	flags.StringVarP(&f.format, "output", "o", "text", "text, json or svg")
	completeValues(c, "output", "text", "json", "svg")
	completeValues(c, "fleet", "empty", "spread")
	completeValues(c, "limits", "letsencrypt", "none")
	completeValues(c, "ari", "letsencrypt", "none")
	return c
}

// printSimulation prints the result, and writes the chart.
func (a *app) printSimulation(r *simulate.Result, f simulateFlags) error {
	if f.svg != "" {
		var b bytes.Buffer
		if err := r.WriteSVG(&b); err != nil {
			return err
		}
		path, err := filepath.Abs(f.svg)
		if err != nil {
			return fmt.Errorf("--svg %s: %w", f.svg, err)
		}
		if err := state.ReplaceFile(path, b.Bytes(), 0o644); err != nil {
			return fmt.Errorf("--svg: %w", err)
		}
	}
	switch f.format {
	case "json":
		return a.printJSON(r)
	case "svg":
		return r.WriteSVG(a.out)
	}
	return r.WriteText(a.out)
}

// read takes the flags over into options.
func (f *simulateFlags) read(o *simulate.Options) error {
	if f.format != "svg" {
		if err := checkOutput(f.format); err != nil {
			return usage("--output %q: use text, json or svg", f.format)
		}
	}
	if f.days < 1 || f.days > 36_500 {
		return usage("--days %d: want 1 to 36500", f.days)
	}
	o.Length = time.Duration(f.days) * 24 * time.Hour
	errs := []error{f.readLimits(o)}
	for _, flag := range []struct {
		name string
		text string
		to   *time.Duration
	}{{"lifetime", f.lifetime, &o.Lifetime}, {"order-time", f.order, &o.OrderTime}} {
		d, err := config.ParseDays(flag.text)
		errs = append(errs, wrapFlag(flag.name, flag.text, err))
		*flag.to = d
	}
	switch f.fleet {
	case "empty", "spread":
		o.Spread = f.fleet == "spread"
	default:
		errs = append(errs, usage("--fleet %q: use empty or spread", f.fleet))
	}
	switch f.ari {
	case "letsencrypt", "none":
		o.ARI = f.ari != "none"
	default:
		errs = append(errs, usage("--ari %q: use letsencrypt or none", f.ari))
	}
	var err error
	o.Failing, err = parseShare(f.failing)
	errs = append(errs, wrapFlag("failing", f.failing, err))
	errs = append(errs, f.readEvents(o))
	if err := errors.Join(errs...); err != nil {
		return &exitError{exitUsage, err}
	}
	return nil
}

// readEvents reads what happens on the way.
func (f *simulateFlags) readEvents(o *simulate.Options) error {
	var errs []error
	for _, text := range f.outages {
		start, length, _, err := parsePair(text, "+")
		errs = append(errs, wrapFlag("outage", text, err))
		o.Outages = append(o.Outages, simulate.Span{Start: start, Length: length})
	}
	for _, text := range f.settings {
		at, by, sign, err := parsePair(text, "+-")
		errs = append(errs, wrapFlag("clock", text, err))
		if sign == '-' {
			by = -by
		}
		o.Clock = append(o.Clock, simulate.Jump{At: at, By: by})
	}
	for _, text := range f.recalls {
		start, share, ok := strings.Cut(text, ":")
		if !ok {
			share = "100%"
		}
		at, err := config.ParseDays(start)
		errs = append(errs, wrapFlag("recall", text, err))
		part, err := parseShare(share)
		errs = append(errs, wrapFlag("recall", text, err))
		o.Recalls = append(o.Recalls, simulate.Recall{At: at, Share: part})
	}
	return errors.Join(errs...)
}

// readLimits finds out what the CA lets one have.
func (f *simulateFlags) readLimits(o *simulate.Options) error {
	switch f.limits {
	case "letsencrypt":
		return nil
	case "none":
		o.CA.Name, o.CA.Limits = "a CA without limits", []config.Limit{}
		return nil
	}
	file, err := os.Open(f.limits)
	if err != nil {
		return fmt.Errorf("--limits: want letsencrypt, none or a file: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxLimitsFile+1))
	if err != nil {
		return fmt.Errorf("--limits: %w", err)
	}
	limits, err := config.ParseLimits(f.limits, data)
	if err != nil {
		return err
	}
	if limits == nil {
		return fmt.Errorf("--limits: %s has no key limits; docs/configuration.md shows one", f.limits)
	}
	o.CA = config.CA{Name: "a CA with " + plural(len(limits), "limit"), Directory: "https://ca.invalid/directory", Limits: limits}
	return nil
}

// parsePair reads two times with one of the signs between them.
func parsePair(text, signs string) (first, second time.Duration, sign byte, err error) {
	i := strings.IndexAny(text, signs)
	if i < 0 {
		return 0, 0, 0, fmt.Errorf("want two times with %s between them, such as 400d%c3d", strings.Join(strings.Split(signs, ""), " or "), signs[0])
	}
	if first, err = config.ParseDays(text[:i]); err == nil {
		second, err = config.ParseDays(text[i+1:])
	}
	return first, second, text[i], err
}

// parseShare reads a percentage.
func parseShare(text string) (float64, error) {
	digits, ok := strings.CutSuffix(text, "%")
	n, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil || !(n >= 0 && n <= 100) {
		return 0, fmt.Errorf("want a share from 0%% to 100%%, found %q", text)
	}
	return n / 100, nil
}

// wrapFlag names the flag whose value is wrong.
func wrapFlag(name, text string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("--%s %s: %w", name, text, err)
}
