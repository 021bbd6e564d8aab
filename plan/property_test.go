package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"certd/acme"
	"certd/config"
	"certd/state"
)

// A world is random input, small enough that everything collides.
type world struct{ *rand.Rand }

func pick[T any](w world, from ...T) T { return from[w.IntN(len(from))] }

func (w world) names() []string {
	all := []string{"*.example.com", "192.0.2.1", "a.example.com", "b.example.com", "c.example.com"}
	names := slices.DeleteFunc(all, func(string) bool { return w.IntN(2) == 0 })
	if len(names) == 0 {
		names = []string{"a.example.com"}
	}
	return names
}

func (w world) file() string { return pick(w, "a", "b", "c", "d", "e", "f") }

func (w world) time() time.Time {
	return noon().Add(time.Duration(w.Int64N(int64(200*day))) - 100*day).Truncate(pick(w, time.Nanosecond, time.Hour, day))
}

func (w world) target(file string) *config.Target {
	t := &config.Target{
		File: file, Names: w.names(), Priority: w.IntN(3), Label: pick(w, "", "", "l"), Margin: pick(w, 0, 0, 1, 40),
		CAs: pick(w, nil, nil, []string{"zerossl"}, []string{"letsencrypt", "zerossl"}, []string{"zebra"}),
		Key: pick(w, config.KeyType{}, config.KeyType{Algorithm: "rsa"}, config.KeyType{Algorithm: "ecdsa"}), Profile: pick(w, "", "", "p"),
	}
	t.RequestNames = slices.Clone(t.Names)
	return t
}

func (w world) cert(id string) *state.Certificate {
	return &state.Certificate{
		ID: id, URL: "https://ca/" + id, Directory: pick(w, "", le, le, zerossl), KeyType: pick(w, "rsa-2048", "ecdsa-p256"),
		HasKey: w.IntN(9) > 0, Names: w.names(), NotBefore: w.time(), NotAfter: w.time(), Profile: pick(w, "", "", "p"),
		Target: pick(w, "", w.file()), Revoked: w.IntN(9) == 0, Damage: pick(w, "", "", "", "", "bad"),
	}
}

func (w world) input() Input {
	in := Input{Now: noon(), State: snapshot(""), Force: map[string]bool{}, NextRun: pick(w, time.Time{}, noon().Add(6*time.Hour))}
	seen := map[string]bool{}
	for range w.IntN(6) {
		if f := w.file(); !seen[f] {
			seen[f] = true
			in.Targets = append(in.Targets, w.target(f))
		}
	}
	for i := range w.IntN(12) {
		id := fmt.Sprintf("c%02d", i)
		in.State.Certificates[id] = w.cert(id)
		if w.IntN(5) == 0 {
			in.State.Renewals[id] = state.Renewal{ID: id, Chosen: w.time(), Doubted: w.IntN(3) == 0, Explanation: pick(w, "", "https://ca/\n")}
		}
	}
	for _, n := range w.names() {
		in.State.Live[n] = fmt.Sprintf("c%02d", w.IntN(12))
		in.State.Live[n+":l"] = fmt.Sprintf("c%02d", w.IntN(12))
	}
	for i := range w.IntN(4) {
		o := acme.OpenOrder{
			URL: fmt.Sprintf("https://ca/c%02d", i+8), Directory: pick(w, le, zerossl), Names: w.names(), Target: w.file(),
			KeyType: pick(w, "", "rsa-2048"), Created: w.time(), Expires: pick(w, time.Time{}, w.time()), Reason: pick(w, "new", "?"),
		}
		if len(in.Targets) > 0 && w.IntN(4) > 0 { // one that fits, but for its CA
			t := pick(w, in.Targets...)
			o.Target, o.Names, o.KeyType, o.Profile = t.File, t.RequestNames, t.Key.String(), t.Profile
		}
		in.State.Orders = append(in.State.Orders, o)
	}
	for _, t := range in.Targets {
		in.Force[t.File] = w.IntN(5) == 0
		if w.IntN(2) == 0 {
			in.State.Attempts[t.File] = state.Attempt{
				Digest: pick(w, t.Digest(), "old"), Failures: w.IntN(5), Class: pick(w, "name", "wait", "transient", "operator", ""),
				LastAttempt: w.time(), NextAttempt: w.time(),
			}
		}
	}
	return in
}

