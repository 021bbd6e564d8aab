package daemon

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"certd/acme"
	"certd/plan"
)

// logReport says every failure of a pass once. What the end of ctx cut off is none:
// the next run goes on with it.
func (p *pass) logReport(ctx context.Context) {
	for _, b := range p.report.Broken {
		p.Log.Error("broken entry left alone", "path", b.Path, "err", b.Err.Error())
	}
	for _, err := range p.report.Mistakes {
		p.Log.Error("target file not used", "err", err.Error())
	}
	for _, err := range p.report.Other {
		p.Log.Error("reconcile", "err", err.Error())
	}
	slices.SortStableFunc(p.report.Results, func(a, b Result) int { return cmp.Compare(a.Action.Target, b.Action.Target) })
	for _, r := range p.report.Results {
		attrs := append([]any{"target", r.Action.Target, "name", firstName(r.Action), "reason", r.Action.Reason}, p.failure(r)...)
		switch r.Outcome {
		case Failed:
			if ctx.Err() != nil && errors.Is(r.Err, context.Canceled) {
				p.Log.Info("interrupted", "target", r.Action.Target, "name", firstName(r.Action), "reason", r.Action.Reason)
				continue
			}
			p.Log.Error("certificate not obtained", attrs...)
		case Waiting:
			p.Log.Log(ctx, p.waitingLevel(r), "waiting", append(attrs, "until", r.Action.At.UTC().Format(time.RFC3339))...)
		case Issued:
			p.Log.Info("certificate issued", append(attrs, "took", r.Took.Round(time.Millisecond))...)
		case Relinked:
			p.Log.Info("certificate relinked", attrs...)
		}
	}
}

// failure is how the error of a result is logged: "err" always a sentence, and
// for a CA's problem its fields beside it. What is waited after failed in an
// earlier pass, which has kept its class.
func (p *pass) failure(r Result) []any {
	if r.Err == nil {
		return nil
	}
	class := acme.ClassOf(r.Err)
	if last := p.view.Snapshot.Attempts[r.Action.Target]; r.Outcome == Waiting && last.Class != "" {
		class = acme.Class(last.Class)
	}
	attrs := []any{"err", r.Err.Error(), "class", string(class)}
	if problem := problemOf(r.Err); problem != nil {
		attrs = append(attrs, slog.Any("problem", problem))
	}
	return attrs
}

// waitingLevel is how loudly it is said that a target waits. The daemon wakes for
// others all the time: then it is no news of a target that it failed before.
func (p *pass) waitingLevel(r Result) slog.Level {
	if p.Trigger == "timer" && p.view.Snapshot.Attempts[r.Action.Target].Failures > 0 {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

func firstName(a plan.Action) string {
	if len(a.Names) == 0 {
		return a.Target
	}
	return a.Names[0]
}
