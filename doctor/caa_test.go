package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// records parses CAA records of a zone file, without their owner.
func records(t *testing.T, texts ...string) []*dns.CAA {
	t.Helper()
	var out []*dns.CAA
	for _, text := range texts {
		rr, err := dns.NewRR("example.test. 60 IN CAA " + text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rr.(*dns.CAA))
	}
	return out
}

// TestAllows: who may issue by RFC 8659 §4 and RFC 8657.
func TestAllows(t *testing.T) {
	t.Parallel()
	const account = "https://ca.test/acct/1"
	for _, tt := range []struct {
		about    string
		records  []string
		wildcard bool
		want     string // part of the reason; empty if it may
	}{
		{"the CA is named", []string{`0 issue "ca.test"`}, false, ""},
		{"case and blanks do not matter", []string{`0 ISSUE " CA.Test "`}, false, ""},
		{"one of several names it", []string{`0 issue "other.test"`, `0 issue "ca.test"`}, false, ""},
		{"another CA", []string{`0 issue "other.test"`}, false, "another CA"},
		{"a longer name is another one", []string{`0 issue "ca.test.evil.test"`}, false, "another CA"},
		{"nobody", []string{`0 issue ";"`}, false, "nobody may"},
		{"an empty value", []string{`0 issue ""`}, false, "nobody may"},
		{"only an address for reports", []string{`0 iodef "mailto:a@example.test"`}, false, ""},
		{"unknown property", []string{`0 tbs "x"`}, false, ""},
		{"unknown critical property", []string{`128 tbs "x"`, `0 issue "ca.test"`}, false, `"tbs" is critical`},
		{"known critical property", []string{`128 issue "ca.test"`}, false, ""},
		{"issuewild says nothing of a host", []string{`0 issuewild ";"`}, false, ""},
		{"issuewild is for wildcards", []string{`0 issue "ca.test"`, `0 issuewild ";"`}, true, "nobody may"},
		{"issue is for wildcards without issuewild", []string{`0 issue "other.test"`}, true, "another CA"},
		{"issuewild alone lets a wildcard", []string{`0 issue ";"`, `0 issuewild "ca.test"`}, true, ""},
		{"our account", []string{`0 issue "ca.test; accounturi=` + account + `"`}, false, ""},
		{"another account", []string{`0 issue "ca.test; accounturi=https://ca.test/acct/12"`}, false, "another account"},
		{"http-01 among the methods", []string{`0 issue "ca.test; validationmethods=dns-01,http-01"`}, false, ""},
		{"our account, twice", []string{`0 issue "ca.test; accounturi=` + account + `; AccountURI=` + account + `"`}, false, "comes twice"},
		{"methods in two parts", []string{`0 issue "ca.test; validationmethods=http-01; validationmethods=dns-01"`}, false, "comes twice"},
		{"a value with a blank", []string{`0 issue "ca.test; validationmethods=dns-01, http-01"`}, false, "malformed"},
		{"http-01 not among the methods", []string{`0 issue "ca.test;validationmethods=dns-01"`}, false, "not by http-01"},
		{"malformed parameters", []string{`0 issue "ca.test; nonsense"`}, false, "malformed"},
		{"an unknown parameter", []string{`0 issue "ca.test; policy=ev;"`}, false, ""},
	} {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			err := policy{"example.test", records(t, tt.records...)}.allows([]string{"old.test", "ca.test"}, tt.wildcard, account, []string{"http-01"})
			if tt.want == "" && err != nil {
				t.Errorf("%v: refused: %v", tt.records, err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v: %v, want %q", tt.records, err, tt.want)
			}
		})
	}
	if err := (policy{"x", records(t, `0 issue "ca.test; accounturi=a"`)}).allows([]string{"ca.test"}, false, "", nil); err == nil || !strings.Contains(err.Error(), "none yet") {
		t.Errorf("bound to an account while there is none: %v", err)
	}
	if err := (policy{"x", records(t, `0 issue "ca.test"`)}).allows(nil, false, "", nil); !errors.Is(err, errUnsaid) {
		t.Errorf("a CA that does not say its name: %v, want errUnsaid", err)
	}
}

