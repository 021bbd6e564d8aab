package config

import (
	"strings"
	"testing"
)

func TestParseKeyType(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		want KeyType
		text string
	}{
		{"", KeyType{}, ""},
		{"ecdsa", KeyType{Algorithm: "ecdsa"}, "ecdsa-p256"},
		{"ecdsa-p256", KeyType{Algorithm: "ecdsa", Curve: "nistp256"}, "ecdsa-p256"},
		{"ecdsa-p384", KeyType{Algorithm: "ecdsa", Curve: "nistp384"}, "ecdsa-p384"},
		{"ecdsa-p521", KeyType{Algorithm: "ecdsa", Curve: "nistp521"}, "ecdsa-p521"},
		{"rsa", KeyType{Algorithm: "rsa"}, "rsa-2048"},
		{"rsa-2048", KeyType{Algorithm: "rsa", Bits: 2048}, "rsa-2048"},
		{"rsa-4096", KeyType{Algorithm: "rsa", Bits: 4096}, "rsa-4096"},
	} {
		got, err := ParseKeyType(tt.in)
		if err != nil || got != tt.want || got.String() != tt.text {
			t.Errorf("ParseKeyType(%q): got %+v (%q), %v; want %+v (%q)", tt.in, got, got, err, tt.want, tt.text)
		}
	}
}

func TestParseKeyTypeRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, reason string }{
		{"ed25519", "is unknown; want ecdsa"},
		{"ecdsa-p265", "did you mean ecdsa-p256?"},
		{"ECDSA", "did you mean ecdsa?"},
		{"rsa-1024", "a size from 2048 to 4096"},
		{"rsa-8192", "a size from 2048 to 4096"},
		{"rsa-02048", "a size from 2048 to 4096"},
		{"rsa-", "a size from 2048 to 4096"},
		{"rsa-99999999999999999999", "a size from 2048 to 4096"},
		{"x\ny", `"x\ny" is unknown`},
	} {
		if got, err := ParseKeyType(tt.in); err == nil || !strings.Contains(err.Error(), tt.reason) {
			t.Errorf("ParseKeyType(%q): got %v, %v; want an error with %q", tt.in, got, err, tt.reason)
		}
	}
}

func TestKeyTypeSatisfied(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		want, have string
		ok         bool
	}{
		{"", "rsa-2048", true},
		{"", "", true},
		{"ecdsa", "ecdsa-p384", true},
		{"ecdsa", "rsa-2048", false},
		{"ecdsa", "", false},
		{"ecdsa-p256", "ecdsa-p256", true},
		{"ecdsa-p256", "ecdsa-p384", false},
		{"rsa", "rsa-4096", true},
		{"rsa", "ecdsa-p256", false},
		{"rsa-2048", "rsa-2048", true},
		{"rsa-2048", "rsa-4096", false},
	} {
		k, err := ParseKeyType(tt.want)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.Satisfied(tt.have); got != tt.ok {
			t.Errorf("wanted %q, a key of type %q: got satisfied %v, want %v", tt.want, tt.have, got, tt.ok)
		}
	}
}

// TestKeyParts holds how the keys of a target file make a key type.
func TestKeyParts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		in   keyParts
		want string // as KeyType.String, "?" for not stipulated by curve or size
		fail bool
	}{
		{name: "nothing", in: keyParts{}, want: ""},
		{name: "type", in: keyParts{request: "rsa"}, want: "rsa-2048"},
		{name: "satisfy wins", in: keyParts{request: "rsa", satisfy: "ecdsa"}, want: "ecdsa-p256"},
		{name: "size of the type", in: keyParts{request: "rsa", bits: 3072, curve: "nistp384"}, want: "rsa-3072"},
		{name: "curve of the type", in: keyParts{satisfy: "ecdsa", bits: 3072, curve: "nistp384"}, want: "ecdsa-p384"},
		{name: "size alone", in: keyParts{bits: 4096}, want: "rsa-4096"},
		{name: "curve alone", in: keyParts{curve: "nistp521"}, want: "ecdsa-p521"},
		{name: "both and no type", in: keyParts{bits: 4096, curve: "nistp521"}, fail: true},
	} {
		got, err := tt.in.keyType()
		if (err != nil) != tt.fail || got.String() != tt.want {
			t.Errorf("%s: got %q, %v; want %q, failure %v", tt.name, got, err, tt.want, tt.fail)
		}
	}
}

func TestParseMethod(t *testing.T) {
	t.Parallel()
	for _, m := range []string{"", "webroot", "proxy", "redirector", "listen", "stateless", "dns", "hook"} {
		if got, err := ParseMethod(m); err != nil || got != m {
			t.Errorf("ParseMethod(%q): got %q, %v", m, got, err)
		}
	}
	for _, m := range []string{"Webroot", "http-01", "dns ", "none"} {
		if got, err := ParseMethod(m); err == nil {
			t.Errorf("ParseMethod(%q): got %q, want an error", m, got)
		}
	}
}
