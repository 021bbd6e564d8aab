package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"certd/acme/acmetest"
	"certd/state/statetest"
)

// A row is what was measured of one client.
type row struct {
	*client
	versionText string
	size        int64 // of the program, bytes
	start       time.Duration
	one         cell         // one certificate
	twenty      cell         // in one batch
	batch       cell         // Options.Batch certificates, or fewer
	nothing     map[int]cell // certificates that are not due, by their number
	leastCPU    map[int]time.Duration
	notes       []string // why something could not be measured

	home    *home  // where it issues; nil without an account
	singles []cost // of one certificate each
	names   int    // used so far
}

// errNoHome follows another error that says more.
var errNoHome = errors.New("not tried, since it has no account or no certificate")

// A cell is one median; n is the number of certificates, zero if it could not be
// measured.
type cell struct {
	cost
	n, runs int
}

// leastCPU is the least processor time of costs, which other work disturbs less
// than their median.
func leastCPU(costs []cost) time.Duration {
	least := costs[0].cpu
	for _, c := range costs {
		least = min(least, c.cpu)
	}
	return least
}

// A match is one run of the bench.
type match struct {
	Options
	*arena
	rows []*row
}

// Run measures as o says and writes the result to out.
func Run(ctx context.Context, o Options, out io.Writer) (err error) {
	all, err := clients(o)
	if err != nil {
		return err
	}
	a, err := newArena(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	m := &match{Options: o, arena: a}
	a.certd = all[0].program
	for _, c := range all {
		m.rows = append(m.rows, &row{client: c, nothing: make(map[int]cell), leastCPU: make(map[int]time.Duration)})
	}
	start := time.Now()
	m.each(ctx, "program", m.program)
	m.singles(ctx)
	m.each(ctx, "a batch", m.batches)
	for _, n := range o.Sizes {
		m.each(ctx, fmt.Sprintf("nothing to do for %d", n), func(ctx context.Context, r *row) error { return m.idle(ctx, r, n) })
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return m.report(out, start)
}

// each measures one thing of every client; what fails is noted in its row.
func (m *match) each(ctx context.Context, what string, measure func(context.Context, *row) error) {
	for _, r := range m.rows {
		if ctx.Err() != nil {
			return
		}
		err := r.usable(m.arena)
		if err == nil {
			fmt.Fprintf(m.Progress, "%s  %s: %s\n", time.Now().Format(time.TimeOnly), r.name, what)
			err = measure(ctx, r)
		}
		if err != nil {
			fmt.Fprintf(m.Progress, "  not measured: %v\n", err)
			if note := err.Error(); !slices.Contains(r.notes, note) {
				r.notes = append(r.notes, note)
			}
		}
	}
}

// program measures size and start.
func (m *match) program(ctx context.Context, r *row) error {
	info, err := os.Stat(r.client.program)
	if err != nil {
		return err
	}
	r.size = info.Size()
	var times []cost
	for range 4 * m.Runs {
		cmd := exec.CommandContext(ctx, r.client.program, r.version...)
		cmd.Env, cmd.Dir = m.env, m.dir
		start := time.Now()
		out, err := cmd.CombinedOutput()
		times = append(times, cost{wall: time.Since(start)})
		found := r.found.FindSubmatch(out)
		if found == nil { // the exit code tells nothing: uacme's is 2
			return fmt.Errorf("%s says no version: %v: %s", r.name, err, out)
		}
		r.versionText = string(found[len(found)-1])
	}
	if packaged := debian(ctx, r.name); packaged != "" && r != m.rows[0] {
		r.versionText = packaged
	}
	r.start = median(times).wall
	return nil
}

// ready returns a home with configuration and account, and one certificate, so
// that whatever is done only once is done.
func (m *match) ready(ctx context.Context, r *row) (*home, error) {
	h, err := m.home(r.name)
	if err != nil {
		return nil, err
	}
	commands, err := r.configure(h)
	if err != nil {
		return nil, err
	}
	if _, err := m.run(ctx, commands...); err != nil {
		return nil, fmt.Errorf("making an account: %w", err)
	}
	_, err = m.obtain(ctx, r, h, []string{"first.example.test"})
	return h, err
}

// obtain has the client obtain one certificate for each name, and checks that the
// CA has issued them.
func (m *match) obtain(ctx context.Context, r *row, h *home, names []string) (cost, error) {
	commands, err := r.issue(h, names)
	if err != nil {
		return cost{}, err
	}
	c, err := m.run(ctx, commands...)
	if err != nil {
		return c, err
	}
	if got := acmetest.Count(c.requests, "cert"); got < len(names) {
		return c, fmt.Errorf("%d certificates were downloaded, want %d: %s", got, len(names), c.output[max(0, len(c.output)-600):])
	}
	return c, nil
}

// singles measures one certificate, in rounds, so that what else the machine does
// strikes all clients alike.
func (m *match) singles(ctx context.Context) {
	m.each(ctx, "an account", func(ctx context.Context, r *row) (err error) {
		r.home, err = m.ready(ctx, r)
		return err
	})
	for round := range m.Runs {
		m.each(ctx, fmt.Sprintf("one certificate, round %d", round+1), func(ctx context.Context, r *row) error {
			c, err := m.several(ctx, r, 1)
			if err == nil {
				r.singles = append(r.singles, c)
				r.one = cell{median(r.singles), 1, len(r.singles)}
			}
			return err
		})
	}
}

// several has a client obtain n certificates of new names.
func (m *match) several(ctx context.Context, r *row, n int) (cost, error) {
	if r.home == nil {
		return cost{}, errNoHome
	}
	var names []string
	for range n {
		r.names++
		names = append(names, fmt.Sprintf("%s%d.example.test", r.name, r.names))
	}
	return m.obtain(ctx, r, r.home, names)
}

// batches measures many certificates at once: fewer with a client that would take
// too long.
func (m *match) batches(ctx context.Context, r *row) (err error) {
	if len(r.singles) == 0 {
		return errNoHome
	}
	slowest := time.Millisecond
	for _, c := range r.singles { // it varies much with some
		slowest = max(slowest, c.wall)
	}
	most, runs := max(1, int(m.Patience/slowest)), 1
	if r.parallel {
		most, runs = m.Batch, min(m.Runs, 3)
	}
	batch := func(n int) (cell, error) {
		var costs []cost
		for range runs {
			c, err := m.several(ctx, r, n)
			if err != nil {
				return cell{}, err
			}
			costs = append(costs, c)
		}
		return cell{median(costs), n, runs}, nil
	}
	if r.batch, err = batch(min(m.Batch, most)); err != nil {
		return err
	}
	if r.twenty = r.batch; r.batch.n > 20 {
		r.twenty, err = batch(20)
	}
	return err
}

// idle measures runs in which none of n certificates is due.
func (m *match) idle(ctx context.Context, r *row, n int) error {
	if r.upTo > 0 && n > r.upTo {
		return nil
	}
	h, err := m.ready(ctx, r)
	if err != nil {
		return err
	}
	issuer, err := statetest.NewCA()
	if err != nil {
		return err
	}
	certs, err := issuer.IssueAll(statetest.Names(n))
	if err != nil {
		return err
	}
	commands, err := r.lay(h, certs)
	if err != nil {
		return err
	}
	if r.asks { // and will not again for hours
		if _, err := m.run(ctx, commands...); err != nil {
			return err
		}
	}
	var costs []cost
	for runs := m.Runs; len(costs) < runs; {
		c, err := m.run(ctx, commands...)
		if err == nil {
			err = r.quiet(c, n)
		}
		if err != nil {
			return fmt.Errorf("with %d certificates that are not due: %w", n, err)
		}
		costs = append(costs, c)
		if time.Duration(runs)*c.wall > m.Patience {
			runs = max(1, min(runs, int(m.Patience/c.wall)))
		}
	}
	r.nothing[n] = cell{median(costs), n, len(costs)}
	r.leastCPU[n] = leastCPU(costs)
	return os.RemoveAll(h.dir)
}