// TestProperties holds what is true of every plan.
func TestProperties(t *testing.T) {
	t.Parallel()
	kinds := map[Kind]int{}
	for seed := range uint64(2000) {
		w := world{rand.New(rand.NewPCG(seed, 7))}
		in := w.input()
		actions := Compute(in)
		for _, broken := range []string{checkOwnership(in, actions), checkActions(in, actions), checkOrders(in, actions), checkShuffled(w, in, actions)} {
			if broken != "" {
				t.Fatalf("seed %d: %s", seed, broken)
			}
		}
		for _, a := range actions {
			kinds[a.Kind]++
		}
	}
	for _, k := range []Kind{Keep, Order, Resume, Relink, Wait} {
		if kinds[k] < 10 {
			t.Errorf("only %d actions of kind %s: the test tests little", kinds[k], k)
		}
	}
}

// checkOwnership: every live name is owned by exactly one target.
func checkOwnership(in Input, actions []Action) string {
	wanted, owned := map[string]bool{}, map[string]bool{}
	for _, t := range in.Targets {
		for _, n := range t.Names {
			wanted[t.LiveName(n)] = true
		}
	}
	for _, a := range actions {
		for _, l := range a.Links {
			if owned[l] {
				return l + " is owned twice"
			}
			owned[l] = true
		}
	}
	if !maps.Equal(wanted, owned) {
		return fmt.Sprintf("wanted are %v, owned are %v", wanted, owned)
	}
	return ""
}

// checkActions: one action for each target, in itself consistent.
func checkActions(in Input, actions []Action) string {
	if len(actions) != len(in.Targets) || !slices.IsSortedFunc(actions, func(a, b Action) int { return strings.Compare(a.Target, b.Target) }) {
		return "not one action for each target, by file"
	}
	for _, a := range actions {
		s := fmt.Sprintf("%s at %v", brief(a), a.At)
		acts := a.Kind == Order || a.Kind == Resume || a.Kind == Relink
		best := in.State.Certificates[a.CertID]
		switch {
		case acts && !a.At.Equal(in.Now), !acts && !a.At.After(in.Now), a.At.Location() != time.UTC:
			return s + ": a wrong time"
		case a.Reason == "" || strings.ContainsAny(a.Reason, "\n\r\t") || len(a.Reason) > 1000:
			return s + ": a reason that is not one line"
		case (a.Kind == Order || a.Kind == Resume || a.Kind == Wait) != (a.Cause != CauseNone):
			return s + ": cause and kind do not go together"
		case acts && len(a.Links) == 0:
			return s + ": acts for a target that owns nothing"
		case (a.Kind == Resume) != (a.Open != nil):
			return s + ": resumes without order"
		case a.Kind == Relink && len(a.Stale) == 0, a.Kind == Keep && len(a.Stale) > 0 && len(a.Links) > 0:
			return s + ": stale links and kind do not go together"
		case a.CertID != "" && (best == nil || !best.Usable() || !slices.Equal(best.Names, a.Names)):
			return s + ": an unusable certificate"
		case len(a.Stale) > 0 && !best.NotAfter.After(in.Now):
			return s + ": an expired certificate would be linked"
		case a.Kind == Wait && a.At.After(in.Now.Add(day)):
			return s + ": waits longer than a day"
		}
		for _, l := range a.Stale {
			if !slices.Contains(a.Links, l) || in.State.Live[l] == a.CertID {
				return s + ": a link that is not stale"
			}
		}
	}
	return ""
}

