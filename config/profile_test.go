package config

import (
	"strings"
	"testing"
)

func TestProfile(t *testing.T) {
	t.Parallel()
	base, err := ParseDefault("conf/target", []byte("request: {profile: {name: tlsserver, required: false}}\n"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		data    string
		profile string
		wish    bool
		err     string // part of it
	}{
		{"", "tlsserver", true, ""},
		{"request: {profile: shortlived}", "shortlived", false, ""},
		{"request: {profile: ''}", "", false, ""},
		{"request: {profile: {name: shortlived}}", "shortlived", false, ""},
		{"request: {profile: {name: shortlived, required: yes}}", "shortlived", false, ""},
		{"request:\n  profile:\n    name: shortlived\n    required: false\n", "shortlived", true, ""},
		{"request: {profile: {required: false}}", "", false, "has no name"},
		{"request: {profile: {}}", "", false, "has no name"},
		{"request: {profile: {name: a b}}", "", false, "want one word"},
		{"request: {profile: {name: a, required: perhaps}}", "", false, "want true or false"},
		{"request: {profile: {name: a, requried: false}}", "", false, "did you mean request.profile.required"},
		{"request: {profile: [a]}", "", false, "found a list"},
		{"request: {profile: }", "", false, "has no value"},
	} {
		target, err := ParseTarget("www.example.com", []byte(tt.data), base)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: error %v, want one with %q", tt.data, err, tt.err)
			}
			continue
		}
		if err != nil || target.Profile != tt.profile || target.ProfileWish != tt.wish {
			t.Errorf("%q: %+v, %v, want profile %q, only preferred: %v", tt.data, target, err, tt.profile, tt.wish)
		}
	}
	required, preferred := *base, *base
	required.ProfileWish = false
	if required.Digest() == preferred.Digest() {
		t.Error("a profile that becomes required does not start the target afresh")
	}
}
