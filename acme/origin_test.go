package acme

import (
	"net/url"
	"strings"
	"testing"
)

func TestOrigin(t *testing.T) {
	t.Parallel()
	base := "https://ca.example/dir"
	u, err := url.Parse("https://CA.example:443/dir")
	if err != nil {
		t.Fatal(err)
	}
	o := originOf(u)
	tests := []struct{ ref, want, fault string }{
		{"https://ca.example/x?y=z", "https://ca.example/x?y=z", ""},
		{"https://Ca.Example:443/a%2Fb", "https://Ca.Example:443/a%2Fb", ""},
		{"/x", "https://ca.example/x", ""},
		{"x", "https://ca.example/x", ""},
		{"", "", "missing"},
		{"http://ca.example/x", "", "not https"},
		{"HTTPS://ca.example/x", "HTTPS://ca.example/x", ""},
		{"https://other.example/x", "", "not its own origin"},
		{"//other.example/x", "", "not its own origin"},
		{"https://ca.example:8443/x", "", "not its own origin"},
		{"https://ca.example.evil/x", "", "not its own origin"},
		{"https://192.0.2.1/x", "", "not its own origin"},
		{"https://[::1]/x", "", "not its own origin"},
		{"https://ca.example@evil.example/x", "", "credentials"},
		{"https://user:pw@ca.example/x", "", "credentials"},
		{"https://ca.example/x#y", "", "fragment"},
		{"https://ca.example/x#", "", "fragment"},
		{"https://ca.example/\r\nx", "", "printable"},
		{"https://ca.example/ x", "", "printable"},
		{"https://ca.example/\u00e9", "", "printable"},
		{"https:ca.example", "", "no host"},
		{"https:///x", "", "no host"},
		{"https://ca.example:x/", "", "parsed"},
		{"javascript:alert(1)", "", "not https"},
		{"file:///etc/passwd", "", "not https"},
		{"https://ca.example/" + strings.Repeat("x", 65536), "", "more than 2048"},
		{strings.Repeat("x", 65536), "", "more than 2048"},
	}
	for _, tt := range tests {
		got, err := o.resolve("order URL", base, tt.ref)
		switch {
		case tt.fault == "" && (err != nil || got != tt.want):
			t.Errorf("%.80q resolves to %q, %v, want %q", tt.ref, got, err, tt.want)
		case tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault) || (ClassOf(err) == ClassOperator) == (tt.ref == "")):
			t.Errorf("%.80q gave %q, %v, want an error with %q for the operator", tt.ref, got, err, tt.fault)
		}
	}
	six, _ := url.Parse("https://[2001:db8::1]:8443/")
	if got := originOf(six).String(); got != "https://[2001:db8::1]:8443" {
		t.Errorf("an IPv6 origin reads %s", got)
	}
}

func FuzzURL(f *testing.F) {
	for _, seed := range []string{"https://ca.example/x", "//evil/x", "https://a@ca.example", "\\\\evil", "/x"} {
		f.Add(seed)
	}
	o := origin{host: "ca.example", port: "443"}
	f.Fuzz(func(t *testing.T, ref string) {
		got, err := o.resolve("URL", "https://ca.example/dir", ref)
		if err != nil {
			return
		}
		u, err := url.Parse(got)
		if err != nil || u.Scheme != "https" || !strings.EqualFold(u.Hostname(), "ca.example") || u.Port() != "" && u.Port() != "443" || u.User != nil {
			t.Errorf("%q resolved to %q, which is not ours", ref, got)
		}
	})
}
