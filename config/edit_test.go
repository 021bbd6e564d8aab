package config

import (
	"os"
	"strings"
	"testing"
)

func TestNewTargetFile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		opts NewTarget
		want string
	}{
		{"names", NewTarget{Names: []string{"WWW.example.com.", "example.com", "example.com"}}, `
satisfy:
  names:
    - example.com
    - www.example.com
`},
		{"hostile to YAML", NewTarget{Names: []string{"*.example.com", "2001:DB8::1", "192.0.2.1"}}, `
satisfy:
  names:
    - '*.example.com'
    - 192.0.2.1
    - 2001:db8::1
`},
		{"everything", NewTarget{Names: []string{"a.example.com"}, Label: "ec", KeyType: "ecdsa-p384", Profile: "shortlived", Challenge: "webroot"}, `
satisfy:
  names:
    - a.example.com
  key:
    type: ecdsa
request:
  key:
    ecdsa-curve: nistp384
  profile: shortlived
  challenge:
    method: webroot
label: ec
`},
		{"rsa", NewTarget{Names: []string{"a.example.com"}, KeyType: "rsa"}, `
satisfy:
  names:
    - a.example.com
  key:
    type: rsa
`},
	} {
		got, err := NewTargetFile(tt.opts)
		if err != nil || string(got) != strings.TrimPrefix(tt.want, "\n") {
			t.Errorf("%s: got %v\n%s\nwant%s", tt.name, err, got, tt.want)
			continue
		}
		target := parse(t, "x", "satisfy: {key: {type: rsa}}", string(got))
		if tt.opts.KeyType != "" && !target.Key.Satisfied(mustKey(t, tt.opts.KeyType).String()) {
			t.Errorf("%s: read back, the key type is %v", tt.name, target.Key)
		}
		if target.Label != tt.opts.Label || target.Profile != tt.opts.Profile || target.Challenge.Method != tt.opts.Challenge {
			t.Errorf("%s: read back: %+v", tt.name, target)
		}
	}
}

func mustKey(t *testing.T, s string) KeyType {
	t.Helper()
	k, err := ParseKeyType(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestNewTargetFileRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		opts NewTarget
		want string
	}{
		{NewTarget{}, "no names given"},
		{NewTarget{Names: []string{"localhost", "a..b"}}, "name \"localhost\": is a single label; want a full name such as www.example.com\nname \"a..b\": has an empty label"},
		{NewTarget{Names: []string{"a.example.com"}, KeyType: "dsa"}, `key type "dsa" is unknown`},
		{NewTarget{Names: []string{"a.example.com"}, Challenge: "http"}, `challenge method "http" is unknown`},
		{NewTarget{Names: []string{"a.example.com"}, Label: "a/b"}, `label "a/b"`},
		{NewTarget{Names: []string{"a.example.com"}, Profile: "a b"}, `profile: "a b"`},
		{NewTarget{Names: []string{"::1"}, Label: "x"}, "new target: label: cannot be combined"},
	} {
		if got, err := NewTargetFile(tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %q, %v; want an error with %q", tt.opts, got, err, tt.want)
		}
	}
}

