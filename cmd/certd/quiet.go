package main

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
)

// A quietHandler leaves out, once a pass is told to stop, that whatever was under
// way was canceled: one line at the end says so for all of it.
type quietHandler struct {
	slog.Handler
	stopped *atomic.Bool
}

// quietAfter wraps a handler so that it is quiet when ctx has ended; stop ends
// the watching.
func quietAfter(ctx context.Context, h slog.Handler) (quiet slog.Handler, stop func() bool) {
	stopped := new(atomic.Bool)
	stop = context.AfterFunc(ctx, func() { stopped.Store(true) })
	return &quietHandler{Handler: h, stopped: stopped}, stop
}

// Handle passes a record on unless it is about the interruption.
func (q *quietHandler) Handle(ctx context.Context, r slog.Record) error {
	canceled := false
	if q.stopped.Load() {
		r.Attrs(func(attr slog.Attr) bool {
			canceled = canceled || strings.Contains(attr.Value.String(), context.Canceled.Error())
			return !canceled
		})
	}
	if canceled {
		return nil
	}
	return q.Handler.Handle(ctx, r)
}

// WithAttrs returns a handler that is quiet in the same way.
func (q *quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &quietHandler{Handler: q.Handler.WithAttrs(attrs), stopped: q.stopped}
}

// WithGroup returns a handler that is quiet in the same way.
func (q *quietHandler) WithGroup(name string) slog.Handler {
	return &quietHandler{Handler: q.Handler.WithGroup(name), stopped: q.stopped}
}
