package main

import (
	"errors"
	"io"
	"log"
	"strings"
	"testing"
)

// TestExplainHides a credential also where the line that has it is cut.
func TestExplainHides(t *testing.T) {
	const secret = "a-token-of-thirty-two-characters"
	t.Setenv("PROVIDER_TOKEN", secret)
	s := &said{Logger: log.New(io.Discard, "", 0)}
	for room := range len(secret) {
		s.Println(strings.Repeat(".", 400-room) + secret)
		if err := s.explain(errors.New("failed")); strings.Contains(err.Error(), secret[:1]+"-") {
			t.Fatalf("with %d bytes of it before the cut: %v", room, err)
		}
	}
}
