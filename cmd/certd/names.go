package main

import (
	"fmt"
	"slices"
	"strings"

	"certd/config"
)

// parseLive reads NAME or NAME:LABEL from the command line.
func parseLive(arg string) (name, label string, err error) {
	name, label = config.SplitLive(arg)
	if name, err = config.ParseName(name); err != nil {
		return "", "", usage("%w", err)
	}
	if label == "" {
		return name, "", nil
	}
	if _, err := config.NewTargetFile(config.NewTarget{Names: []string{name}, Label: label}); err != nil {
		return "", "", usage("%s: %w", arg, err)
	}
	return name, label, nil
}

// live is how a name with this label is called in live/.
func live(name, label string) string {
	if label == "" {
		return name
	}
	return name + ":" + label
}

// parseNames normalises the names of the command line; every bad one is named.
func parseNames(args []string) ([]string, error) {
	var names, bad []string
	for _, arg := range args {
		name, err := config.ParseName(arg)
		if err != nil {
			bad = append(bad, err.Error())
			continue
		}
		names = append(names, name)
	}
	if len(bad) > 0 {
		return nil, usage("%s", strings.Join(bad, "; "))
	}
	first := names[0]
	slices.Sort(names)
	names = slices.Compact(names)
	i := slices.Index(names, first) // the file is called after the first name given
	names[0], names[i] = names[i], names[0]
	return names, nil
}

// title is how a target is called in one line: its first name, with the label if
// its links have one, and how many more.
func title(names, links []string, target string) string {
	label := ""
	if len(links) > 0 {
		_, label = config.SplitLive(links[0])
	}
	switch len(names) {
	case 0:
		return target
	case 1:
		return live(names[0], label)
	}
	return fmt.Sprintf("%s +%d", live(names[0], label), len(names)-1)
}

// targetArgs replaces each NAME:LABEL by the files of the targets it means, since
// everything else knows targets by file or name.
func targetArgs(targets *config.Targets, args []string) []string {
	var out []string
	for _, arg := range args {
		name, label := config.SplitLive(arg)
		name, err := config.ParseName(name)
		isFile := slices.ContainsFunc(targets.Targets, func(t *config.Target) bool { return t.File == arg })
		found := false
		for _, t := range targets.Targets {
			if err == nil && label != "" && !isFile && t.Label == label && slices.Contains(t.Names, name) {
				out, found = append(out, t.File), true
			}
		}
		if !found {
			out = append(out, arg)
		}
	}
	return out
}
