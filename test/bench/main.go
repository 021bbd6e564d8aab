// Command bench compares certd with other ACME clients, side by side at the same
// embedded CA, and writes docs/benchmarks.md. It is run by make bench.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"certd/state"
)

func main() {
	if inside, code := enter(); inside {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, args []string) error {
	o := Options{Progress: os.Stderr, Private: os.Getenv(marker) != ""}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.Certd, "certd", "bin/certd", "certd to measure")
	flags.StringVar(&o.Dir, "dir", "", "where the states of all clients are made; a directory of the system's if empty")
	flags.StringVar(&o.Only, "only", "", "clients to compare with, such as uacme,certbot; all if empty, none if \"-\"")
	flags.IntVar(&o.Runs, "runs", 5, "runs of what is quick; what takes longer is run less often")
	flags.IntVar(&o.Batch, "batch", 100, "certificates in a batch")
	flags.DurationVar(&o.Patience, "patience", 30*time.Second, "how long one measurement may take: a slower client's batch is smaller, its runs are fewer")
	output := flags.String("o", "", "file for the result, as Markdown; standard output if empty")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o.Sizes = []int{100, 1000, 10000}
	var text bytes.Buffer
	if err := Run(ctx, o, &text); err != nil {
		return err
	}
	if *output == "" {
		_, err := os.Stdout.Write(text.Bytes())
		return err
	}
	return state.ReplaceFile(*output, text.Bytes(), 0o644)
}

// Options say what is measured.
type Options struct {
	Certd    string        // path of the program
	Dir      string        // empty means a temporary directory
	Only     string        // other clients by name, with commas; empty means all, "-" none
	Runs     int           // of what is quick
	Batch    int           // certificates in a batch
	Sizes    []int         // certificates of a run with nothing to do; other clients have up to 1,000
	Patience time.Duration // for one measurement
	Private  bool          // the mounts of this process are its own: the test CA may be put among the system's
	Progress io.Writer     // told what is going on
}

// marker is set in the environment of the process with mounts of its own.
const marker = "CERTD_BENCH_PRIVATE_MOUNTS"

// enter runs this program again with mounts of its own, if the system allows it:
// a client that trusts only the system's CAs then finds the test CA among them.
func enter() (done bool, code int) {
	if os.Getenv(marker) != "" {
		return false, 0
	}
	self, err := os.Executable()
	if err != nil {
		return false, 0
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: no mounts of its own (%v): a client that trusts only the system's CAs is left out\n", err)
		return false, 0
	}
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, os.Interrupt) // the child has it, too, and ends in order
	defer signal.Stop(ignored)
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return true, max(1, exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return true, 1
	}
	return true, 0
}
