package main

import (
	"strings"
	"testing"
)

// TestParseLive: names can be typed back as they are shown.
func TestParseLive(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ arg, name, label string }{
		{"www.example.com", "www.example.com", ""},
		{"WWW.example.com.", "www.example.com", ""},
		{"www.example.com:rsa", "www.example.com", "rsa"},
		{"2001:db8::1", "2001:db8::1", ""},
		{"2001:DB8:0::1", "2001:db8::1", ""},
		{"192.0.2.1:rsa", "192.0.2.1", "rsa"},
	} {
		name, label, err := parseLive(tt.arg)
		if err != nil || name != tt.name || label != tt.label {
			t.Errorf("%s: got %q, %q and error %v, want %q, %q", tt.arg, name, label, err, tt.name, tt.label)
		}
	}
	for _, arg := range []string{"", ":", ":rsa", "a..b", "../x:rsa", "www.example.com:-x", "www.example.com:a b", "www.example.com:a\nb"} {
		if name, label, err := parseLive(arg); err == nil {
			t.Errorf("%q was read as %q with label %q, want an error", arg, name, label)
		}
	}
}

// FuzzParseLive: what is accepted is one word that reads the same again.
func FuzzParseLive(f *testing.F) {
	f.Add("www.example.com:rsa")
	f.Add("2001:db8::1:rsa")
	f.Add("a.b:c:d")
	f.Fuzz(func(t *testing.T, arg string) {
		name, label, err := parseLive(arg)
		if err != nil {
			return
		}
		again, sameLabel, err := parseLive(live(name, label))
		if err != nil || again != name || sameLabel != label || strings.ContainsAny(live(name, label), " \r\n/") {
			t.Errorf("%q: %q, %q; read again: %q, %q, %v", arg, name, label, again, sameLabel, err)
		}
	})
}

// TestTitle: a target is called by its first name, its label, and the number of
// the others.
func TestTitle(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		names, links []string
		want         string
	}{
		{nil, nil, "file"},
		{[]string{"a.b"}, []string{"a.b"}, "a.b"},
		{[]string{"a.b"}, []string{"a.b:rsa"}, "a.b:rsa"},
		{[]string{"a.b", "c.d", "e.f"}, []string{"c.d:rsa"}, "a.b:rsa +2"},
		{[]string{"1::2", "1::2:3"}, []string{"1::2:3"}, "1::2 +1"},
	} {
		if got := title(tt.names, tt.links, "file"); got != tt.want {
			t.Errorf("%v with links %v: %q, want %q", tt.names, tt.links, got, tt.want)
		}
	}
}
