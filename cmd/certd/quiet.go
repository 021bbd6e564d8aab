package main

import (
	"context"
	"log/slog"
	"strings"
)

// A quietHandler leaves out, once a pass is told to stop, that whatever was under
// way was canceled: one line at the end says so for all of it.
type quietHandler struct {
	slog.Handler
	stopped func() bool
}

// quietAfter wraps a handler so that it is quiet from the moment that ctx ends.
func quietAfter(ctx context.Context, h slog.Handler) slog.Handler {
	return &quietHandler{Handler: h, stopped: func() bool { return ctx.Err() != nil }}
}

// Handle passes a record on unless it is about the interruption.
func (q *quietHandler) Handle(ctx context.Context, r slog.Record) error {
	canceled := false
	if q.stopped() {
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
