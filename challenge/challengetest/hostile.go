package challengetest

import (
	"context"
	"strings"
	"testing"

	"certd/acme"
)

// A HostileChallenge is something a broken or malicious CA could send
// (CVE-2026-40611, CVE-2026-10303, CVE-2023-38198).
type HostileChallenge struct {
	Name       string
	Identifier acme.Identifier
	Challenge  acme.Challenge
}

// Hostile returns challenges that every solver refuses, in Present and in
// CleanUp, without touching anything.
func Hostile() []HostileChallenge {
	good := strings.Repeat("A", 32)
	var all []HostileChallenge
	for _, token := range []struct{ name, token string }{
		{"empty", ""},
		{"dot", "."},
		{"two dots", ".."},
		{"traversal", "../../x"},
		{"long traversal", "../../../../tmp/" + good},
		{"encoded traversal", "%2e%2e%2f" + good},
		{"backslashes", `..\..\` + good},
		{"slash inside", "a/b"},
		{"long with slash", good + "/" + good},
		{"absolute path", "/etc/" + good},
		{"NUL", good + "\x00"},
		{"newline", good + "\n"},
		{"carriage return", good + "\r\nX: y"},
		{"10 kB", strings.Repeat("A", 10<<10)},
		{"129 characters", strings.Repeat("A", 129)},
		{"21 characters", strings.Repeat("A", 21)},
		{"command substitution", "$(touch${IFS}/tmp/x)" + good},
		{"backticks", "`id`" + good},
		{"shell", "; rm -rf / #" + good},
		{"option", "--" + good + "=x"},
		{"space", good + " " + good},
		{"not ASCII", good + "é"},
		{"full-width", strings.Repeat("Ａ", 22)},
		{"invalid UTF-8", good + "\xff"},
		{"padding", good + "=="},
		{"hidden file", "." + good},
	} {
		all = append(all, HostileChallenge{token.name, acme.NewIdentifier("www.example.com"), Challenge(token.token)})
	}
	foreign := Challenge(good)
	foreign.KeyAuthorization = strings.Repeat("B", 32) + "." + Thumbprint()
	script := Challenge(good)
	script.KeyAuthorization = good + ".<?php system('id') ?>"
	bare := Challenge(good)
	bare.KeyAuthorization = ""
	all = append(all,
		HostileChallenge{"key authorization of another token", acme.NewIdentifier("www.example.com"), foreign},
		HostileChallenge{"key authorization with code", acme.NewIdentifier("www.example.com"), script},
		HostileChallenge{"no key authorization", acme.NewIdentifier("www.example.com"), bare})
	for _, name := range []string{"", "-x", ".example.com", "a b.example.com", "a\nb.example.com", "../x", "a/b", "$(id).example.com", "*.example.com"} {
		all = append(all, HostileChallenge{"name " + name, acme.Identifier{Type: "dns", Value: name}, Challenge(good)})
	}
	return all
}

func refused(t *testing.T, s Subject, h HostileChallenge) {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	for _, call := range []struct {
		name string
		do   func(context.Context, acme.Identifier, acme.Challenge) error
	}{{"Present", s.Solver.Present}, {"CleanUp", s.Solver.CleanUp}} {
		err := call.do(ctx, h.Identifier, h.Challenge)
		if err == nil {
			t.Errorf("%s of a hostile challenge: got no error", call.name)
			continue
		}
		if text := err.Error(); len(text) > 1024 || strings.ContainsAny(text, "\n\r\x00\x1b") {
			t.Errorf("%s of a hostile challenge: its error is not one short printable line: %.200q", call.name, text)
		}
	}
}
