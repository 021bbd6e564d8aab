package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// parse reads a target over a default, both as text.
func parse(t *testing.T, file, def, text string) *Target {
	t.Helper()
	base, err := ParseDefault("conf/target", []byte(def), nil, 0)
	if err != nil {
		t.Fatalf("conf/target: %v", err)
	}
	got, err := ParseTarget(file, []byte(text), base)
	if err != nil {
		t.Fatalf("target: %v", err)
	}
	return got
}

// full is a default target that sets everything.
const full = `
satisfy:
  margin: 20
  key: {type: ecdsa}
request:
  ca: [letsencrypt, internal]
  key:
    type: rsa
    rsa-size: 3072
    ecdsa-curve: nistp384
    id: abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst
  profile: tlsserver
  ocsp-must-staple: true
  preferred-chain: ISRG Root X1
  challenge:
    method: webroot
    webroot-paths: [/var/www/acme, /srv/acme/]
    http-ports: [402, "127.0.0.1:4402", "[::1]:4402", ":8080"]
    http-self-test: false
    env: {A: one, B: two}
    dns-provider: rfc2136
    dns-env-file: /etc/certd/dns.env
    delegate: acme.example.net
priority: 7
label: ec
probe: ["127.0.0.1:443"]
files: {owner: root, group: ssl-cert, mode: 0640}
`

// fullTarget is what a file gets from full.
func fullTarget(file string) *Target {
	return &Target{
		File: file, Names: []string{file}, RequestNames: []string{file}, Margin: 20,
		CAs: []string{"letsencrypt", "internal"}, Key: KeyType{Algorithm: "ecdsa", Curve: "nistp384"},
		KeyID:   "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst",
		Profile: "tlsserver", MustStaple: true, Chain: "ISRG Root X1",
		Challenge: Challenge{
			Method: "webroot", WebrootPaths: []string{"/var/www/acme", "/srv/acme"},
			HTTPPorts: []string{"127.0.0.1:402", "[::1]:402", "127.0.0.1:4402", "[::1]:4402", ":8080"},
			Env:       map[string]string{"A": "one", "B": "two"}, DNSProvider: "rfc2136",
			DNSEnvFile: "/etc/certd/dns.env", Delegate: "acme.example.net",
		},
		Priority: 7, Label: "ec", Probe: []string{"127.0.0.1:443"},
		Files: Files{Owner: "root", Group: "ssl-cert", Mode: "0640"},
		parts: keyParts{satisfy: "ecdsa", request: "rsa", bits: 3072, curve: "nistp384"},
	}
}

func TestEmptyFileIsATarget(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "\ufeff", "satisfy:\nrequest:\n", "{}", "satisfy: {names: []}"} {
		got := parse(t, "www.example.com", "", text)
		want := &Target{
			File: "www.example.com", Names: []string{"www.example.com"}, RequestNames: []string{"www.example.com"},
			Challenge: Challenge{SelfTest: true},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
}

func TestEverythingIsInherited(t *testing.T) {
	t.Parallel()
	if got, want := parse(t, "www.example.com", full, ""), fullTarget("www.example.com"); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got, want := parse(t, "www.example.com", "", full), fullTarget("www.example.com"); !reflect.DeepEqual(got, want) {
		t.Errorf("set in the target itself: got %+v\nwant %+v", got, want)
	}
}

// TestMerge says in each row what a target file changes of full.
func TestMerge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text string
		change     func(*Target)
	}{
		{"scalar", "satisfy: {margin: 5}", func(w *Target) { w.Margin = 5 }},
		{"scalar back to zero", "satisfy: {margin: 0}\npriority: 0", func(w *Target) { w.Margin, w.Priority = 0, 0 }},
		{"explicit false", "request: {ocsp-must-staple: false}", func(w *Target) { w.MustStaple = false }},
		{"explicit true", "request: {challenge: {http-self-test: yes}}", func(w *Target) { w.Challenge.SelfTest = true }},
		{"empty text", `label: ""`, func(w *Target) { w.Label = "" }},
		{"list replaced whole", "request: {challenge: {webroot-paths: [/x]}}", func(w *Target) { w.Challenge.WebrootPaths = []string{"/x"} }},
		{"list emptied", "probe: []", func(w *Target) { w.Probe = []string{} }},
		{"env by key", `request: {challenge: {env: {B: 2, C: ""}}}`, func(w *Target) {
			w.Challenge.Env = map[string]string{"A": "one", "B": "2", "C": ""}
		}},
		{"ca replaced by provider", "request: {provider: \"https://ca.internal/dir\"}", func(w *Target) { w.CAs = []string{"https://ca.internal/dir"} }},
		{"ca replaced by one", "request: {ca: zerossl}", func(w *Target) { w.CAs = []string{"zerossl"} }},
		{"ca back to the default", `request: {ca: ""}`, func(w *Target) { w.CAs = []string{} }},
		{"legacy provider", "provider: https://ca.internal/dir", func(w *Target) { w.CAs = []string{"https://ca.internal/dir"} }},
		{"curve alone", "request: {key: {ecdsa-curve: nistp256}}", func(w *Target) {
			w.Key.Curve, w.parts.curve = "nistp256", "nistp256"
		}},
		{"request key type loses to the inherited satisfy key type", "request: {key: {type: rsa}}", func(*Target) {}},
		{"satisfy key type", "satisfy: {key: {type: rsa}}", func(w *Target) {
			w.Key, w.parts.satisfy = KeyType{Algorithm: "rsa", Bits: 3072}, "rsa"
		}},
		{"files by key", "files: {mode: \"0600\"}", func(w *Target) { w.Files.Mode = "0600" }},
		{"section left empty", "request:\n  challenge:\n", func(*Target) {}},
	} {
		want := fullTarget("www.example.com")
		tt.change(want)
		if got := parse(t, "www.example.com", full, tt.text); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", tt.name, got, want)
		}
	}
}

