package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseLimits(t *testing.T) {
	t.Parallel()
	one := []Limit{{Name: "orders", Per: PerAccount, Burst: 5, Window: 36 * time.Hour}}
	for _, tt := range []struct {
		text string
		want []Limit
	}{
		{"", nil},
		{"limits: []\n", []Limit{}},
		{"limits:\n  - name: orders\n    per: account\n    burst: 5\n    window: 36h\n", one},
	} {
		got, err := ParseLimits("my.yaml", []byte(tt.text))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: got %#v, %v; want %#v", tt.text, got, err, tt.want)
		}
	}
	_, err := ParseLimits("my.yaml", []byte("limits:\n  - {name: a, per: account, burst: -1, window: 1h}\nlimit: x\n"))
	for _, want := range []string{"my.yaml:2: limits[0].burst: ", "my.yaml:3: limit: unknown key; did you mean limits?"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func TestParseDays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"47d": 47 * 24 * time.Hour, "160h": 160 * time.Hour, "10m": 10 * time.Minute, "1h30m": 90 * time.Minute, "0d": 0,
	} {
		if got, err := ParseDays(text); err != nil || got != want {
			t.Errorf("ParseDays(%q): got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "1.5d", "-1d", "+1d", "1d12h", "99999d", "47", "soon"} {
		if got, err := ParseDays(text); err == nil {
			t.Errorf("ParseDays(%q) is accepted: %v", text, got)
		}
	}
}
