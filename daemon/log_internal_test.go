package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"certd/acme"
	"certd/plan"
	"certd/state"
)

// TestLogReport: what the end of the daemon cut off is no error, and a target that
// waits after a failure is no news whenever the daemon wakes for another one.
func TestLogReport(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	cut := fmt.Errorf("testca: order: %w", &acme.Problem{Class: acme.ClassTransient, Err: context.Canceled})
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		why    string // trigger
		result Result
		want   string
	}{
		{"failed", t.Context(), "timer", Result{Outcome: Failed, Err: &acme.Problem{Class: acme.ClassName, Detail: "no"}}, `level=ERROR msg="certificate not obtained" target=www name=www reason="" err=no class=name`},
		{"cut off", ended, "timer", Result{Outcome: Failed, Err: cut}, `level=INFO msg=interrupted target=www`},
		{"failed before the end", ended, "timer", Result{Outcome: Failed, Err: &acme.Problem{Class: acme.ClassName, Detail: "no"}}, `level=ERROR msg="certificate not obtained"`},
		{"waits, and the daemon woke for another", t.Context(), "timer", Result{Outcome: Waiting, Err: errors.New("no")}, `level=DEBUG msg=waiting target=www`},
		{"waits, at the schedule's turn", t.Context(), "cron", Result{Outcome: Waiting, Err: errors.New("no")}, `level=WARN msg=waiting target=www`},
	} {
		var log bytes.Buffer
		tt.result.Action = plan.Action{Target: "www"}
		snapshot := &state.Snapshot{Attempts: map[string]state.Attempt{"www": {Target: "www", Failures: 1}}}
		options := Options{Trigger: tt.why, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
		p := &pass{view: &View{Snapshot: snapshot}, Options: options, report: Report{Results: []Result{tt.result}}}
		p.logReport(tt.ctx)
		if !strings.Contains(log.String(), tt.want) || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("%s: logged\n%swant %s", tt.name, &log, tt.want)
		}
	}
}
