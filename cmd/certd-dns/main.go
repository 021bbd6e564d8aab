// Command certd-dns sets and removes DNS records at the providers of
// github.com/go-acme/lego. It is a program of its own, so that no provider's
// code runs beside certd's keys: certd starts it for each record, with nothing
// in its environment but that target's credentials.
//
// It reads one request from stdin and writes one answer to stdout, both JSON;
// see request and answer.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
)

// version is set by the linker.
var version = "dev"

const usage = `certd-dns sets DNS records for certd, at any of the DNS providers of lego.

  certd-dns list             the providers
  certd-dns help PROVIDER    a provider's variables, for request.challenge.dns-env-file
  certd-dns version
  certd-dns < request.json   what certd does; see docs/dns.md
`

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 64
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main with its surroundings.
func run(args []string, stdin, stdout, stderr *os.File) int {
	switch {
	case len(args) == 0:
		if info, err := stdin.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			fmt.Fprint(stderr, usage)
			return exitUsage
		}
		return serve(stdin, stdout, stderr)
	case len(args) == 1 && args[0] == "list":
		return show(stdout, stderr, listProviders)
	case len(args) == 2 && args[0] == "help":
		return show(stdout, stderr, func(w io.Writer) error { return helpProvider(w, args[1]) })
	case len(args) == 1 && (args[0] == "version" || args[0] == "--version"):
		fmt.Fprintf(stdout, "certd-dns %s (lego %s)\n", version, legoVersion())
		return exitOK
	case len(args) == 1 && (args[0] == "help" || args[0] == "--help" || args[0] == "-h"):
		fmt.Fprint(stdout, usage)
		return exitOK
	}
	fmt.Fprint(stderr, usage)
	return exitUsage
}

func show(stdout, stderr io.Writer, print func(io.Writer) error) int {
	if err := print(stdout); err != nil {
		fmt.Fprintf(stderr, "certd-dns: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// legoVersion is the version of lego that was linked in.
func legoVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/go-acme/lego/v4" {
			return m.Version
		}
	}
	return "unknown"
}
