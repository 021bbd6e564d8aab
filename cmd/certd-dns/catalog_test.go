package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-acme/lego/v4/providers/dns"
)

var update = flag.Bool("update", false, "write providers.jsonl from lego's descriptions")

// The catalog says what the descriptions in lego's module say, and every code
// and alias in it is one that lego knows.
func TestCatalog(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/go-acme/lego/v4").Output()
	if err != nil {
		t.Fatalf("where is lego? %v", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "providers/dns/*/*.toml"))
	if err != nil || len(files) < 150 {
		t.Fatalf("found %d descriptions of providers in lego: %v", len(files), err)
	}
	var all []description
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d := parse(t, file, string(data))
		if d.Code == "manual" { // asks at a terminal
			continue
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b description) int { return cmp.Compare(a.Code, b.Code) })
	var want bytes.Buffer
	encoder := json.NewEncoder(&want)
	encoder.SetEscapeHTML(false)
	for _, d := range all {
		if err := encoder.Encode(d); err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		if err := os.WriteFile("providers.jsonl", want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want.String() != catalog {
		t.Error("providers.jsonl is not what lego says; run: go test -run TestCatalog -update")
	}
	for _, d := range all {
		for _, name := range append(d.Aliases, d.Code) {
			_, err := dns.NewDNSChallengeProviderByName(name)
			if err != nil && strings.Contains(err.Error(), "unrecognized DNS provider") {
				t.Errorf("lego does not know the provider %q", name)
			}
		}
	}
}

// parse reads what is needed of one description, which is TOML in lego's style.
func parse(t *testing.T, file, text string) description {
	t.Helper()
	var d description
	section, long := "", false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.Count(line, "'''") == 1 || strings.Count(line, `"""`) == 1 {
			long = !long
			continue
		}
		if long || line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if key, value = strings.TrimSpace(key), strings.TrimSpace(value); !ok {
			t.Fatalf("%s: cannot read the line %q", file, line)
		}
		switch section {
		case "":
			d.set(key, value)
		case "Configuration.Credentials", "Configuration.Additional":
			d.Variables = append(d.Variables, variable{Name: key, Text: unquote(value), Credential: strings.HasSuffix(section, "Credentials")})
		}
	}
	if d.Code == "" || d.Name == "" {
		t.Fatalf("%s: no code or no name", file)
	}
	return d
}

func (d *description) set(key, value string) {
	switch key {
	case "Name":
		d.Name = unquote(value)
	case "Code":
		d.Code = unquote(value)
	case "URL":
		d.URL = unquote(value)
	case "Aliases":
		value, _, _ = strings.Cut(value, "]")
		for alias := range strings.SplitSeq(strings.TrimPrefix(value, "["), ",") {
			if alias = unquote(strings.TrimSpace(alias)); alias != "" {
				d.Aliases = append(d.Aliases, alias)
			}
		}
	}
}

func unquote(s string) string {
	if len(s) < 2 || s[0] != s[len(s)-1] {
		return s
	}
	if s[0] == '"' {
		s = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(s)
	}
	return s[1 : len(s)-1]
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, says string }{
		{"cloudflare", "CF_DNS_API_TOKEN"},
		{"rfc2136", "DNSUPDATE_TSIG_SECRET"},
		{"dnsupdate", "DNSUPDATE_TSIG_SECRET"},
		{"httpreq", "HTTPREQ_ENDPOINT"},
	} {
		var out bytes.Buffer
		if err := helpProvider(&out, c.name); err != nil || !strings.Contains(out.String(), c.says) {
			t.Errorf("help %s does not say %s: %v\n%s", c.name, c.says, err, out.String())
		}
	}
	err := helpProvider(&bytes.Buffer{}, "cloud")
	if err == nil || !strings.Contains(err.Error(), "did you mean cloud") {
		t.Errorf("help for the beginning of a provider's name: got %v, want a suggestion", err)
	}
}

// A provider that was given nothing, and looked elsewhere, tells what it could be given.
func TestBare(t *testing.T) {
	t.Parallel()
	err := errors.New("no EC2 IMDS role found")
	if got := bare("route53", err, []string{"PATH=/bin", "HOME=/"}); got == nil || !strings.Contains(got.Error(), "AWS_ACCESS_KEY_ID") {
		t.Errorf("without any variable: got %v, want the names of some", got)
	}
	if got := bare("route53", err, []string{"PATH=/bin", "AWS_PROFILE=x"}); got != err {
		t.Errorf("with a variable: got %v", got)
	}
	if got := bare("route53", nil, nil); got != nil {
		t.Errorf("without an error: got %v", got)
	}
}
