package state

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
)

func TestCull(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	ca := newTestCA(t)
	certs := make(map[string]string)
	for i, c := range []struct {
		name string
		days int
	}{{"live-expired", -1}, {"expired", -1}, {"good", 80}, {"revoked", 80}, {"ordered", -1}, {"odd-link", -1}, {"stale-order", -1}} {
		certs[c.name] = published(t, s, ca, fmt.Sprintf("https://ca.example/order/%d", i), day(c.days), "www.example.com")
	}
	url := func(name string) string { return snapshot(t, s).Certificates[certs[name]].URL }
	ordered, stale := testOrder("wanted"), testOrder("gone")
	ordered.URL, stale.URL = url("ordered"), url("stale-order")
	errs := []error{
		s.Link("www.example.com", certs["live-expired"]), s.SaveOrder(ordered), s.SaveOrder(stale),
		s.SaveAttempt(Attempt{Target: "wanted", Failures: 1}), s.SaveAttempt(Attempt{Target: "gone", Failures: 1}),
		os.WriteFile(s.Path("certs", certs["revoked"], "revoked"), nil, 0o644),
		os.Symlink(s.Path("certs", certs["odd-link"])+"/cert", s.Path("live", ".odd")),
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	plant(t, s, "certs/"+CertID("none")+"/x", "")
	plant(t, s, "renewal/"+certs["expired"]+".json", "{}")
	orphans := []string{"certs/" + certs["expired"], "certs/" + certs["revoked"]}
	withTargets := append(slices.Clone(orphans), "certs/"+certs["stale-order"], orderFile(stale.URL), attemptFile("gone"))
	slices.Sort(orphans)
	slices.Sort(withTargets)
	before := image(t, s.Dir(), true)
	for _, tt := range []struct {
		targets []string
		want    []string
	}{{nil, orphans}, {[]string{"wanted"}, withTargets}} {
		if got, err := s.Cull(day(0), tt.targets, true); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("dry run with targets %q: %q (%v), want %q", tt.targets, got, err, tt.want)
		}
	}
	sameImage(t, "a dry run", before, image(t, s.Dir(), true))
	if got, err := s.Cull(day(0), []string{"wanted"}, false); err != nil || !slices.Equal(got, withTargets) {
		t.Errorf("cull: %q (%v), want %q", got, err, withTargets)
	}
	after := image(t, s.Dir(), false)
	for _, name := range append(withTargets, "renewal/"+certs["expired"]+".json") {
		if _, ok := after[name]; ok {
			t.Errorf("%s is still there", name)
		}
	}
	for _, kept := range []string{"live-expired", "good", "ordered", "odd-link"} {
		if _, ok := after["certs/"+certs[kept]+"/cert"]; !ok {
			t.Errorf("certificate %s is gone", kept)
		}
	}
	if keys, err := os.ReadDir(s.Path("keys")); err != nil || len(keys) != len(certs) {
		t.Errorf("%d keys are left (%v), want all %d", len(keys), err, len(certs))
	}
	if got, err := s.Cull(day(0), []string{"wanted"}, false); err != nil || len(got) != 0 {
		t.Errorf("cull again: %q (%v)", got, err)
	}
}

// TestCullNeedsTheLock, and a directory; listing needs neither.
func TestCullNeedsTheLock(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	published(t, s, newTestCA(t), "https://ca.example/order/1", day(-1), "www.example.com")
	other, err := Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Cull(day(0), nil, false); !errors.Is(err, ErrNotLocked) {
		t.Errorf("cull without the lock: %v, want ErrNotLocked", err)
	}
	if got, err := other.Cull(day(0), nil, true); err != nil || len(got) != 1 {
		t.Errorf("dry run without the lock: %q (%v)", got, err)
	}
	none, err := Open(t.TempDir() + "/none")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := none.Cull(day(0), nil, false); err != nil || len(got) != 0 {
		t.Errorf("cull of a directory that is not there: %q (%v)", got, err)
	}
}
