package challenge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	sweepTimeout = time.Minute // of removing one record that was left behind, once nobody is at work with it
	sweepAtOnce  = 4
)

// removeLeft removes what an earlier process has set with this value, if anything.
func (d *DNS) removeLeft(ctx context.Context, value string) error {
	d.mu.Lock()
	var all []DNSRecord
	for id, r := range d.left {
		if r.Value == value && !d.active[id] {
			all = append(all, r)
		}
	}
	d.mu.Unlock()
	var failed reasons
	for _, r := range all {
		if err := d.remove(ctx, r, false); err != nil {
			failed = append(failed, err)
		}
	}
	return failed.err()
}

// Load takes up the journal of earlier processes: what is left there is removed
// by Sweep, or by CleanUp of its challenge. The error is for entries that cannot
// be read; they are left alone.
func (d *DNS) Load(entries map[string][]byte) error {
	var failed reasons
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == nil {
		d.left = map[string]DNSRecord{}
	}
	for id, data := range entries {
		var r DNSRecord
		if err := json.Unmarshal(data, &r); err != nil || r.ID() != id {
			failed = append(failed, fmt.Errorf("dns/%s.json: not the record its name says; see what it is about, and remove it", id))
			continue
		}
		d.left[id] = r
	}
	return failed.err()
}

// Sweep removes what earlier processes left behind, but for what this one has
// set anew. It may run beside challenges. The error says what is still there.
func (d *DNS) Sweep(ctx context.Context) error {
	d.mu.Lock()
	var all []DNSRecord
	for id, r := range d.left {
		if !d.active[id] {
			all = append(all, r)
		}
	}
	d.mu.Unlock()
	errs := make([]error, len(all))
	var g errgroup.Group
	g.SetLimit(sweepAtOnce)
	for i, r := range all {
		g.Go(func() (err error) {
			defer recovered("clean-up", &errs[i])
			ctx, cancel := context.WithTimeout(ctx, helperGrace+sweepTimeout)
			defer cancel()
			if d.take(r.ID()) {
				defer d.letGo(r.ID())
				errs[i] = d.remove(ctx, r, false)
			}
			return nil
		})
	}
	_ = g.Wait() // always nil: every failure is in errs
	return errors.Join(errs...)
}

// take reports whether a record is still left, and not set anew; then nobody sets
// it until letGo.
func (d *DNS) take(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, left := d.left[id]; !left || d.active[id] || d.swept[id] != nil {
		return false
	}
	if d.swept == nil {
		d.swept = map[string]chan struct{}{}
	}
	d.swept[id] = make(chan struct{})
	return true
}

func (d *DNS) letGo(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.swept[id])
	delete(d.swept, id)
}

// IsTrial reports whether an entry of the journal is of a record that proves
// nothing and was only tried: that of a DNS01 with Trial.
func IsTrial(entry []byte) bool {
	var r DNSRecord
	return json.Unmarshal(entry, &r) == nil && r.Trial
}
