package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"certd/acme/acmetest"
)

// A command is one process.
type command struct {
	args []string
	exit int // the exit code of success
}

// A cost is what a run took.
type cost struct {
	wall, cpu time.Duration
	memory    int // KB, the peak of the largest process; zero if unknown
	requests  []acmetest.Request
	output    []byte // of all processes
}

// run runs commands one after another. An error has the end of what the one that
// failed said.
func (a *arena) run(ctx context.Context, commands ...command) (c cost, err error) {
	peak := filepath.Join(a.dir, "peak")
	_ = os.Remove(peak) // of the run before
	a.ca.ResetRequests()
	var out bytes.Buffer
	for _, command := range commands {
		args := command.args
		if a.timer != "" {
			args = append([]string{a.timer, "-q", "-a", "-o", peak, "-f", "%M"}, args...)
		}
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env, cmd.Dir, cmd.WaitDelay = a.env, a.dir, 5*time.Second
		before := out.Len()
		cmd.Stdout, cmd.Stderr = &out, &out
		start := time.Now()
		err := cmd.Run()
		c.wall += time.Since(start)
		if cmd.ProcessState != nil {
			c.cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		}
		exit, ok := errors.AsType[*exec.ExitError](err)
		if err != nil && !ok || cmd.ProcessState.ExitCode() != command.exit {
			said := out.Bytes()[before:]
			return c, fmt.Errorf("%s: %v (%v): %s", filepath.Base(command.args[0]), err, exit, said[max(0, len(said)-600):])
		}
	}
	c.requests, c.output = a.ca.Requests(), out.Bytes()
	c.memory, err = largest(peak, a.timer != "" && len(commands) > 0)
	return c, err
}

// largest returns the largest of the numbers that GNU time has written.
func largest(file string, written bool) (int, error) {
	if !written {
		return 0, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	most := 0
	for _, word := range strings.Fields(string(data)) {
		if n, err := strconv.Atoi(word); err == nil {
			most = max(most, n)
		}
	}
	return most, nil
}

// perCertificate is the number of requests for each of n certificates.
func (c cost) perCertificate(n int) float64 { return float64(len(c.requests)) / float64(n) }

// median returns the middle one of costs, by each measure on its own.
func median(costs []cost) cost {
	by := func(measure func(cost) int64) int64 {
		all := make([]int64, 0, len(costs))
		for _, c := range costs {
			all = append(all, measure(c))
		}
		slices.Sort(all)
		return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
	}
	m := costs[0]
	all := slices.SortedFunc(slices.Values(costs), func(a, b cost) int { return cmp.Compare(len(a.requests), len(b.requests)) })
	m.requests = all[(len(all)-1)/2].requests
	m.wall = time.Duration(by(func(c cost) int64 { return int64(c.wall) }))
	m.cpu = time.Duration(by(func(c cost) int64 { return int64(c.cpu) }))
	m.memory = int(by(func(c cost) int64 { return int64(c.memory) }))
	return m
}

// find returns the path of a program, empty if it is not installed.
func find(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return ""
}
