package plan

import (
	"strings"
	"testing"

	"certd/config"
)

// schemaTargets are the example of acmetool's specification of the state
// directory, section "Target ordering".
func schemaTargets() []*config.Target {
	x := func(letters string) string {
		var names []string
		for l := range strings.FieldsSeq(letters) {
			names = append(names, l+".example.com")
		}
		return strings.Join(names, " ")
	}
	return []*config.Target{
		target("Target 01", x("a b c")), target("Target 02", x("a b")), target("Target 03", x("b c")), target("Target 04", x("a c")),
		target("Target 05", x("a")), target("Target 06", x("b")), target("Target 07", x("c")),
		target("Target 08", x("c d e f")), target("Target 09", x("c d")), target("Target 10", x("c d e")),
	}
}

// owned writes who owns what: "file: names".
func owned(actions []Action) string {
	var lines []string
	for _, a := range actions {
		if len(a.Links) > 0 {
			lines = append(lines, a.Target+": "+strings.Join(a.Links, " "))
		}
	}
	return strings.Join(lines, "\n")
}

func TestOwnership(t *testing.T) {
	t.Parallel()
	priority := func(n int) func(*config.Target) { return func(t *config.Target) { t.Priority = n } }
	label := func(l string) func(*config.Target) { return func(t *config.Target) { t.Label = l } }
	raised := schemaTargets()
	raised[0].Priority = 10
	for _, tt := range []struct {
		name    string
		targets []*config.Target
		want    string
	}{
		{"acmetool's example", schemaTargets(), "Target 01: a.example.com b.example.com\nTarget 08: c.example.com d.example.com e.example.com f.example.com"},
		{"acmetool's example with a priority", raised, "Target 01: a.example.com b.example.com c.example.com\nTarget 08: d.example.com e.example.com f.example.com"},
		{"a tie goes to the first file", []*config.Target{target("y", "a.example.com"), target("x", "a.example.com")}, "x: a.example.com"},
		{"priority before size", []*config.Target{target("x", "a.example.com b.example.com"), target("y", "a.example.com", priority(1))}, "x: b.example.com\ny: a.example.com"},
		{"negative priority", []*config.Target{target("x", "a.example.com", priority(-1)), target("y", "a.example.com")}, "y: a.example.com"},
		{"labels do not contest", []*config.Target{target("ec", "a.example.com"), target("rsa", "a.example.com", label("rsa"))}, "ec: a.example.com\nrsa: a.example.com:rsa"},
		{"the same label contests", []*config.Target{target("x", "a.example.com", label("l")), target("y", "a.example.com", label("l"))}, "x: a.example.com:l"},
		{"a wildcard is a name of its own", []*config.Target{target("x", "*.example.com"), target("y", "a.example.com")}, "x: *.example.com\ny: a.example.com"},
	} {
		if got := owned(Compute(Input{Now: noon(), Targets: tt.targets})); got != tt.want {
			t.Errorf("%s:\ngot\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}

// TestUnowned: a target whose names are all others' is never ordered.
func TestUnowned(t *testing.T) {
	t.Parallel()
	in := Input{
		Now: noon(), Force: map[string]bool{"b": true, "c": true},
		Targets: []*config.Target{target("big", "a.example.com b.example.com"), target("b", "b.example.com"), target("c", "a.example.com z.example.com", func(t *config.Target) {
			t.Priority = -1
		}), target("z", "z.example.com"), target("none", "")},
	}
	for _, a := range Compute(in) {
		want := map[string]string{
			"b": "b keep: all its names belong to target big", "c": "c keep: all its names belong to 2 other targets, such as big", "none": "none keep: it has no names",
		}[a.Target]
		if want != "" && (brief(a) != want || !a.At.After(noon())) {
			t.Errorf("got %s at %v, want %s", brief(a), a.At, want)
		}
		if want == "" && a.Kind != Order {
			t.Errorf("got %s, want an order", brief(a))
		}
	}
}

// TestDual is RSA beside ECDSA for the same names.
func TestDual(t *testing.T) {
	t.Parallel()
	in := Input{
		Now: noon(),
		Targets: []*config.Target{
			target("ec", "a.example.com", func(t *config.Target) { t.Key = config.KeyType{Algorithm: "ecdsa"} }),
			target("rsa", "a.example.com", func(t *config.Target) { t.Key, t.Label = config.KeyType{Algorithm: "rsa"}, "rsa" }),
		},
		State: snapshot("a.example.com=e a.example.com:rsa=e", cert("e", "a.example.com", 0, 90*day)),
	}
	in.State.Certificates["e"].Target = "ec"
	want := []string{"ec keep cert=e: renews 2027-01-19", "rsa order new: no certificate yet"}
	for i, a := range Compute(in) {
		if brief(a) != want[i] {
			t.Errorf("got %s, want %s", brief(a), want[i])
		}
	}
	r := cert("r", "a.example.com", 0, 90*day)
	r.KeyType = "rsa-2048"
	in.State.Certificates["r"] = r
	want[1] = "rsa relink cert=r stale=a.example.com:rsa: live/a.example.com:rsa does not point to the best certificate"
	for i, a := range Compute(in) {
		if brief(a) != want[i] {
			t.Errorf("with an RSA certificate on disk: got %s, want %s", brief(a), want[i])
		}
	}
}

// TestPartlyOwned: the certificate has all the names, the links only those owned.
func TestPartlyOwned(t *testing.T) {
	t.Parallel()
	in := Input{
		Now:     noon(),
		Targets: []*config.Target{target("x", "a.example.com b.example.com c.example.com"), target("y", "b.example.com", func(t *config.Target) { t.Priority = 1 })},
		State:   snapshot("b.example.com=y1", cert("x1", "a.example.com b.example.com c.example.com", 0, 90*day), cert("y1", "b.example.com", 0, 90*day)),
	}
	want := []string{"x relink cert=x1 stale=a.example.com,c.example.com: 2 links in live/ do not point to the best certificate, such as a.example.com", "y keep cert=y1: renews 2027-01-19"}
	for i, a := range Compute(in) {
		if brief(a) != want[i] {
			t.Errorf("got %s, want %s", brief(a), want[i])
		}
	}
}
