// Testsum reads the output of `go test -json` on stdin and prints what a person
// wants of it: one line for each package, everything a failed test said, every
// skipped test with its reason. With -record FILE it appends the counts to FILE
// as one line "<passed> <failed> <skipped>". It exits 1 if anything failed.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	record := flag.String("record", "", "append the counts to this `file`")
	flag.Parse()
	total, err := summarize(os.Stdin, os.Stdout)
	if err == nil && *record != "" {
		err = appendCounts(*record, total)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
	if total.failed > 0 {
		os.Exit(1)
	}
}

// An event is one line of `go test -json` (see `go doc test2json`).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output and build-fail
	Test       string
	Output     string
	Elapsed    float64 // seconds
}

// counts is how many tests ended in which way.
type counts struct{ passed, failed, skipped int }

func (c *counts) add(d counts) {
	c.passed += d.passed
	c.failed += d.failed
	c.skipped += d.skipped
}

// A pkg is what one package said so far.
type pkg struct {
	counts
	output map[string][]string // by test; "" is the package itself
	shown  []string            // output of failed tests, and reasons of skipped ones
}

// summarize copies the essence of the events in r to w and returns the counts.
func summarize(r io.Reader, w io.Writer) (counts, error) {
	var total counts
	packages := make(map[string]*pkg)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(w, lines.Text()) // what the go command itself prints
			continue
		}
		if e.Action == "build-output" {
			fmt.Fprint(w, e.Output)
			continue
		}
		if e.Package == "" {
			continue
		}
		p := packages[e.Package]
		if p == nil {
			p = &pkg{output: make(map[string][]string)}
			packages[e.Package] = p
		}
		if p.handle(e) {
			p.print(w, e)
			total.add(p.counts)
			delete(packages, e.Package)
		}
	}
	for name, p := range packages {
		p.print(w, event{Action: "fail", Package: name}) // the go command died
		total.add(p.counts)
	}
	return total, lines.Err()
}

// handle takes in one event and reports whether it was the package's last.
func (p *pkg) handle(e event) bool {
	switch e.Action {
	case "output":
		p.output[e.Test] = append(p.output[e.Test], e.Output)
		return false
	case "pass", "fail", "skip":
	default:
		return false
	}
	if e.Test == "" {
		return true
	}
	switch e.Action {
	case "pass":
		p.passed++
	case "fail":
		p.failed++
		p.shown = append(p.shown, p.output[e.Test]...)
	case "skip":
		p.skipped++
		p.shown = append(p.shown, p.output[e.Test]...)
	}
	delete(p.output, e.Test)
	return false
}

// print writes the package's line, after whatever needs to be read. A package
// that failed without a failed test (build, panic, timeout) counts as one.
func (p *pkg) print(w io.Writer, e event) {
	if e.Action == "fail" {
		if p.failed == 0 {
			p.failed = 1
		}
		for _, said := range p.output {
			p.shown = append(p.shown, said...)
		}
	}
	for _, line := range p.shown {
		if !strings.HasPrefix(line, "=== ") {
			fmt.Fprint(w, line)
		}
	}
	if e.Action == "skip" {
		return // no test files
	}
	word := "ok  "
	if e.Action == "fail" {
		word = "FAIL"
	}
	fmt.Fprintf(w, "%s  %-32s %6.1fs  %d passed, %d failed, %d skipped\n", word, e.Package, e.Elapsed, p.passed, p.failed, p.skipped)
}

// appendCounts adds one line with c to the file at path.
func appendCounts(path string, c counts) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, c.passed, c.failed, c.skipped)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
