// Command certd-demo shows the main job: it starts a test CA in this process,
// which validates over real sockets, and runs the real certd against it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	certd := flag.String("certd", "bin/certd", "the certd to show, as made by make build")
	serve := flag.Bool("serve", false, "stay up afterwards, until interrupted")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *certd, *serve); err != nil {
		fmt.Fprintf(os.Stderr, "certd-demo: %v\n", err)
		stop()
		os.Exit(1)
	}
}
