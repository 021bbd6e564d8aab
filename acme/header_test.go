package acme

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		values []string
		want   time.Duration
		ok     bool
	}{
		{nil, 0, false},
		{[]string{""}, 0, false},
		{[]string{"0"}, 0, true},
		{[]string{" 120 "}, 2 * time.Minute, true},
		{[]string{"-5"}, 0, true},
		{[]string{"1.5"}, 2 * time.Second, true},
		{[]string{"1.0"}, time.Second, true},
		{[]string{"1.x"}, 0, false},
		{[]string{".5"}, 0, false},
		{[]string{"+5"}, 0, false},
		{[]string{"0x10"}, 0, false},
		{[]string{"99999999999"}, math.MaxInt64, true},
		{[]string{"9223372036854775807"}, math.MaxInt64, true},
		{[]string{strings.Repeat("9", 1000)}, math.MaxInt64, true},
		{[]string{"Fri, 20 Nov 2026 12:00:30 GMT"}, 30 * time.Second, true},
		{[]string{"Friday, 20-Nov-26 12:00:30 GMT"}, 30 * time.Second, true},
		{[]string{"Fri Nov 20 12:00:30 2026"}, 30 * time.Second, true},
		{[]string{"Fri, 20 Nov 2020 12:00:30 GMT"}, 0, true},
		{[]string{"Fri, 31 Dec 9999 23:59:59 GMT"}, math.MaxInt64, true},
		{[]string{"tomorrow"}, 0, false},
		{[]string{"5", "60"}, time.Minute, true},
		{[]string{"60", "x"}, time.Minute, true},
	}
	for _, tt := range tests {
		got, ok := retryAfter(http.Header{"Retry-After": tt.values}, now)
		if got != tt.want || ok != tt.ok {
			t.Errorf("Retry-After %.40q means %v, %v, want %v, %v", tt.values, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"0", "-1", "1.5", "9223372036854775807", "Fri, 20 Nov 2026 12:00:30 GMT"} {
		f.Add(seed, int64(0))
	}
	f.Fuzz(func(t *testing.T, v string, now int64) {
		d, ok := retryAfter(http.Header{"Retry-After": {v}}, time.Unix(now%1e11, 0))
		if d < 0 || !ok && d != 0 {
			t.Errorf("Retry-After %q means %v, %v; waits are never negative", v, d, ok)
		}
	})
}

func TestLinks(t *testing.T) {
	t.Parallel()
	tests := []struct {
		values []string
		want   []string
	}{
		{nil, nil},
		{[]string{`<https://ca/1>;rel="alternate"`}, []string{"https://ca/1"}},
		{[]string{`<https://ca/1>; rel=alternate`}, []string{"https://ca/1"}},
		{[]string{`<https://ca/1>;rel="up"`, `<https://ca/2>;rel="alternate"`}, []string{"https://ca/2"}},
		{[]string{`<https://ca/1>;rel="up", <https://ca/2;x,y>;title="a,b;c\"d";REL="Alternate up"`}, []string{"https://ca/2;x,y"}},
		{[]string{`<https://ca/1>;rel="alternate";rel="up"`}, []string{"https://ca/1"}},
		{[]string{`<https://ca/1>;rel="up";rel="alternate"`}, nil},
		{[]string{`,, <https://ca/1> ; a ; rel = "alternate" ,`}, []string{"https://ca/1"}},
		{[]string{`https://ca/1;rel="alternate"`, `<https://ca/1;rel=alternate`, `<>;rel=alternate`, `<x>junk;rel=alternate`, `<x>;rel="alternat`}, nil},
		{slices.Repeat([]string{`<https://ca/1>;rel="alternate"`}, 1000), slices.Repeat([]string{"https://ca/1"}, maxLinks)},
	}
	for _, tt := range tests {
		if got := links(http.Header{"Link": tt.values}, "alternate"); !slices.Equal(got, tt.want) {
			t.Errorf("alternates of %.100q are %q, want %q", tt.values, got, tt.want)
		}
	}
}

func FuzzLink(f *testing.F) {
	for _, seed := range []string{`<a>;rel="next"`, `<a>;x="\`, `<a>;rel=next,<b>;rel=next`, `<a>;;=,`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, v string) {
		for _, target := range links(http.Header{"Link": {v}}, "next") {
			if !strings.Contains(v, "<"+target+">") {
				t.Errorf("Link %q gave %q, which is not in it", v, target)
			}
		}
	})
}
