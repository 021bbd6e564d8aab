package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"certd/challenge"
)

// golden compares text with a file of testdata/snippet; UPDATE=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "snippet", name)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("%s differs from what is printed (%v); UPDATE=1 go test writes it:\n%s", file, err, got)
	}
}

// sampleSites are names of every kind.
func sampleSites(method string) []site {
	w := way{method: method, webroot: challenge.StandardWebroot, thumbprint: "THUMB-1", proxyPort: 402}
	return []site{
		{names: []string{"example.com", "www.example.com", "*.example.com"}, dirs: []string{"example.com"}, way: w},
		{names: []string{"shop.example.com"}, dirs: []string{"shop.example.com", "shop.example.com:rsa"}, way: w},
		{names: []string{"soon.example.com"}, way: w},
		{names: []string{"*.wild.example.com"}, dirs: []string{"*.wild.example.com"}, way: w},
		{names: []string{"192.0.2.1", "2001:db8::1"}, dirs: []string{"192.0.2.1"}, way: w},
	}
}

// TestSnippetGolden: what each server gets for names of every kind, to be read.
func TestSnippetGolden(t *testing.T) {
	t.Parallel()
	for server, method := range map[string]string{serverNginx: challenge.MethodWebroot, serverApache: challenge.MethodProxy,
		serverHAProxy: challenge.MethodStateless, serverCaddy: challenge.MethodProxy} {
		p := &printer{server: server, live: "/var/lib/acme/live", httpPort: 80, tlsPort: 443, sites: sampleSites(method)}
		text, err := p.print()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, server, text)
	}
	p := &printer{server: serverNginx, live: "/srv/a b/live", sites: sampleSites(challenge.MethodProxy)}
	if text, err := p.print(); err == nil || text != "" || !strings.Contains(err.Error(), "state directory") {
		t.Errorf("a state directory with a space gives %v, want an error that says so; printed %q", err, text)
	}
}

// TestSnippetPaths: what would mean more than a path is refused.
func TestSnippetPaths(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"/var/lib/acme", "/srv/web-1/a_b.c:d/~x@y,z+1=2", "/srv/bücher"} {
		if err := safePath("webroot", good); err != nil {
			t.Errorf("%q is refused: %v", good, err)
		}
	}
	for _, bad := range []string{"/a b", "/a;b", "/a\nb", "/a{b}", "/$x", "/a\"", "/a'b", `/a\b`, "/a#b", "/%{x}", "/a*", "/[a]", "/`id`"} {
		if err := safePath("webroot", bad); err == nil {
			t.Errorf("%q is taken for a path", bad)
		}
	}
}

// TestSnippetMethods: port 80 is left to what answers there, and nobody is given
// half a configuration.
func TestSnippetMethods(t *testing.T) {
	t.Parallel()
	for _, server := range snippetServers() {
		for _, m := range methods() {
			sites := sampleSites(m.value)
			text, err := (&printer{server: server, live: "/var/lib/acme/live", httpPort: 8080, tlsPort: 8443, sites: sites}).print()
			if err != nil {
				t.Errorf("%s %s: %v", server, m.value, err)
			}
			rule, _ := ruleOf(server, m.value)
			if got := strings.Contains(text, "acme-challenge"); got != (rule != "" || sites[0].way.needsPort80() && server != serverNginx && server != serverCaddy) {
				t.Errorf("%s %s: it answers challenges: %t\n%s", server, m.value, got, text)
			}
			if (strings.Contains(text, "8080;") || strings.Contains(text, "bind :8080")) && !sites[0].way.needsPort80() {
				t.Errorf("%s %s: it takes port 80 from who needs it:\n%s", server, m.value, text)
			}
			if strings.Contains(text, "THUMBPRINT") || strings.Contains(text, "%!") {
				t.Errorf("%s %s: something was not filled in:\n%s", server, m.value, text)
			}
		}
	}
	mixed := append(sampleSites(challenge.MethodProxy), sampleSites(challenge.MethodStateless)...)
	if _, err := (&printer{server: serverHAProxy, live: "/l", sites: mixed}).print(); err == nil {
		t.Error("HAProxy gets two frontends for one port")
	}
}
