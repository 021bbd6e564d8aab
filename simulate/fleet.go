package simulate

import (
	"slices"
	"strconv"

	"certd/acme"
	"certd/config"
	"certd/plan"
	"certd/state"
)

// account is the only account.
const account = "simulated"

// plan asks the planner about some targets, in their order. They share no name
// with the others, so that what it says is what it would say of all.
func (w *world) plan(ids []int32) []plan.Action {
	in := plan.Input{Now: w.clock(w.now), Settings: &w.settings, Limits: w.book, State: &state.Snapshot{
		Certificates: make(map[string]*state.Certificate, len(ids)), Live: make(map[string]string, len(ids)),
		Attempts: make(map[string]state.Attempt, len(ids)), Renewals: make(map[string]state.Renewal, len(ids))}}
	place := make(map[string]int, len(ids))
	for i, id := range ids {
		target := w.wanted(id)
		place[target.File] = i
		in.Targets = append(in.Targets, target)
		w.describe(id, target, in.State)
	}
	out := make([]plan.Action, len(ids))
	for _, a := range plan.Compute(in) {
		out[place[a.Target]] = a
	}
	return out
}

// wanted is the target as it would be in desired/.
func (w *world) wanted(id int32) *config.Target {
	names := w.names(id)
	return &config.Target{File: names[0], Names: names, RequestNames: names, Margin: w.o.Margin}
}

// describe puts what there is of a target into what the planner sees.
func (w *world) describe(id int32, target *config.Target, in *state.Snapshot) {
	t := &w.targets[id]
	if c := w.certificate(id, target); c != nil {
		in.Certificates[c.ID] = c
		for _, n := range target.Names {
			in.Live[n] = c.ID
		}
		if t.polled {
			in.Renewals[c.ID] = w.renewal(t, c)
		}
	}
	if t.tried {
		if t.digest == "" {
			t.digest = target.Digest()
		}
		at := state.Attempt{Target: target.File, Digest: t.digest, CA: w.o.CA.Directory, Account: account, Failures: int(t.failures), Class: string(t.class), LastAttempt: w.at(t.last)}
		if t.failures > 0 {
			at.NextAttempt = w.at(t.next)
		}
		in.Attempts[target.File] = at
	}
}

// certificate is the newest one of a target, nil if it has none.
func (w *world) certificate(id int32, target *config.Target) *state.Certificate {
	t := &w.targets[id]
	if t.issued == 0 {
		return nil
	}
	name := target.File + "#" + strconv.FormatUint(uint64(t.issued), 10)
	return &state.Certificate{
		ID: name, URL: name, ARIID: name, Directory: w.o.CA.Directory, Account: account, KeyType: "ecdsa-p256", HasKey: true,
		Names: target.Names, NotBefore: w.at(t.notBefore), NotAfter: w.at(t.notAfter), Created: w.at(t.created), Target: target.File, Reason: string(t.reason),
	}
}

// renewal is what certd knows of the renewal of a certificate.
func (w *world) renewal(t *target, c *state.Certificate) state.Renewal {
	r := state.Renewal{ID: c.ID, ARIID: c.ARIID, NextPoll: w.at(t.nextPoll), Polled: w.at(t.pollTime), Doubted: t.doubted}
	if t.hasWindow {
		r.Start, r.End, r.Chosen = w.at(t.seenStart), w.at(t.seenEnd), w.at(t.chosen)
	}
	return r
}

// poll asks the CA for renewal information, as the daemon does for each live
// certificate, and reports whether it is worth asking again soon.
func (w *world) poll(id int32) {
	t := &w.targets[id]
	c := w.certificate(id, w.wanted(id))
	old := state.Renewal{}
	if t.polled {
		old = w.renewal(t, c)
	}
	info := acme.RenewalInfo{Start: w.at(t.start), End: w.at(t.end), RetryAfter: pollEvery}
	r := plan.Polled(old, c, info, w.clock(w.now), w.r.Float64())
	t.polled, t.doubted, t.pollTime, t.nextPoll = true, r.Doubted, w.shown(r.Polled), w.shown(r.NextPoll)
	t.hasWindow = !r.Chosen.IsZero()
	if t.hasWindow {
		t.seenStart, t.seenEnd, t.chosen = w.shown(r.Start), w.shown(r.End), w.shown(r.Chosen)
	}
	if t.doubted {
		w.events.push(event{at: w.now + int64(pollEvery), kind: evLearn, id: id, stamp: t.issued})
	}
}

// names are the names of a target, sorted.
func (w *world) names(id int32) []string {
	first := int(id) * w.o.PerCertificate
	names := make([]string, 0, w.o.PerCertificate)
	for n := first; n < min(first+w.o.PerCertificate, w.o.Names); n++ {
		names = append(names, "h"+strconv.Itoa(n)+".d"+strconv.Itoa(n/w.o.PerDomain)+".example")
	}
	slices.Sort(names)
	return names
}
