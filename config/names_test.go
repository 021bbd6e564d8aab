package config

import (
	"crypto/x509"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
)

// name253 is the longest name there is: 253 bytes in labels of at most 63.
func name253() string {
	l := strings.Repeat("a", 63)
	return l + "." + l + "." + l + "." + strings.Repeat("a", 57) + ".com"
}

func TestParseName(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"www.example.com", "www.example.com"},
		{"WWW.Example.COM", "www.example.com"},
		{"example.com.", "example.com"},
		{"*.example.com", "*.example.com"},
		{"*.Example.com.", "*.example.com"},
		{"*.github.io", "*.github.io"},
		{"github.io", "github.io"},
		{"foo.co.uk", "foo.co.uk"},
		{"*.foo.co.uk", "*.foo.co.uk"},
		{"www.ck", "www.ck"},
		{"www.test", "www.test"},
		{"a.internal", "a.internal"},
		{"host.local", "host.local"},
		{"1.example.com", "1.example.com"},
		{"1-2.3com", "1-2.3com"},
		{"a-b--c.example.com", "a-b--c.example.com"},
		{"bücher.example", "xn--bcher-kva.example"},
		{"BÜCHER.example", "xn--bcher-kva.example"},
		{"bu\u0308cher.example", "xn--bcher-kva.example"}, // decomposed
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"XN--Bcher-KVA.example", "xn--bcher-kva.example"},
		{"straße.example", "xn--strae-oqa.example"},
		{"*.bücher.example", "*.xn--bcher-kva.example"},
		{"例え。テスト", "xn--r8jz45g.xn--zckzah"},
		{"www.例え.jp", "www.xn--r8jz45g.jp"},
		{"пример.рф", "xn--e1afmkfd.xn--p1ai"},
		{"xn--exmple-4nf.com", "xn--exmple-4nf.com"}, // mixed scripts, written on purpose
		{name253(), name253()},
		{name253() + ".", name253()},
		{strings.Repeat("b", 63) + ".example.com", strings.Repeat("b", 63) + ".example.com"},
		{"192.0.2.1", "192.0.2.1"},
		{"127.0.0.1", "127.0.0.1"},
		{"2001:DB8:0:0::1", "2001:db8::1"},
		{"::1", "::1"},
	} {
		got, err := ParseName(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("ParseName(%q): got %q, %v; want %q", tt.in, got, err, tt.want)
		}
		checkAccepted(t, got)
	}
}

// A refusal is a name and part of the reason why it is refused; without a
// reason it may be accepted.
type refusal struct{ in, reason string }

func TestParseNameRefuses(t *testing.T) {
	t.Parallel()
	refuses(t, []refusal{
		{"", "is empty"},
		{".", "begins with \".\""},
		{"../x", "has '/' in it: it is a path or a URL"},
		{"..", "begins with \".\""},
		{"a/b.example.com", "has '/' in it"},
		{`a\b.example.com`, `has '\\' in it`},
		{"https://example.com", "has '/' in it"},
		{"a..b", "has an empty label"},
		{"example.com..", "has an empty label"},
		{"example\x00.com", "control character U+0000"},
		{"example.com\n", "control character U+000A"},
		{"example.com\r", "control character U+000D"},
		{"\x7f.example.com", "control character U+007F"},
		{"exa mple.com", "white space"},
		{"exa\u00a0mple.com", "white space"},
		{"-x.example.com", "begins with \"-\""},
		{"--force", "begins with \"-\""},
		{".example.com", "begins with \".\""},
		{"a.-x.com", "label \"-x\" begins or ends with \"-\""},
		{"x-.example.com", "label \"x-\" begins or ends with \"-\""},
	})
}

func TestParseNameRefusesWhatNobodyOwns(t *testing.T) {
	t.Parallel()
	refuses(t, []refusal{
		{strings.Repeat("a", 64) + ".example.com", "is 64 bytes long; a label has at most 63"},
		{"a" + name253(), "is 64 bytes long"},
		{strings.TrimSuffix(name253(), ".com") + "a.com", "is 254 bytes long; a name has at most 253"},
		{"*." + name253(), "is 255 bytes long"},
		{strings.Repeat("a.", 600) + "com", "is 1203 bytes long"},
		{"*", "stands for a whole first label only"},
		{"*.com", "at least two labels follow"},
		{"*.test", "at least two labels follow"},
		{"*.co.uk", "wildcard of the public suffix co.uk"},
		{"foo.*.com", "stands for a whole first label only"},
		{"*.*.example.com", "stands for a whole first label only"},
		{"f*.example.com", "stands for a whole first label only"},
		{"*example.com", "stands for a whole first label only"},
		{"**.example.com", "stands for a whole first label only"},
		{"co.uk", "is a public suffix"},
		{"foo.ck", "is a public suffix"},
		{"in-addr.arpa", "is a public suffix"},
		{"com", "single label"},
		{"localhost", "single label"},
		{"test", "single label"},
	})
}

