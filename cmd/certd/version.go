package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

type versionInfo struct {
	Version  string            `json:"version"`
	Go       string            `json:"go"`
	Revision *string           `json:"revision"`
	Modules  map[string]string `json:"modules"`
}

func (a *app) versionCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:     "version",
		Short:   "Show the version, and with -o json what this build was made of",
		Example: `  certd version -o json`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := checkOutput(format); err != nil {
				return err
			}
			info := buildInfo()
			if format == "json" {
				return a.printJSON(info)
			}
			a.printVersion(info)
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	outputFlag(c, &format)
	return c
}

func (a *app) printVersion(info versionInfo) {
	fmt.Fprintf(a.out, "certd %s (%s)\n", info.Version, info.Go)
}

func buildInfo() versionInfo {
	info := versionInfo{Version: version, Modules: make(map[string]string)}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return info
	}
	info.Go = build.GoVersion
	for _, s := range build.Settings {
		if s.Key == "vcs.revision" {
			info.Revision = textOrNull(s.Value)
		}
	}
	for _, m := range build.Deps {
		info.Modules[m.Path] = m.Version
	}
	return info
}
