package simulate

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestEventsInOrder: events come out by time, whatever the order they came in.
func TestEventsInOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var h events
		var in, out []event
		for range 200 {
			if len(h) > 0 && r.IntN(3) == 0 {
				first := h.pop()
				least := slices.MinFunc(in, func(a, b event) int { return order(a, b) })
				if first != least {
					t.Fatalf("seed %d: got %+v, want %+v", seed, first, least)
				}
				in = slices.Delete(in, slices.Index(in, first), slices.Index(in, first)+1)
				out = append(out, first)
				continue
			}
			e := event{at: r.Int64N(20), kind: r.Int32N(5), id: r.Int32N(5)}
			h.push(e)
			in = append(in, e)
		}
		if len(out) == 0 || len(h) != len(in) {
			t.Fatalf("seed %d: %d came out, %d are left of %d", seed, len(out), len(h), len(in))
		}
	}
}

func order(a, b event) int {
	switch {
	case a.before(b):
		return -1
	case b.before(a):
		return 1
	}
	return 0
}

func TestScale(t *testing.T) {
	t.Parallel()
	for most, want := range map[float64][2]float64{0: {0.2, 1}, 1: {0.2, 1}, 7: {2, 8}, 100: {20, 100}, 1738: {500, 2000}, 1095: {200, 1200}, 99999: {20000, 100000}} {
		if step, top := scale(most); step != want[0] || top < most || top != want[1] {
			t.Errorf("scale(%v): steps of %v up to %v, want %v", most, step, top, want)
		}
	}
}