// checkOrders: every journaled order is resumed, waited for, or given up.
func checkOrders(in Input, actions []Action) string {
	stale := map[string]bool{}
	for _, o := range Stale(in) {
		stale[o.URL] = true
	}
	waits := map[string]bool{}
	for _, a := range actions {
		if a.Open != nil && stale[a.Open.URL] {
			return a.Open.URL + " is resumed and given up"
		}
		if a.Open != nil {
			stale[a.Open.URL] = true
		}
		waits[a.Target] = a.Kind == Wait
	}
	for _, o := range in.State.Orders {
		if !stale[o.URL] && !waits[o.Target] {
			return o.URL + " is neither resumed nor given up"
		}
	}
	return ""
}

// checkShuffled: the order of targets and orders does not matter, nor does a
// second look, and the input stays as it was.
func checkShuffled(w world, in Input, actions []Action) string {
	before, _ := json.Marshal(in.State)
	shuffled, s := in, *in.State
	shuffled.Targets = slices.Clone(in.Targets)
	s.Orders = slices.Clone(in.State.Orders)
	shuffled.State = &s
	w.Shuffle(len(s.Orders), func(i, j int) { s.Orders[i], s.Orders[j] = s.Orders[j], s.Orders[i] })
	w.Shuffle(len(shuffled.Targets), func(i, j int) {
		shuffled.Targets[i], shuffled.Targets[j] = shuffled.Targets[j], shuffled.Targets[i]
	})
	if !reflect.DeepEqual(Compute(shuffled), actions) {
		return "another order of the input gives another plan"
	}
	if !reflect.DeepEqual(Stale(shuffled), Stale(in)) {
		return "another order of the input gives other stale orders"
	}
	if after, _ := json.Marshal(in.State); !bytes.Equal(before, after) {
		return "the input was changed"
	}
	return ""
}

// TestConverges: doing what the plan says leads to a plan of nothing but keep.
func TestConverges(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		w := world{rand.New(rand.NewPCG(seed, 8))}
		in := w.input()
		for round := range 3 {
			busy := false
			for _, a := range Compute(in) {
				if a.Kind != Keep {
					busy = true
					carryOut(in, a)
				}
			}
			for _, o := range Stale(in) {
				in.State.Orders = slices.DeleteFunc(in.State.Orders, func(p acme.OpenOrder) bool { return p.URL == o.URL })
			}
			in.Force, in.State.Attempts = nil, nil
			if !busy {
				break
			}
			if round == 2 && !onlyUnknownCAs(in) {
				t.Fatalf("seed %d: still busy after two rounds: %+v", seed, Compute(in))
			}
		}
	}
}

// carryOut does to the snapshot what reconcile would do for a.
func carryOut(in Input, a Action) {
	id := a.CertID
	if a.Kind == Order || a.Kind == Resume {
		i := slices.IndexFunc(in.Targets, func(t *config.Target) bool { return t.File == a.Target })
		t := in.Targets[i]
		id = fmt.Sprintf("new-%s-%d", a.Target, len(in.State.Certificates))
		c := cert(id, strings.Join(a.Names, " "), 0, 90*day)
		c.Directory, c.KeyType, c.Target, c.Profile = a.CA, t.Key.String(), a.Target, t.Profile
		c.NotAfter = noon().AddDate(1, 0, 0) // longer than any other
		if a.Open != nil {
			c.URL = a.Open.URL
		}
		in.State.Certificates[id] = c
		a.Stale = a.Links
	}
	for _, l := range a.Stale {
		in.State.Live[l] = id
	}
}

// onlyUnknownCAs reports whether all that is left to do waits for a CA that nobody knows.
func onlyUnknownCAs(in Input) bool {
	return !slices.ContainsFunc(Compute(in), func(a Action) bool {
		return a.Kind != Keep && !strings.Contains(a.Reason, "no CA is called")
	})
}

func BenchmarkCompute(b *testing.B) {
	in := Input{Now: noon(), State: snapshot("")}
	for i := range 10000 {
		name := fmt.Sprintf("w%d.example.com", i)
		in.Targets = append(in.Targets, target(name, name))
		in.State.Certificates[name] = cert(name, name, 0, 90*day)
		in.State.Live[name] = name
	}
	for b.Loop() {
		if got := Compute(in); len(got) != 10000 || got[0].Kind != Keep {
			b.Fatal(got[0])
		}
	}
}
