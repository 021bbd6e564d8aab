package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/term"

	"certd/daemon"
)

// fileOf returns the file that w writes to, if it does.
func fileOf(w io.Writer) (*os.File, bool) {
	if out, ok := w.(*writer); ok {
		w = out.w
	}
	f, ok := w.(*os.File)
	return f, ok
}

func isTerminal(w io.Writer) bool {
	f, ok := fileOf(w)
	return ok && term.IsTerminal(int(f.Fd()))
}

// A screen is standard error: log lines, and on a terminal one progress line
// below them that is written over.
type screen struct {
	tty bool

	mu    sync.Mutex // guards what follows, and writes to w
	w     io.Writer
	shown bool // a progress line stands on the terminal
}

func newScreen(w io.Writer) *screen { return &screen{w: w, tty: isTerminal(w)} }

// Write writes a log line where the progress line stood.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	return s.w.Write(b)
}

// show says where a pass is: how many of how many, which name, which step.
func (s *screen) show(log *slog.Logger, p daemon.Progress) {
	if !s.tty {
		log.Info("progress", "done", p.Done, "of", p.Total, "target", p.Step.Target, "name", p.Step.Name, "step", p.Step.Step)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	line := fmt.Sprintf("[%d of %d] %s: %s", p.Done, p.Total, p.Step.Name, p.Step.Step)
	if f, ok := s.w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 1 {
			line = shorten(line, width-1)
		}
	}
	fmt.Fprintf(s.w, "\r\x1b[K%s", line)
	s.shown = true
}

// finish takes the progress line away.
func (s *screen) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
}

func (s *screen) clear() {
	if s.shown {
		fmt.Fprint(s.w, "\r\x1b[K")
		s.shown = false
	}
}
