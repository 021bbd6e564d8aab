package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"certd/metrics"
	"certd/state"
)

// TestUnwrittenMetricsAreTold: a textfile that cannot be written is a trouble of the
// daemon until it can, and the pass is one that ran.
func TestUnwrittenMetricsAreTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := state.Open(dir)
	conf := filepath.Join(dir, "conf", "certd.yaml")
	text := filepath.Join(dir, "no", "certd.prom")
	if err := errors.Join(err, os.MkdirAll(filepath.Dir(conf), 0o755), os.WriteFile(conf, fmt.Appendf(nil, "metrics: {textfile: %q}\n", text), 0o644)); err != nil {
		t.Fatal(err)
	}
	pass := func() string {
		l := &loop{}
		o := Options{Store: store, Log: discard(), Metrics: metrics.New(metrics.Options{})}
		report, err := Reconcile(t.Context(), o)
		view, lookErr := Look(store)
		if err := errors.Join(err, lookErr); err != nil {
			t.Fatal(err)
		}
		l.facts = gather(outcome{report: report, view: view})
		return l.describe(time.Now())
	}
	if got := pass(); !strings.Contains(got, "trouble: metrics not written: metrics.textfile: ") {
		t.Errorf("health says %q", got)
	}
	if err := os.Mkdir(filepath.Dir(text), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := pass(); strings.Contains(got, "trouble") {
		t.Errorf("once it could be written, health says %q", got)
	}
}
