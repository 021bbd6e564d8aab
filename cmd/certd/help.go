package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// helpCommands adds help and completion, for which cobra's own would exit with 0
// whatever they are asked for.
func helpCommands(root *cobra.Command) {
	root.SetHelpCommand(&cobra.Command{
		Use:     "help [COMMAND...]",
		Short:   "Show what a command does",
		Long:    `Shows what a command does, as COMMAND --help does.`,
		Example: `  certd help want`,
		RunE: func(_ *cobra.Command, args []string) error {
			found, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(found, args[len(args)-max(len(rest), 1)])
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			found, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, c := range found.Commands() {
				if c.IsAvailableCommand() && strings.HasPrefix(c.Name(), prefix) {
					names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	})
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", screenWidth)))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			completionHelp(c)
		}
	}
	fitHelp(root)
}

// completionHelp gives cobra's completion command what every command has.
func completionHelp(c *cobra.Command) {
	c.Short = "Print the completion script for a shell"
	c.Long = `Prints the script that lets a shell complete certd's commands, flags and names.`
	c.Example = `  certd completion bash >/etc/bash_completion.d/certd`
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(c, args[0])
		}
		return usage("completion: say for which shell; see certd completion --help")
	}
	for _, shell := range c.Commands() {
		shell.Example = "  certd completion " + shell.Name()
	}
}

// unknownCommand is the usage error for a word that is no command below c.
func unknownCommand(c *cobra.Command, word string) error {
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(word); len(near) > 0 {
		return usage("unknown command %q, did you mean %s?", word, strings.Join(near, " or "))
	}
	what := "command"
	if c.HasParent() {
		what = fmt.Sprintf("%s of %s", what, c.CommandPath())
	}
	return usage("unknown %s %q; see %s --help", what, word, c.CommandPath())
}

// fitHelp breaks the lines of help texts so that they fit the screen. A
// paragraph with an indented line stays as it is: it is a table or an example.
func fitHelp(c *cobra.Command) {
	paragraphs := strings.Split(c.Long, "\n\n")
	for i, p := range paragraphs {
		if !strings.HasPrefix(p, " ") && !strings.Contains(p, "\n ") {
			paragraphs[i] = strings.Join(wrap(p, ""), "\n")
		}
	}
	c.Long = strings.Join(paragraphs, "\n\n")
	for _, sub := range c.Commands() {
		fitHelp(sub)
	}
}
