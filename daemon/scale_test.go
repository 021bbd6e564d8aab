package daemon_test

import (
	"fmt"
	"io"
	"os"
	"testing"

	"certd/config"
	"certd/daemon"
	"certd/metrics"
	"certd/state"
	"certd/state/statetest"
)

const scaleDirectory = "https://ca.example/directory"

// manyNames is a state directory with n names of which none is due.
func manyNames(tb testing.TB, n int) *state.Store {
	tb.Helper()
	dir := statetest.TempDir(tb)
	ca, err := statetest.NewCA()
	if err == nil {
		err = statetest.Fill(dir, scaleDirectory, ca, statetest.Names(n))
	}
	if err != nil {
		tb.Fatal(err)
	}
	store, err := state.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(store.Path("conf", "certd.yaml"), fmt.Appendf(nil, "cas: [{name: ca, directory: %q}]\n", scaleDirectory), 0o644); err != nil {
		tb.Fatal(err)
	}
	return store
}

// BenchmarkNothingDue is what a pass costs when nothing is due, and what the
// commands that only look cost.
func BenchmarkNothingDue(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		store := manyNames(b, n)
		look := func(b *testing.B) *daemon.View {
			view, err := daemon.Look(store)
			if err != nil {
				b.Fatal(err)
			}
			return view
		}
		for _, bench := range []struct {
			name string
			run  func(b *testing.B)
		}{
			{"targets", func(b *testing.B) {
				if _, err := config.LoadTargets(store.Dir()); err != nil {
					b.Fatal(err)
				}
			}},
			{"snapshot", func(b *testing.B) {
				if _, err := store.Snapshot(); err != nil {
					b.Fatal(err)
				}
			}},
			{"plan", func(b *testing.B) {
				look(b).Plan(func(*config.Target) bool { return true }, false)
			}},
			{"status", func(b *testing.B) { look(b).Status() }},
			{"metrics", func(b *testing.B) {
				m := metrics.New(metrics.Options{})
				if err := daemon.MeasureState(store, nil, m); err != nil {
					b.Fatal(err)
				}
				if err := m.WriteText(io.Discard); err != nil {
					b.Fatal(err)
				}
			}},
			{"reconcile", func(b *testing.B) {
				report, err := daemon.Reconcile(b.Context(), daemon.Options{Store: store, Metrics: metrics.New(metrics.Options{})})
				if err != nil || report.Failed() || report.Changed() {
					b.Fatal(err, report)
				}
			}},
		} {
			b.Run(fmt.Sprintf("%s-%d", bench.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					bench.run(b)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/name")
			})
		}
	}
}

// TestCostFollowsNumber: a pass with nothing due does not do more for each name
// because there are more of them.
func TestCostFollowsNumber(t *testing.T) { // not parallel: it counts the allocations of the process
	cost := func(n int) float64 {
		o := daemon.Options{Store: manyNames(t, n)}
		return testing.AllocsPerRun(1, func() {
			report, err := daemon.Reconcile(t.Context(), o)
			if err != nil || report.Failed() || report.Changed() || len(report.Results) != n {
				t.Fatalf("a pass over %d names that are not due: %v, %+v", n, err, report)
			}
		})
	}
	few, many := cost(100), cost(800)
	if many > 8.8*few {
		t.Errorf("a pass over 800 names allocates %.0f times, over 100 %.0f times: more than eight times that", many, few)
	}
}
