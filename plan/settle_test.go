package plan

import (
	"math/rand/v2"
	"testing"
	"time"

	"certd/state"
)

// TestIssuanceSettles: after a certificate was obtained and published, its target
// is kept and its links stay, however short the new lifetime and whatever else
// lies on disk.
func TestIssuanceSettles(t *testing.T) {
	t.Parallel()
	settled := 0
	for seed := range uint64(3000) {
		w := world{rand.New(rand.NewPCG(seed, 7))}
		in := w.input()
		for _, a := range Compute(in) {
			if a.Kind != Order {
				continue
			}
			settled++
			publish(w, &in, a)
			for _, next := range Compute(in) {
				if next.Target == a.Target && (next.Kind != Keep || next.CertID != "new" || len(next.Stale) > 0) {
					t.Fatalf("seed %d: after %s came %s with stale links %v", seed, brief(a), brief(next), next.Stale)
				}
			}
			break
		}
	}
	if settled < 500 {
		t.Errorf("only %d inputs had an order: the test does not test", settled)
	}
}

// publish does what a pass does with the certificate of an order.
func publish(w world, in *Input, a Action) {
	in.Now = in.Now.Add(time.Minute)
	c := &state.Certificate{
		ID: "new", URL: "https://ca/new", Directory: a.CA, KeyType: "ecdsa-p256", HasKey: true, Names: a.Names, Target: a.Target,
		NotBefore: in.Now.Add(-time.Hour), NotAfter: in.Now.Add(pick(w, 6*day, 45*day, 90*day)), Created: in.Now,
	}
	for _, t := range in.Targets {
		if t.File != a.Target {
			continue
		}
		c.Profile = t.Profile
		if t.Key.Algorithm == "rsa" {
			c.KeyType = "rsa-2048"
		}
		in.State.Attempts[t.File] = state.Attempt{Target: t.File, Digest: t.Digest(), CA: a.CA, LastAttempt: in.Now}
	}
	in.State.Certificates[c.ID] = c
	for _, link := range a.Links {
		in.State.Live[link] = c.ID
	}
	delete(in.Force, a.Target)
}