// TestLookUp: the climb to the root, aliases, and their bounds.
func TestLookUp(t *testing.T) {
	t.Parallel()
	zone := map[string][]string{
		"example.test.":       {`example.test. CAA 0 issue "top.test"`},
		"alias.example.test.": {"alias.example.test. CNAME target.other.test."},
		"target.other.test.":  {`target.other.test. CAA 0 issue "target.test"`},
		"bare.example.test.":  {"bare.example.test. CNAME nothing.other.test."},
		"other.test.":         {`other.test. CAA 0 issue "wrong.test"`},
		"full.example.test.":  {"full.example.test. CNAME b.test.", `b.test. CAA 0 issue "b.test"`, `x.test. CAA 0 issue "stray.test"`},
		"loop.example.test.":  {"loop.example.test. CNAME loop2.example.test."},
		"loop2.example.test.": {"loop2.example.test. CNAME loop.example.test."},
	}
	for i := range maxRecords + 1 {
		zone["many.example.test."] = append(zone["many.example.test."], fmt.Sprintf(`many.example.test. CAA 0 issue "ca%d.test"`, i))
	}
	asked := 0
	ask := func(_ context.Context, name string) (*dns.Msg, error) {
		asked++
		if strings.HasPrefix(name, "broken.") {
			return nil, errors.New("the DNS server answered SERVFAIL")
		}
		m := new(dns.Msg)
		for _, text := range zone[dns.CanonicalName(name)] {
			rr, err := dns.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		return m, nil
	}
	for _, tt := range []struct{ name, want string }{
		{"www.shop.example.test", "example.test top.test"},
		{"alias.example.test", "alias.example.test target.test"},
		{"bare.example.test", "example.test top.test"}, // the climb is not that of the target
		{"full.example.test", "full.example.test b.test"},
		{"www.none.invalid", ""},
		{"loop.example.test", "error: more than 8 aliases"},
		{"many.example.test", "error: more than 100 records"},
		{"www.broken.example.test", "error: SERVFAIL"},
	} {
		asked = 0
		p, err := lookUp(t.Context(), ask, tt.name)
		got := ""
		if len(p.records) > 0 {
			got = p.owner + " " + p.records[0].Value
		}
		if part, fails := strings.CutPrefix(tt.want, "error: "); fails {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q, %v; want an error with %q", tt.name, got, err, part)
			}
		} else if got != tt.want || err != nil {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
		if asked > 20 {
			t.Errorf("%s: asked %d times", tt.name, asked)
		}
	}
}

// FuzzCAA: no answer of a DNS server makes the doctor panic, loop, or print what
// is not printable, and no answer lets a CA issue that no record names.
func FuzzCAA(f *testing.F) {
	for _, texts := range [][]string{
		{`example.test. CAA 0 issue "ca.test; accounturi=x; validationmethods=http-01"`},
		{"example.test. CNAME example.test."},
		{"example.test. CNAME a.test.", `a.test. CAA 128 issuewild ";"`},
		{`example.test. CAA 255 tbs "\000\255"`},
	} {
		m := new(dns.Msg)
		m.SetQuestion("example.test.", dns.TypeCAA)
		for _, text := range texts {
			rr, err := dns.NewRR(text)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire, false)
	}
	f.Fuzz(func(t *testing.T, wire []byte, wildcard bool) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		asked := 0
		found, err := lookUp(t.Context(), func(context.Context, string) (*dns.Msg, error) { asked++; return m, nil }, "example.test")
		if asked > 2*maxAliases {
			t.Fatalf("asked %d times", asked)
		}
		if err != nil {
			return
		}
		err = found.allows([]string{"ca.test"}, wildcard, "acct", []string{"http-01"})
		if err == nil {
			for _, rr := range found.records {
				tag := strings.ToLower(rr.Tag)
				if tag == "issue" && !wildcard && !anyNames(found.records, "issue") || tag == "issuewild" && wildcard && !anyNames(found.records, "issuewild") {
					t.Fatalf("may issue although no record names the CA: %v", found.records)
				}
			}
			return
		}
		if text := finding("caa", "", Failure, err.Error(), "").Detail; strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Fatalf("not printable: %q", text)
		}
	})
}

// anyNames reports whether a record with this tag has the CA's name in it.
func anyNames(records []*dns.CAA, tag string) bool {
	for _, rr := range records {
		if strings.EqualFold(rr.Tag, tag) && strings.Contains(strings.ToLower(rr.Value), "ca.test") {
			return true
		}
	}
	return false
}