func TestParseNameRefusesAddressesAndTwins(t *testing.T) {
	t.Parallel()
	refuses(t, []refusal{
		{"example.1", "ends in the number"},
		{"1.2.3", "ends in the number"},
		{"1.2.3.4.", "ends in the number \"4\", yet it is no IP address"},
		{"1.2.3.4.5", "ends in the number"},
		{"01.2.3.4", "ends in the number"},
		{"256.1.1.1", "ends in the number"},
		{"127.0.0.0x1", "ends in the number"},
		{"１２７.0.0.1", "ends in the number"},
		{"a_b.example.com", "has \"_\", which certificates may not have"},
		{"_acme-challenge.example.com", "has \"_\""},
		{"ab--c.example.com", "reserved form"},
		{"exam%2eple.com", "has the character '%'"},
		{"user@example.com", "has the character '@'"},
		{"example.com:443", "has a colon but is no IPv6 address"},
		{"[::1]", "has brackets"},
		{"[::1]:443", "has brackets"},
		{"fe80::1%eth0", "has a zone"},
		{"::ffff:192.0.2.1", "write 192.0.2.1"},
		{"0.0.0.0", "is no address of one host"},
		{"::", "is no address of one host"},
		{"224.0.0.1", "is no address of one host"},
		{"ff02::1", "is no address of one host"},
		{"xn--example-.com", "internationalised"},
		{"xn--abc-.com", "internationalised"},
		{"xn--a.example.com", "internationalised"},
		{"xn--.example.com", "has an empty label"},
		{"ex\u0430mple.com", "mixes Latin and Cyrillic letters; if it is meant, write xn--exmple-4nf"},
		{"exampl\u03b5.com", "mixes Latin and Greek"},
		{"exam\u00adple.com", "invisible character U+00AD"},
		{"exam\u200bple.com", "invisible character U+200B"},
		{"\ufeffexample.com", "invisible character U+FEFF"},
		{"a\u2024b.com", "internationalised"},
		{"a\uff0fb.example.com", "internationalised"},
		{"\uff0a.example.com", "internationalised"},
		{"a\xff.example.com", "is not UTF-8"},
		{"💩.example.com", ""},
	})
}

// refuses checks that names are refused for their reasons.
func refuses(t *testing.T, table []refusal) {
	t.Helper()
	for _, tt := range table {
		got, err := ParseName(tt.in)
		switch {
		case err == nil && tt.reason == "":
			checkAccepted(t, got)
		case err == nil:
			t.Errorf("ParseName(%q) accepts it as %q, want it refused: %s", tt.in, got, tt.reason)
		case !strings.Contains(err.Error(), tt.reason):
			t.Errorf("ParseName(%q): got %q, want a reason with %q", tt.in, err, tt.reason)
		case strings.ContainsAny(err.Error(), "\x00\r\n") || len(err.Error()) > 300:
			t.Errorf("ParseName(%q): reason %q is not one short line", tt.in, err)
		}
	}
}

// checkAccepted checks what holds for every accepted name.
func checkAccepted(t *testing.T, name string) {
	t.Helper()
	again, err := ParseName(name)
	if err != nil || again != name {
		t.Errorf("ParseName(%q) of its own result: got %q, %v", name, again, err)
	}
	if filepath.Base(name) != name || !filepath.IsLocal(name) || strings.HasPrefix(name, ".") || len(name) > 253 {
		t.Errorf("%q is no file name of one plain component", name)
	}
	cert, host := &x509.Certificate{DNSNames: []string{name}}, name
	if addr, err := netip.ParseAddr(name); err == nil {
		cert, host = &x509.Certificate{IPAddresses: []net.IP{addr.AsSlice()}}, "["+name+"]"
	} else if rest, ok := strings.CutPrefix(name, "*."); ok {
		host = "a." + rest
	}
	if err := cert.VerifyHostname(host); err != nil {
		t.Errorf("a certificate for %q does not verify for %q: %v", name, host, err)
	}
}

// TestParseNameProperties builds names of pieces that are near the border.
func TestParseNameProperties(t *testing.T) {
	t.Parallel()
	pieces := []string{
		"a", "www", "example", "com", "co", "uk", "io", "github", ".", ".", ".", "*", "*.", "-", "--", "xn--", "xn--bcher-kva",
		"ü", "ß", "а", "例", "。", "1", "0x1", ":", "::1", "%", "/", "..", "\u200d", "\u0308", "A", "_", strings.Repeat("l", 60),
	}
	rng := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for range 50000 {
		var b strings.Builder
		for range 1 + rng.IntN(8) {
			b.WriteString(pieces[rng.IntN(len(pieces))])
		}
		if got, err := ParseName(b.String()); err == nil {
			accepted++
			checkAccepted(t, got)
		}
	}
	if accepted < 500 {
		t.Errorf("only %d of 50000 names were accepted: the test tests nothing", accepted)
	}
}

func FuzzParseName(f *testing.F) {
	for _, seed := range []string{
		"example.com", "*.example.com.", "bücher.example", "xn--bcher-kva.example", "192.0.2.1", "2001:db8::1", "../x", "a..b",
		"*.co.uk", "ex\u0430mple.com", "fe80::1%eth0", "1.2.3.4.", "例え。テスト", "\u212a.example", "a\u0000b.com", name253(),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := ParseName(s); err == nil {
			checkAccepted(t, got)
		}
	})
}

func BenchmarkParseName(b *testing.B) {
	for b.Loop() {
		if _, err := ParseName("www.example.com"); err != nil {
			b.Fatal(err)
		}
	}
}

func TestSplitLive(t *testing.T) {
	t.Parallel()
	for link, want := range map[string][2]string{
		"www.example.com":     {"www.example.com", ""},
		"www.example.com:rsa": {"www.example.com", "rsa"},
		"*.example.com:rsa":   {"*.example.com", "rsa"},
		"192.0.2.1:rsa":       {"192.0.2.1", "rsa"},
		"2001:db8::1":         {"2001:db8::1", ""},
	} {
		if name, label := SplitLive(link); name != want[0] || label != want[1] {
			t.Errorf("%s: %q and %q, want %q", link, name, label, want)
		}
	}
}
