package config

import (
	"strings"
	"testing"
)

// TestKeyReuse: the word and the key say the same; an ID and reuse override each other.
func TestKeyReuse(t *testing.T) {
	t.Parallel()
	const id = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst"
	for _, tt := range []struct {
		def, text string
		reuse     bool
		id        string
		key       string
	}{
		{"", "", false, "", ""},
		{"", "request: {key: reuse}", true, "", ""},
		{"", "request: {key: {type: rsa, rsa-size: 3072, reuse: true}}", true, "", "rsa-3072"},
		{"request: {key: reuse}", "", true, "", ""},
		{"request: {key: reuse}", "request: {key: {reuse: false}}", false, "", ""},
		{"request: {key: reuse}", "request: {key: {id: " + id + "}}", false, id, ""},
		{"request: {key: {id: " + id + ", type: ecdsa}}", "request: {key: reuse}", true, "", "ecdsa-p256"},
		{"request: {key: {id: " + id + "}}", "request: {key: {type: ecdsa}}", false, id, "ecdsa-p256"},
	} {
		got := parse(t, "a.example.com", tt.def, tt.text)
		if got.KeyReuse != tt.reuse || got.KeyID != tt.id || got.Key.String() != tt.key {
			t.Errorf("%q over %q: reuse %v, id %q, key %q; want %v, %q, %q", tt.text, tt.def, got.KeyReuse, got.KeyID, got.Key, tt.reuse, tt.id, tt.key)
		}
	}
	for text, want := range map[string]string{
		"request: {key: again}":                         "request.key: \"again\": want reuse",
		"request: {key: {id: " + id + ", reuse: true}}": "keep one",
		"request: {key: {reuse: maybe}}":                "request.key.reuse",
		"request: {key: [reuse]}":                       "request.key",
	} {
		if _, err := ParseTarget("a.example.com", []byte(text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", text, err, want)
		}
	}
	if a, b := parse(t, "a.example.com", "", "request: {key: reuse}"), parse(t, "a.example.com", "", ""); a.Digest() == b.Digest() {
		t.Error("reuse does not change the digest")
	}
}
