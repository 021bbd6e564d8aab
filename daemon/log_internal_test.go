package daemon

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"certd/acme"
	"certd/plan"
	"certd/state"
)

// TestLogReport: what the end of the daemon cut off is no error.
func TestLogReport(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	cut := fmt.Errorf("testca: order: %w", &acme.Problem{Class: acme.ClassTransient, Err: context.Canceled})
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		result Result
		want   string
	}{
		{"failed", t.Context(), Result{Outcome: Failed, Err: &acme.Problem{Class: acme.ClassName, Detail: "no"}}, `level=ERROR msg="certificate not obtained" target=www name=www reason="" err=no class=name`},
		{"cut off", ended, Result{Outcome: Failed, Err: cut}, `level=INFO msg=interrupted target=www`},
		{"failed before the end", ended, Result{Outcome: Failed, Err: &acme.Problem{Class: acme.ClassName, Detail: "no"}}, `level=ERROR msg="certificate not obtained"`},
	} {
		var log bytes.Buffer
		tt.result.Action = plan.Action{Target: "www"}
		p := &pass{view: &View{Snapshot: &state.Snapshot{}}, Options: Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, report: Report{Results: []Result{tt.result}}}
		p.logReport(tt.ctx)
		if !strings.Contains(log.String(), tt.want) || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("%s: logged\n%swant %s", tt.name, &log, tt.want)
		}
	}
}