func TestMergeSharesNothing(t *testing.T) {
	t.Parallel()
	base, err := ParseDefault("conf/target", []byte(full), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ParseTarget("a.example.com", nil, base)
	if err != nil {
		t.Fatal(err)
	}
	a.CAs[0], a.Probe[0], a.Challenge.WebrootPaths[0], a.Challenge.HTTPPorts[0] = "x", "x", "x", "x"
	a.Challenge.Env["A"] = "x"
	b, err := ParseTarget("b.example.com", nil, base)
	if err != nil {
		t.Fatal(err)
	}
	if want := fullTarget("b.example.com"); !reflect.DeepEqual(b, want) {
		t.Errorf("after another target was changed:\ngot  %+v\nwant %+v", b, want)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, file, text string
		names, request   string
	}{
		{"sorted, normalised, once", "x", "satisfy: {names: [WWW.example.com., b.example.com, www.example.com]}", "b.example.com www.example.com", "b.example.com www.example.com"},
		{"request adds", "x", "satisfy: {names: [b.example.com]}\nrequest: {names: [c.example.com, A.example.com]}", "b.example.com", "a.example.com b.example.com c.example.com"},
		{"request alone", "b.example.com", "request: {names: [c.example.com]}", "b.example.com", "b.example.com c.example.com"},
		{"legacy", "x", "names: [b.example.com]", "b.example.com", "b.example.com"},
		{"file name", "WWW.Example.com", "", "www.example.com", "www.example.com"},
		{"IPv6 file", "2001:db8::1", "", "2001:db8::1", "2001:db8::1"},
		{"IPv4", "x", "satisfy: {names: [192.0.2.1, '*.example.com']}", "*.example.com 192.0.2.1", "*.example.com 192.0.2.1"},
		{"file name may be anything", "Müll-2", "satisfy: {names: [a.example.com]}", "a.example.com", "a.example.com"},
	} {
		got := parse(t, tt.file, "satisfy: {names: [never.example.com]}\nrequest: {names: [never.example.org]}", tt.text)
		if n, r := strings.Join(got.Names, " "), strings.Join(got.RequestNames, " "); n != tt.names || r != tt.request {
			t.Errorf("%s: got %q, to request %q; want %q and %q", tt.name, n, r, tt.names, tt.request)
		}
	}
}

func TestFirstAndLiveName(t *testing.T) {
	t.Parallel()
	target := &Target{Names: []string{"*.a.example.com", "a.example.com", "b.example.com"}}
	if got := target.FirstName(); got != "a.example.com" {
		t.Errorf("got first name %q, want the first that is no wildcard", got)
	}
	if got := (&Target{Names: []string{"*.a.example.com"}}).FirstName(); got != "*.a.example.com" {
		t.Errorf("got first name %q, want the wildcard", got)
	}
	if got := (&Target{}).FirstName(); got != "" {
		t.Errorf("got first name %q of no names", got)
	}
	if got := target.LiveName("a.example.com"); got != "a.example.com" {
		t.Errorf("got live name %q", got)
	}
	target.Label = "rsa"
	if got := target.LiveName("*.a.example.com"); got != "*.a.example.com:rsa" {
		t.Errorf("got live name %q", got)
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	base := parse(t, "www.example.com", full, "")
	if d := base.Digest(); len(d) != 64 || d != parse(t, "www.example.com", full, "").Digest() {
		t.Errorf("digest %q is not stable", d)
	}
	seen := map[string]string{base.Digest(): "nothing"}
	for _, text := range []string{
		"satisfy: {names: [a.example.com]}", "request: {names: [a.example.com]}", "satisfy: {key: {type: rsa}}",
		"request: {key: {ecdsa-curve: nistp256}}", "request: {ca: zerossl}", "request: {profile: x}", "request: {ocsp-must-staple: no}",
		"request: {challenge: {method: dns}}", "request: {challenge: {webroot-paths: []}}", "request: {challenge: {http-ports: [1]}}",
		"request: {challenge: {http-self-test: on}}", "request: {challenge: {env: {A: x}}}", "request: {challenge: {delegate: x.y}}",
	} {
		d := parse(t, "www.example.com", full, text).Digest()
		if other := seen[d]; other != "" {
			t.Errorf("%s has the digest of %s", text, other)
		}
		seen[d] = text
	}
	for _, text := range []string{"satisfy: {margin: 1}", "priority: 1", "label: x", "probe: []", "files: {mode: 0600}"} {
		if d := parse(t, "www.example.com", full, text).Digest(); d != base.Digest() {
			t.Errorf("%s resets failures, which it should not", text)
		}
	}
}

func TestParseDefaultLegacyFiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text string
		bits       int
		webroots   string
		key        string
	}{
		{"both used", "", 3072, "/old", "rsa-3072"},
		{"size as acmetool bounded it", "", 1024, "/old", "rsa-2048"},
		{"size as acmetool bounded it above", "", 16384, "/old", "rsa-4096"},
		{"conf/target has a size", "request: {key: {type: rsa, rsa-size: 4096}}", 3072, "/old", "rsa-4096"},
		{"conf/target has another type", "request: {key: {type: ecdsa}}", 3072, "/old", "ecdsa-p256"},
		{"conf/target has a curve", "request: {key: {ecdsa-curve: nistp384}}", 3072, "/old", "ecdsa-p384"},
		{"conf/target has webroots", "request: {challenge: {webroot-paths: [/new]}}", 0, "/new", ""},
		{"conf/target has none on purpose", "request: {challenge: {webroot-paths: []}}", 0, "", ""},
	} {
		got, err := ParseDefault("conf/target", []byte(tt.text), []string{"/old"}, tt.bits)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if w, k := strings.Join(got.Challenge.WebrootPaths, " "), got.Key.String(); w != tt.webroots || k != tt.key {
			t.Errorf("%s: got webroots %q and key %q, want %q and %q", tt.name, w, k, tt.webroots, tt.key)
		}
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	text := "satisfy:\n  names:\n    - a.example.com # one\n    - 'b.example.com'\nlabel: x\n"
	want := parse(t, "x", "", text)
	for name, variant := range map[string]string{
		"CRLF": strings.ReplaceAll(text, "\n", "\r\n"), "BOM": "\ufeff" + text, "BOM and CRLF": "\ufeff" + strings.ReplaceAll(text, "\n", "\r\n"),
		"no final newline": strings.TrimSuffix(text, "\n"), "JSON": `{"satisfy": {"names": ["a.example.com", "b.example.com"]}, "label": "x"}`,
		"document marks": "---\n" + text + "...\n",
	} {
		if got := parse(t, "x", "", variant); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("www.example.com", []byte(full))
	f.Add("x", []byte("satisfy: {names: [a.example.com]}\n"))
	f.Add("x", []byte("a: &a [*a]\n<<: *a\n"))
	f.Add("x", []byte("names:\n\t- a\n--- \n"))
	f.Add("a.example.com", []byte("request: {challenge: {env: {A: \"\\u0000\"}}}"))
	f.Fuzz(func(t *testing.T, file string, data []byte) {
		got, err := ParseTarget(file, data, nil)
		if err != nil {
			if strings.ContainsRune(err.Error(), 0) {
				t.Errorf("message %q has a NUL", err)
			}
			return
		}
		if len(got.Names) == 0 || !slices.IsSorted(got.RequestNames) {
			t.Errorf("accepted without names: %+v", got)
		}
		for _, n := range got.RequestNames {
			checkAccepted(t, n)
		}
	})
}
