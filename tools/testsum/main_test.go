package main

import (
	"strings"
	"testing"
)

func TestSummarize(t *testing.T) {
	tests := []struct {
		name   string
		in     string
		want   counts
		say    []string
		unsaid string
	}{
		{
			name: "a passing package says one line",
			in: `{"Action":"run","Package":"certd/a","Test":"TestX"}
{"Action":"output","Package":"certd/a","Test":"TestX","Output":"noise\n"}
{"Action":"pass","Package":"certd/a","Test":"TestX"}
{"Action":"pass","Package":"certd/a","Elapsed":1.5}`,
			want:   counts{passed: 1},
			say:    []string{"ok    certd/a", "1 passed, 0 failed, 0 skipped"},
			unsaid: "noise",
		},
		{
			name: "a failed test's output is shown",
			in: `{"Action":"output","Package":"certd/a","Test":"TestX","Output":"    a_test.go:9: got 1, want 2\n"}
{"Action":"fail","Package":"certd/a","Test":"TestX"}
{"Action":"fail","Package":"certd/a"}`,
			want: counts{failed: 1},
			say:  []string{"FAIL  certd/a", "got 1, want 2"},
		},
		{
			name: "a panic outside a test counts as one failure",
			in: `{"Action":"output","Package":"certd/a","Output":"panic: boom\n"}
{"Action":"fail","Package":"certd/a"}`,
			want: counts{failed: 1},
			say:  []string{"panic: boom"},
		},
		{
			name: "a build failure is shown and counted",
			in: `{"ImportPath":"certd/a","Action":"build-output","Output":"a.go:3: undefined: x\n"}
{"Action":"fail","Package":"certd/a","FailedBuild":"certd/a"}`,
			want: counts{failed: 1},
			say:  []string{"undefined: x"},
		},
		{
			name: "a skipped test tells its reason",
			in: `{"Action":"output","Package":"certd/a","Test":"TestX","Output":"    a_test.go:5: nginx is not installed\n"}
{"Action":"skip","Package":"certd/a","Test":"TestX"}
{"Action":"pass","Package":"certd/a"}`,
			want: counts{skipped: 1},
			say:  []string{"nginx is not installed"},
		},
		{
			name: "a package that never ended is a failure",
			in:   `{"Action":"run","Package":"certd/a","Test":"TestX"}`,
			want: counts{failed: 1},
			say:  []string{"FAIL  certd/a"},
		},
		{
			name: "lines that are no events are passed on",
			in:   "go: warning: something",
			say:  []string{"go: warning: something"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			got, err := summarize(strings.NewReader(tt.in), &out)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			for _, s := range tt.say {
				if !strings.Contains(out.String(), s) {
					t.Errorf("output lacks %q:\n%s", s, out.String())
				}
			}
			if tt.unsaid != "" && strings.Contains(out.String(), tt.unsaid) {
				t.Errorf("output should not contain %q:\n%s", tt.unsaid, out.String())
			}
		})
	}
}
