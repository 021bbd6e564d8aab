package main

import (
	"fmt"
	"log"
	"os"
	"strings"
	"sync"
)

// said is lego's log on stderr. It keeps the last whole line, which is how lego's
// exec passes on what its program printed: why it failed is in no error.
type said struct {
	*log.Logger

	mu   sync.Mutex
	last string
}

func newSaid() *said { return &said{Logger: log.New(os.Stderr, "", log.LstdFlags)} }

// Println logs one line. Whatever lego has to say itself goes to Printf.
func (s *said) Println(args ...any) {
	line := strings.TrimSpace(fmt.Sprintln(args...))
	s.mu.Lock()
	if line != "" {
		s.last = line
	}
	s.mu.Unlock()
	s.Logger.Println(args...)
}

// explain adds the line to err, which may be nil. Credentials go before the line is
// cut, which would leave one that lies across the cut unrecognised.
func (s *said) explain(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil || s.last == "" {
		return err
	}
	return fmt.Errorf("%w: %.400s", err, hide(s.last, os.Environ()))
}
