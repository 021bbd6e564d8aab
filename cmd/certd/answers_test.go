package main

import (
	"strings"
	"testing"

	"certd/daemon"
)

// TestParseAnswers: acmetool's keys are read as acmetool did, certd's strictly.
func TestParseAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text string
		want       daemon.Answers
		mistake    string
	}{
		{"nothing", "", daemon.Answers{}, ""},
		{"consent", "certd-agreement: true", daemon.Answers{}, ""},
		{"refusal", "certd-agreement: false", daemon.Answers{Refused: true}, ""},
		{"certd's agreement as text", `certd-agreement: "yes"`, daemon.Answers{}, "neither true nor false"},
		{"certd's address", "certd-enter-email: ops@example.com", daemon.Answers{Contact: "ops@example.com"}, ""},
		{"certd's address left out", "certd-enter-email:", daemon.Answers{}, ""},
		{"certd's address is none", "certd-enter-email: nobody", daemon.Answers{}, "no e-mail address"},
		{"certd's address is a number", "certd-enter-email: 3", daemon.Answers{}, "no e-mail address"},
		{"certd's quickstart", "certd-quickstart-key-type: ecdsa", daemon.Answers{}, ""},
		{"an unknown key of certd", "certd-agrement: true", daemon.Answers{}, "unknown key"},
		{"an unknown key", "agreement: true", daemon.Answers{}, "unknown key"},
		{"acmetool's agreement", `"acme-agreement:https://x/1.pdf": true`, daemon.Answers{}, ""},
		{"acmetool's agreement as text", `"acme-agreement:https://x/1.pdf": "agreed"`, daemon.Answers{}, ""},
		{"acmetool's agreement as a number", `"acme-agreement:https://x/1.pdf": 1`, daemon.Answers{}, ""},
		{"acmetool's refusal", `"acme-agreement:https://x/1.pdf": false`, daemon.Answers{Refused: true}, ""},
		{"acmetool's refusal as text", `"acme-agreement:https://x/1.pdf": "False"`, daemon.Answers{Refused: true}, ""},
		{"acmetool's refusal in a word", `"acme-agreement:https://x/1.pdf": no`, daemon.Answers{Refused: true}, ""},
		{"acmetool's agreement left blank", `"acme-agreement:https://x/1.pdf":`, daemon.Answers{Refused: true}, ""},
		{"acmetool's address", "acme-enter-email: ops@example.com", daemon.Answers{Contact: "ops@example.com"}, ""},
		{"acmetool's bad address", "acme-enter-email: nobody at all", daemon.Answers{}, ""},
		{"acmetool's other keys", "acmetool-quickstart-choose-server: x\nacme-x: [1]", daemon.Answers{}, ""},
		{"both addresses", "certd-enter-email: a@example.com\nacme-enter-email: b@example.com", daemon.Answers{Contact: "a@example.com"}, ""},
		{"no YAML", "a: b: c", daemon.Answers{}, "yaml"},
	} {
		got, err := parseAnswers([]byte(tt.text))
		switch {
		case tt.mistake == "" && (err != nil || got != tt.want):
			t.Errorf("%s: got %+v and error %v, want %+v", tt.name, got, err, tt.want)
		case tt.mistake != "" && (err == nil || !strings.Contains(err.Error(), tt.mistake)):
			t.Errorf("%s: got %+v and error %v, want one about %q", tt.name, got, err, tt.mistake)
		}
	}
}

// FuzzParseAnswers: whatever the file holds, a contact is an address in one line.
func FuzzParseAnswers(f *testing.F) {
	f.Add([]byte("certd-enter-email: ops@example.com"))
	f.Add([]byte("acme-enter-email: \"a@b\\nc\"\nacme-agreement: no"))
	f.Add([]byte("? [1]\n: x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		answers, err := parseAnswers(data)
		if err == nil && answers.Contact != "" && (!isAddress(answers.Contact) || strings.ContainsAny(answers.Contact, "\r\n")) {
			t.Errorf("%q gives the contact %q", data, answers.Contact)
		}
	})
}
