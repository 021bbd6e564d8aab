package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// manPages makes a page of section 8 for c and each command below it, by file
// name. The text is that of --help, so neither can say what the other does not.
func manPages(c *cobra.Command) map[string][]byte {
	pages := make(map[string][]byte)
	for _, one := range documented(c) {
		pages[pageName(one)+".8"] = manPage(one)
	}
	return pages
}

// documented is c and what is below it, but for help and the single shells of
// completion.
func documented(c *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" && c.Name() != "completion" {
			list = append(list, documented(sub)...)
		}
	}
	return list
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func manPage(c *cobra.Command) []byte {
	c.InitDefaultHelpFlag()
	var b strings.Builder
	name := pageName(c)
	fmt.Fprintf(&b, ".TH %s 8 \"\" \"certd %s\" \"certd\"\n.SH NAME\n%s \\- %s\n", strings.ToUpper(roff(name)), roff(version), roff(name), roff(c.Short))
	b.WriteString(".SH SYNOPSIS\n")
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, ".B %s\nCOMMAND [flags]\n", roff(c.CommandPath()))
	} else {
		command, rest, _ := strings.Cut(c.UseLine(), c.CommandPath())
		fmt.Fprintf(&b, ".B %s\n%s\n", roff(command+c.CommandPath()), roff(strings.TrimSpace(rest)))
	}
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s", manText(long))
	related := manCommands(&b, c)
	manFlags(&b, "OPTIONS", c.LocalNonPersistentFlags().FlagUsages()+ownPersistent(c))
	manFlags(&b, "GLOBAL OPTIONS", c.InheritedFlags().FlagUsages())
	if c.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n%s", manText(c.Example))
	}
	if c.HasParent() {
		related = append([]string{pageName(c.Parent())}, related...)
	}
	if len(related) > 0 {
		fmt.Fprintf(&b, ".SH SEE ALSO\n")
		for i, page := range related {
			fmt.Fprintf(&b, ".BR %s (8)%s\n", roff(page), strings.Repeat(" ,", min(1, len(related)-1-i)))
		}
	}
	return []byte(b.String())
}

// ownPersistent are the flags that c gives to the commands below it.
func ownPersistent(c *cobra.Command) string {
	if c.HasParent() {
		return ""
	}
	return c.PersistentFlags().FlagUsages()
}

// manCommands writes the commands below c and returns the names of their pages.
func manCommands(b *strings.Builder, c *cobra.Command) []string {
	list := documented(c)[1:]
	if len(list) == 0 {
		return nil
	}
	b.WriteString(".SH COMMANDS\n")
	var pages []string
	for _, sub := range list {
		if sub.Parent() == c {
			fmt.Fprintf(b, ".TP\n.BR %s (8)\n%s\n", roff(pageName(sub)), roff(sub.Short))
			pages = append(pages, pageName(sub))
		}
	}
	return pages
}

// manFlags writes flags as --help lists them: "  -o, --output string   text", and
// below it what else there is to say, further to the right.
func manFlags(b *strings.Builder, title, usages string) {
	if strings.TrimSpace(usages) == "" {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", title)
	for line := range strings.Lines(usages) {
		flag, text, both := strings.Cut(strings.TrimSpace(line), "   ")
		if !both || !strings.HasPrefix(flag, "-") {
			fmt.Fprintf(b, "%s\n", roff(strings.TrimSpace(line)))
			continue
		}
		fmt.Fprintf(b, ".TP\n\\fB%s\\fR\n%s\n", roff(flag), roff(strings.TrimSpace(text)))
	}
}

// manText sets plain text: an empty line parts paragraphs, and what is indented
// stays as it is.
func manText(text string) string {
	var b strings.Builder
	verbatim := false
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		indented := strings.HasPrefix(line, " ")
		switch {
		case indented && !verbatim:
			b.WriteString(".PP\n.nf\n")
		case !indented && verbatim:
			b.WriteString(".fi\n.PP\n")
		}
		verbatim = indented
		if line == "" {
			b.WriteString(".PP\n")
			continue
		}
		b.WriteString(roff(line) + "\n")
	}
	if verbatim {
		b.WriteString(".fi\n")
	}
	return b.String()
}

// roff has text mean itself. A period or an apostrophe at the beginning of a
// line would be a request.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}
