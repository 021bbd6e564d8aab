package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"certd/hooks"
	"certd/packaging"
)

// shipped returns the files that come beside the program when it is installed
// below prefix, such as /usr: man pages, completions, units, and below /usr the
// bundled hooks. certd itself does not write them: ship_main.go is a program of
// its own that build/install.sh runs.
func shipped(prefix string) ([]packaging.File, error) {
	root := (&app{}).command()
	files, err := shippedUnits(prefix)
	if err != nil {
		return nil, err
	}
	for name, page := range manPages(root) {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return nil, err
		}
		_, err = z.Write(page)
		if err := errors.Join(err, z.Close()); err != nil {
			return nil, fmt.Errorf("compress %s: %w", name, err)
		}
		files = append(files, packaging.File{Path: path.Join(prefix, "share/man/man8", name+".gz"), Data: b.Bytes(), Mode: 0o644})
	}
	completions, err := shippedCompletions(root, prefix)
	if err != nil {
		return nil, err
	}
	files = append(files, completions...)
	if prefix == "/usr" { // certd looks for hooks there and not below other prefixes
		for _, s := range hooks.Bundled() {
			files = append(files, packaging.File{Path: path.Join("/usr/lib/acme/hooks", s.Name), Data: s.Data, Mode: 0o755})
		}
	}
	slices.SortFunc(files, func(a, b packaging.File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// shippedUnits are the units of all kinds. Which of them start is quickstart's
// to say.
func shippedUnits(prefix string) ([]packaging.File, error) {
	byPath := make(map[string]packaging.File)
	for _, kind := range []packaging.Kind{packaging.Timer, packaging.Daemon} { // the daemon's tmpfiles.d, which works for both
		files, err := packaging.Plan(packaging.Options{Kind: kind, Redirector: true, Binary: path.Join(prefix, "bin/certd"),
			StateDir: "/var/lib/acme", UnitDir: "/usr/lib/systemd/system"})
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			f.Path = path.Join(prefix, strings.TrimPrefix(f.Path, "/usr"))
			byPath[f.Path] = f
		}
	}
	files := make([]packaging.File, 0, len(byPath))
	for _, f := range byPath {
		files = append(files, f)
	}
	return files, nil
}

func shippedCompletions(root *cobra.Command, prefix string) ([]packaging.File, error) {
	var bash, zsh, fish bytes.Buffer
	if err := errors.Join(root.GenBashCompletionV2(&bash, true), root.GenZshCompletion(&zsh), root.GenFishCompletion(&fish, true)); err != nil {
		return nil, fmt.Errorf("make completions: %w", err)
	}
	return []packaging.File{
		{Path: path.Join(prefix, "share/bash-completion/completions/certd"), Data: bash.Bytes(), Mode: 0o644},
		{Path: path.Join(prefix, "share/zsh/site-functions/_certd"), Data: zsh.Bytes(), Mode: 0o644},
		{Path: path.Join(prefix, "share/fish/vendor_completions.d/certd.fish"), Data: fish.Bytes(), Mode: 0o644},
	}, nil
}
