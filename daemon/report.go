package daemon

import (
	"time"

	"certd/hooks"
	"certd/plan"
	"certd/state"
)

// Outcome is how a pass ended for one target.
type Outcome string

// The outcomes of a target.
const (
	Unchanged Outcome = "unchanged" // nothing was due
	Issued    Outcome = "issued"    // a new certificate is live
	Relinked  Outcome = "relinked"  // live/ points to a certificate that was already there
	Waiting   Outcome = "waiting"   // something is needed, but not before its time
	Failed    Outcome = "failed"    // it was tried and did not work
)

// A Result is what a pass did for one target.
type Result struct {
	Action  plan.Action
	Outcome Outcome
	Err     error         // of Failed; for Waiting the error that it waits after, if any
	Took    time.Duration // zero if there was nothing to do
	CA      string        // nickname of the CA that was asked last; empty if none was

	next time.Time // when the target is due again, as far as is known; zero if that has to be planned
}

// failed reports whether what is wanted is not true. A renewal that a limit of the
// CA puts off in good time is no failure.
func (r Result) failed() bool {
	inTime := r.Action.Limit != "" && r.Action.Limit != plan.Breaker && r.Action.At.Before(r.Action.Latest)
	return r.Outcome == Failed || r.Outcome == Waiting && !inTime
}

// A Report is what a pass did.
type Report struct {
	Results  []Result       // by target
	Updated  []string       // live names that changed, sorted
	Hooks    []hooks.Result // what the hooks answered
	Pending  int            // hook events still to be delivered
	Broken   []state.Broken // entries of the state directory that could not be used
	Mistakes []error        // target files that could not be used
	Other    []error        // what else went wrong: a hook directory, a journal

	unwritten error // that counters or metrics.textfile could not be written, which is in Other; nil if they could
}

// Failed reports whether anything wanted is not true after the pass.
func (r *Report) Failed() bool {
	for _, res := range r.Results {
		if res.failed() {
			return true
		}
	}
	return r.Pending > 0 || len(r.Broken)+len(r.Mistakes)+len(r.Other) > 0
}

// Changed reports whether the pass changed anything that is served.
func (r *Report) Changed() bool { return len(r.Updated) > 0 }
