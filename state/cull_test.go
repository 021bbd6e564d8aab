package state

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
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
		if got, err := culled(s, Culling{Now: day(0), Targets: tt.targets, DryRun: true}); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("dry run with targets %q: %q (%v), want %q", tt.targets, got, err, tt.want)
		}
	}
	sameImage(t, "a dry run", before, image(t, s.Dir(), true))
	if got, err := culled(s, Culling{Now: day(0), Targets: []string{"wanted"}}); err != nil || !slices.Equal(got, withTargets) {
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
	if got, err := culled(s, Culling{Now: day(0), Targets: []string{"wanted"}}); err != nil || len(got) != 0 {
		t.Errorf("cull again: %q (%v)", got, err)
	}
}

// culled returns the paths that Cull takes.
func culled(s *Store, c Culling) ([]string, error) {
	items, err := s.Cull(c)
	var paths []string
	for _, item := range items {
		if item.Why == "" {
			err = errors.Join(err, errors.New(item.Path+" goes without a reason"))
		}
		paths = append(paths, item.Path)
	}
	return paths, err
}

// TestCullLinks: a link of a name that is not wanted goes once its certificate has
// expired, or on demand; the certificate with it if it has expired.
func TestCullLinks(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	ca := newTestCA(t)
	var errs []error
	ids := make(map[string]string)
	for name, days := range map[string]int{"wanted-old": -1, "old": -1, "good": 80, "wanted-good": 80} {
		ids[name] = published(t, s, ca, "https://ca.example/"+name, day(days), name)
		errs = append(errs, s.Link(name, ids[name]))
	}
	errs = append(errs, s.Link("old:rsa", ids["old"]), os.Symlink("nowhere", s.Path("live", "odd")))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	wanted := map[string]bool{"wanted-old": true, "wanted-good": true}
	steps := []struct {
		name string
		c    Culling
		want []string
	}{
		{"nobody knows what is wanted", Culling{DryRun: true}, nil},
		{"as usual", Culling{Live: wanted, DryRun: true}, []string{"certs/" + ids["old"], "live/old", "live/old:rsa"}},
		{"with good ones", Culling{Live: wanted, Unwanted: true, DryRun: true}, []string{"certs/" + ids["old"], "live/good", "live/old", "live/old:rsa"}},
		{"with good ones, really", Culling{Live: wanted, Unwanted: true}, []string{"certs/" + ids["old"], "live/good", "live/old", "live/old:rsa"}},
		{"nothing is left", Culling{Live: wanted, Unwanted: true}, nil},
	}
	for _, st := range steps {
		st.c.Now = day(0)
		if got, err := culled(s, st.c); err != nil || !slices.Equal(got, st.want) {
			t.Errorf("%s: %q (%v), want %q", st.name, got, err, st.want)
		}
	}
	snap := snapshot(t, s)
	if len(snap.Live) != 2 || snap.Live["wanted-old"] == "" || snap.Certificates[ids["good"]] == nil {
		t.Errorf("live links %v and %d certificates are left", snap.Live, len(snap.Certificates))
	}
}

