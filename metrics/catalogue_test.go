package metrics

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestCatalogueIsDocumented compares every family with the table of
// docs/metrics.md, both ways round: name, type and labels.
func TestCatalogueIsDocumented(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `(certd_[a-z_]+)` \\| ([gch]) \\|([^|]*)\\|")
	documented := make(map[string][2]string)
	for _, match := range row.FindAllStringSubmatch(string(data), -1) {
		documented[match[1]] = [2]string{match[2], strings.NewReplacer("`", "", " ", "").Replace(match[3])}
	}
	for _, f := range catalogue() {
		want, ok := documented[f.name]
		if !ok {
			t.Errorf("docs/metrics.md does not list %s", f.name)
			continue
		}
		delete(documented, f.name)
		if got := [2]string{string(f.kind[:1]), strings.Join(f.labels, ",")}; got != want {
			t.Errorf("%s is %v and docs/metrics.md says %v", f.name, got, want)
		}
	}
	for name := range documented {
		t.Errorf("docs/metrics.md lists %s, which does not exist", name)
	}
}

// TestCatalogueKeepsItsRules: what the names promise, and what the store needs.
func TestCatalogueKeepsItsRules(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, f := range catalogue() {
		if seen[f.name] {
			t.Errorf("%s is there twice", f.name)
		}
		seen[f.name] = true
		if (f.kind == counter) != strings.HasSuffix(f.name, "_total") {
			t.Errorf("%s is a %s; counters, and only they, end in _total", f.name, f.kind)
		}
		if f.kind != gauge && !f.kept {
			t.Errorf("%s is a %s that would start at 0 in every run", f.name, f.kind)
		}
		if (f.kind == histogram) != (len(f.buckets) > 0) || !slices.IsSorted(f.buckets) {
			t.Errorf("%s is a %s with the buckets %v", f.name, f.kind, f.buckets)
		}
		if !strings.HasSuffix(f.help, ".") {
			t.Errorf("the help of %s is no sentence: %q", f.name, f.help)
		}
	}
}

// TestBucketsAreDocumented: the bounds of the histograms are those of the table.
func TestBucketsAreDocumented(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range catalogue() {
		if f.kind != histogram {
			continue
		}
		var bounds []string
		for _, b := range f.buckets {
			bounds = append(bounds, strings.TrimPrefix(strconv.FormatFloat(b, 'g', -1, 64), "0"))
		}
		row := regexp.MustCompile("(?m)^\\|.*`" + f.name + "`.* \\| " + regexp.QuoteMeta(strings.Join(bounds, " ")) + " \\|$")
		if !row.Match(data) {
			t.Errorf("docs/metrics.md has no row with the buckets of %s: %v", f.name, bounds)
		}
	}
}