func TestRemoveNames(t *testing.T) {
	t.Parallel()
	const block = "# my names\nsatisfy:\n    names:\n    - a.example.com   # one\n    # about b\n    - \"b.example.com\"\n    - C.example.com\n\n# nothing is set here\nrequest:\n    challenge:\n"
	for _, tt := range []struct {
		name, file, text, remove, want string
		left                           int
	}{
		{"lines go, the rest stays byte for byte", "x", block, "A.example.com. c.example.com", strings.NewReplacer("    - a.example.com   # one\n", "", "    - C.example.com\n", "").Replace(block), 1},
		{"CRLF stays", "x", strings.ReplaceAll(block, "\n", "\r\n"), "b.example.com",
			strings.ReplaceAll(strings.Replace(block, "    - \"b.example.com\"\n", "", 1), "\n", "\r\n"), 2},
		{"not in the file", "x", block, "z.example.com", block, 3},
		{"in brackets", "x", "satisfy: {names: [a.example.com, b.example.com]} # why\n", "b.example.com", "satisfy: {names: [a.example.com]} # why\n", 1},
		{"all", "x", block, "a.example.com b.example.com c.example.com", "", 0},
		{"the file's own name", "www.example.com", "priority: 3\n", "www.example.com", "", 0},
		{"another than the file's own name", "www.example.com", "priority: 3\n", "a.example.com", "priority: 3\n", 1},
		{"legacy place", "x", "names:\n- a.example.com\n- b.example.com\n", "a.example.com", "names:\n- b.example.com\n", 1},
		{"from request.names, too", "x", "satisfy:\n  names:\n  - a.example.com\n  - b.example.com\nrequest:\n  names:\n  - a.example.com\n  - d.example.com\n", "a.example.com",
			"satisfy:\n  names:\n  - b.example.com\nrequest:\n  names:\n  - d.example.com\n", 1},
		{"request.names left empty goes", "x", "satisfy:\n  names:\n  - a.example.com\n  - b.example.com\nrequest:\n  names:\n  - a.example.com\n  profile: p # keep\n", "a.example.com",
			"satisfy:\n  names:\n    - b.example.com\nrequest:\n  profile: p # keep\n", 1},
		{"IP addresses", "x", "satisfy:\n  names:\n  - 2001:DB8::1\n  - 192.0.2.1\n", "2001:db8:0::1", "satisfy:\n  names:\n  - 192.0.2.1\n", 1},
	} {
		got, left, err := RemoveNames(tt.file, []byte(tt.text), strings.Fields(tt.remove))
		if err != nil || left != tt.left || string(got) != tt.want {
			t.Errorf("%s: got %d left, %v\n%s\nwant %d left\n%s", tt.name, left, err, got, tt.left, tt.want)
		}
	}
	if _, _, err := RemoveNames("x", []byte("lable: x"), []string{"a.example.com"}); err == nil {
		t.Error("a broken file is edited")
	}
}

func FuzzRemoveNames(f *testing.F) {
	f.Add([]byte("satisfy:\n  names:\n  - a.example.com\n  - b.example.com\n"), "a.example.com")
	f.Add([]byte("satisfy: {names: [a.example.com, b.example.com]}\nrequest: {names: [a.example.com]}"), "A.example.com")
	f.Add([]byte("names: [\n a.example.com,\n b.example.com ]\n"), "b.example.com")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		out, left, err := RemoveNames("www.example.com", data, []string{name})
		if err != nil || left == 0 {
			return
		}
		got, err := ParseTarget("www.example.com", out, nil)
		if err != nil || len(got.Names) != left {
			t.Fatalf("%q without %q: got %q, %d left, %v", data, name, out, left, err)
		}
		if n, err := ParseName(name); err == nil {
			for _, have := range got.RequestNames {
				if have == n {
					t.Errorf("%q without %q still has it: %q", data, name, out)
				}
			}
		}
	})
}

// TestDocumentation: docs/configuration.md has every key and no other.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		if cell, ok := strings.CutPrefix(line, "| `"); ok {
			key, _, _ := strings.Cut(cell, "`")
			documented[key] = true
		}
	}
	keys := []string{"request.ca", "request.provider", "names", "provider",
		"cas[].name", "cas[].directory", "cas[].staging", "cas[].ca-bundle", "cas[].eab.kid", "cas[].eab.hmac-file",
		"cas[].limits", "cas[].limits[].name", "cas[].limits[].per", "cas[].limits[].burst", "cas[].limits[].window"}
	for key := range (&Target{}).schema() {
		key = strings.TrimSuffix(key, ".") // a word in place of a mapping
		keys = append(keys, key)
	}
	for key := range (&Settings{}).schema() {
		keys = append(keys, key)
	}
	for _, key := range keys {
		if !documented[key] {
			t.Errorf("docs/configuration.md has no row for %s", key)
		}
		delete(documented, key)
	}
	for _, b := range builtin() {
		if !documented[b.Name] {
			t.Errorf("docs/configuration.md has no row for the CA %s", b.Name)
		}
		delete(documented, b.Name)
	}
	for key := range documented {
		t.Errorf("docs/configuration.md has a row for %s, which does not exist", key)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"names", "margin", "http-self-test", "ca", "key"}
	for word, want := range map[string]string{
		"name": "names", "naems": "names", "Margin": "margin", "marge": "margin", "http-selftest": "http-self-test", "kye": "key",
		"cs": "ca", "zebra": "", "": "", "keys": "key", strings.Repeat("names", 20): "",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("nearest to %q: got %q, want %q", word, got, want)
		}
	}
}
