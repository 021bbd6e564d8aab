//go:build ship

// With the tag ship this is another program: `go run -tags ship ./cmd/certd PREFIX`
// writes a tar archive of what comes beside certd to standard output, made from
// the commands as they are. build/install.sh uses it.
package main

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "use: go run -tags ship ./cmd/certd PREFIX")
		os.Exit(exitUsage)
	}
	if err := writeShipped(os.Stdout, os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "ship: %v\n", err)
		os.Exit(exitFailed)
	}
}

func writeShipped(w io.Writer, prefix string) error {
	files, err := shipped(prefix)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(w)
	for _, f := range files {
		header := &tar.Header{Name: strings.TrimPrefix(f.Path, "/"), Mode: int64(f.Mode.Perm()), Size: int64(len(f.Data)), Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		if _, err := archive.Write(f.Data); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return archive.Close()
}