// TestCullKeys: a key goes that nothing refers to and that is not young.
func TestCullKeys(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	ca := newTestCA(t)
	keys := make(map[string]string)
	for _, name := range []string{"ordered", "intended", "staged", "named", "orphan", "staged-gone", "young"} {
		id, err := s.SaveKey(newKey(t))
		if err != nil {
			t.Fatal(err)
		}
		keys[name] = id
	}
	good := published(t, s, ca, "https://ca.example/good", day(80), "a.example.com")
	expired := published(t, s, ca, "https://ca.example/expired", day(-1), "a.example.com")
	keys["good"], keys["expired"] = snapshot(t, s).Certificates[good].KeyID, snapshot(t, s).Certificates[expired].KeyID
	ordered, intended := testOrder("wanted"), testOrder("wanted")
	ordered.URL, ordered.KeyID = "https://ca.example/ordered", keys["ordered"]
	intended.URL, intended.KeyID = "", keys["intended"]
	err := errors.Join(s.SaveOrder(ordered), s.OpenOrder(intended),
		s.SaveStaged(Staged{Target: "wanted", KeyID: keys["staged"]}), s.SaveStaged(Staged{Target: "gone", KeyID: keys["staged-gone"]}))
	for name, id := range keys {
		if name != "young" {
			err = errors.Join(err, os.Chtimes(s.Path("keys", id, "privkey"), day(-40), day(-40)))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	plant(t, s, "keys/notes", "x")
	plant(t, s, "keys/mine/privkey", "x")
	c := Culling{Now: day(0), Targets: []string{"wanted"}, Keys: map[string]bool{keys["named"]: true}}
	want := []string{"certs/" + expired, "keys/" + keys["expired"], "keys/" + keys["orphan"], "keys/" + keys["staged-gone"], "staged/gone.json"}
	slices.Sort(want)
	unknown := c
	unknown.Keys, unknown.DryRun = nil, true
	if got, err := culled(s, unknown); err != nil || len(got) != 2 {
		t.Errorf("where targets cannot be read: %q (%v), want only the certificate and the note", got, err)
	}
	plant(t, s, "orders/broken.json", "{")
	if got, err := culled(s, c); err != nil || slices.Contains(got, "keys/"+keys["orphan"]) {
		t.Errorf("with a broken order: %q (%v), want no key in it", got, err)
	}
	if err := os.Remove(s.Path("orders", "broken.json")); err != nil {
		t.Fatal(err)
	}
	want = slices.DeleteFunc(want, func(p string) bool { return p == "certs/"+expired || p == "staged/gone.json" })
	if got, err := culled(s, c); err != nil || !slices.Equal(got, want) {
		t.Errorf("cull: %q (%v), want %q", got, err, want)
	}
	left, err := os.ReadDir(s.Path("keys"))
	if err != nil || len(left) != 8 {
		t.Errorf("%d entries are left in keys/ (%v), want 6 keys and 2 that are none of ours", len(left), err)
	}
}

// TestCullRetired: what a rollover or a deactivation has put away goes; what
// others hide stays.
func TestCullRetired(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	a := registered(t, s)
	if err := s.BeginRollover(a, newKey(t)); err != nil {
		t.Fatal(err)
	}
	now, err := s.FinishRollover(a)
	if err != nil {
		t.Fatal(err)
	}
	server, keyID, _ := strings.Cut(a.ID, "/")
	plant(t, s, "accounts/"+server+"/.mine/privkey", "x")
	plant(t, s, "accounts/"+server+"/"+retired+"mine/privkey", "x")
	got, err := culled(s, Culling{Now: day(0)})
	if err != nil || !slices.Equal(got, []string{"accounts/" + server + "/" + retired + keyID}) {
		t.Errorf("cull: %q (%v), want the old key alone", got, err)
	}
	if again, err := s.Account(testDirectory); err != nil || again.ID != now.ID {
		t.Errorf("then the account is %+v (%v)", again, err)
	}
}

// TestCullKeepsWhatIsToBeRevoked until it is, or expires.
func TestCullKeepsWhatIsToBeRevoked(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	id := published(t, s, newTestCA(t), "https://ca.example/1", day(80), "a.example.com")
	if err := s.MarkRevoke(id, "superseded"); err != nil {
		t.Fatal(err)
	}
	if got, err := culled(s, Culling{Now: day(0)}); err != nil || len(got) != 0 {
		t.Errorf("before the CA has revoked it: %q (%v), want nothing", got, err)
	}
	if err := s.MarkRevoked(id, "superseded"); err != nil {
		t.Fatal(err)
	}
	if got, err := culled(s, Culling{Now: day(0)}); err != nil || len(got) != 1 {
		t.Errorf("after: %q (%v), want the certificate", got, err)
	}
}

// TestCullKeepsWhatWasRevoked until what serves in its place is a newer one.
func TestCullKeepsWhatWasRevoked(t *testing.T) {
	t.Parallel()
	s, ca := lockedStore(t), newTestCA(t)
	var ids []string
	for i := range 3 {
		ids = append(ids, published(t, s, ca, fmt.Sprintf("https://ca.example/%d", i), day(80+i), "a.example.com"))
	}
	older, revoked, newer := ids[0], ids[1], ids[2]
	if err := errors.Join(s.MarkRevoke(revoked, "superseded"), s.MarkRevoked(revoked, "superseded")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		live, what string
		now        int
		want       []string
	}{
		{older, "the one before it", 0, nil},
		{older, "the one before it, which has expired", 81, []string{"certs/" + revoked}},
		{newer, "another", 0, []string{"certs/" + revoked}},
	} {
		if err := s.Link("a.example.com", tt.live); err != nil {
			t.Fatal(err)
		}
		got, err := culled(s, Culling{Now: day(tt.now), DryRun: true})
		if slices.Contains(got, "certs/"+revoked) != (tt.want != nil) || err != nil {
			t.Errorf("with %s live: %q (%v), want %q", tt.what, got, err, tt.want)
		}
	}
	if err := errors.Join(s.Link("a.example.com", older), s.SetAside(revoked, true)); err != nil {
		t.Fatal(err)
	}
	if got, err := culled(s, Culling{Now: day(0)}); err != nil || !slices.Equal(got, []string{"certs/" + revoked}) {
		t.Errorf("set aside by a rollback: %q (%v), want the revoked one", got, err)
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
	if _, err := other.Cull(Culling{Now: day(0)}); !errors.Is(err, ErrNotLocked) {
		t.Errorf("cull without the lock: %v, want ErrNotLocked", err)
	}
	if got, err := other.Cull(Culling{Now: day(0), DryRun: true}); err != nil || len(got) != 1 {
		t.Errorf("dry run without the lock: %v (%v)", got, err)
	}
	none, err := Open(t.TempDir() + "/none")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := none.Cull(Culling{Now: day(0)}); err != nil || len(got) != 0 {
		t.Errorf("cull of a directory that is not there: %v (%v)", got, err)
	}
}

// TestCullOrphanedRenewals: acmetool, or somebody by hand, has removed certificates.
func TestCullOrphanedRenewals(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	kept := published(t, s, newTestCA(t), "https://ca.example/order/1", day(80), "www.example.com")
	gone := "renewal/" + CertID("https://ca.example/order/0") + ".json"
	for _, name := range []string{"renewal/" + kept + ".json", gone, "renewal/notes.txt"} {
		plant(t, s, name, "{}")
	}
	if got, err := culled(s, Culling{Now: day(0)}); err != nil || !slices.Equal(got, []string{gone}) {
		t.Errorf("cull: %q (%v), want %q", got, err, gone)
	}
}
