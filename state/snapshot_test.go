package state

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"certd/acme"
)

// plant puts something into the state directory as another program would.
func plant(t testing.TB, s *Store, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(s.Path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Path(name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func symlink(t testing.TB, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// TestBrokenEntriesHideNothing: each of many broken and foreign entries is listed
// under its path, and what is sound is found all the same. Nothing is changed.
func TestBrokenEntriesHideNothing(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	ca := newTestCA(t)
	good := published(t, s, ca, "https://ca.example/order/good", day(80), "www.example.com")
	if err := s.Link("www.example.com", good); err != nil {
		t.Fatal(err)
	}
	bad := func(i int) string {
		return published(t, s, ca, fmt.Sprintf("https://ca.example/order/%d", i), day(80), "www.example.com")
	}
	id := bad(1)
	os.Remove(s.Path("certs", id, "cert"))
	syscall.Mkfifo(s.Path("certs", id, "cert"), 0o644)
	absolute := bad(2)
	os.Remove(s.Path("certs", absolute, "privkey"))
	symlink(t, "/etc/ssl/private/key.pem", s.Path("certs", absolute, "privkey"))
	escaping := bad(3)
	os.Remove(s.Path("certs", escaping, "account"))
	symlink(t, "../../../x", s.Path("certs", escaping, "account"))
	renamed := CertID("https://ca.example/order/none")
	if err := os.Rename(s.Path("certs", bad(4)), s.Path("certs", renamed)); err != nil {
		t.Fatal(err)
	}
	linked := bad(5)
	os.Remove(s.Path("certs", linked, "url"))
	symlink(t, "/etc/hostname", s.Path("certs", linked, "url"))
	empty := CertID("https://ca.example/order/empty")
	for _, name := range []string{"certs/README", "certs/selfsigned-x/selfsigned", "certs/.hidden/url", "certs/" + empty + "/x",
		"orders/x.json", "orders/README", "orders/.hidden.json", "attempts/t.json", "pending/e.json", "live/file", "live/dir/x", "live/.hidden"} {
		plant(t, s, name, "{}")
	}
	symlink(t, "/etc/ssl", s.Path("live", "absolute"))
	symlink(t, "../../x", s.Path("live", "escaping"))
	symlink(t, "../certs/"+CertID("none"), s.Path("live", "dangling"))
	symlink(t, "../keys", s.Path("live", "keys"))
	symlink(t, "../certs/"+good, s.Path("live", "a b"))
	before, snap := image(t, s.Dir(), true), snapshot(t, s)
	want := map[string]string{
		"certs/" + id: "special file", "certs/" + absolute: "absolute", "certs/" + escaping: "leaves", "certs/" + renamed: "not that of its name",
		"certs/" + linked: "not a file", "certs/" + empty: "not that of its name", "certs/README": "no certificate", "certs/selfsigned-x": "no certificate",
		"orders/x.json": "not that of its name", "orders/README": "not a .json", "attempts/t.json": "target", "pending/e.json": "not that of its name",
		"live/file": "not a link", "live/dir": "not a link", "live/absolute": "absolute", "live/escaping": "leaves",
		"live/dangling": "no certificate", "live/keys": "not to ../certs", "live/a b": "space",
	}
	for path, words := range want {
		if got := brokenAt(snap, path); !strings.Contains(got, words) {
			t.Errorf("%s is reported as %q, want something with %q", path, got, words)
		}
	}
	for _, b := range snap.Broken {
		if live, _ := strings.CutPrefix(b.Path, "live/"); (b.Live != "") != (live != b.Path) || b.Live != "" && b.Live != live {
			t.Errorf("%s is reported as the live name %q", b.Path, b.Live)
		}
		if _, ok := want[b.Path]; !ok {
			t.Errorf("%s is reported, and nothing is wrong with it: %v", b.Path, b.Err)
		}
	}
	if len(snap.Certificates) != 1 || !snap.Certificates[good].Usable() || !maps.Equal(snap.Live, map[string]string{"www.example.com": good}) {
		t.Errorf("certificates %v, live %v: the sound one is hidden", snap.Certificates, snap.Live)
	}
	sameImage(t, "looking", before, image(t, s.Dir(), true))
}

// TestDamage: what can be wrong with the files of a certificate is found, with and
// without meta.json.
func TestDamage(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	ca := newTestCA(t)
	other := ca.issue(t, newKey(t), "https://ca.example/order/other", day(80), "www.example.com")
	tests := []struct {
		name   string
		damage func(dir string) error
		want   string
	}{
		{"sound", func(dir string) error { return nil }, ""},
		{"trailing newline of url", func(dir string) error { return appendTo(dir+"/url", "\n") }, ""},
		{"cert cut", func(dir string) error { return os.Truncate(dir+"/cert", 100) }, "cert: something in it"},
		{"cert empty", func(dir string) error { return os.Truncate(dir+"/cert", 0) }, "cert: 0 certificates"},
		{"cert gone", func(dir string) error { return os.Remove(dir + "/cert") }, "cert is missing"},
		{"chain gone", func(dir string) error { return os.Remove(dir + "/chain") }, "chain is missing"},
		{"fullchain gone", func(dir string) error { return os.Remove(dir + "/fullchain") }, "fullchain is missing"},
		{"chain empty", func(dir string) error { return os.Truncate(dir+"/chain", 0) }, "chain is not what|fullchain is not cert and chain"},
		{"fullchain cut", func(dir string) error { return os.Truncate(dir+"/fullchain", 900) }, "fullchain is not what|fullchain: something"},
		{"another cert", func(dir string) error { return os.WriteFile(dir+"/cert", other.Cert, 0o644) }, "cert is not what|fullchain is not cert"},
		{"another key", func(dir string) error {
			return os.Symlink("../../keys/"+other.KeyID+"/privkey", dir+"/privkey.new")
		}, ""},
		{"key link elsewhere", func(dir string) error {
			os.Remove(dir + "/privkey")
			return os.Symlink("../../keys/"+other.KeyID+"/privkey", dir+"/privkey")
		}, "privkey links to"},
		{"meta.json cut", func(dir string) error {
			if _, err := os.Lstat(dir + "/meta.json"); err != nil {
				return nil
			}
			return os.Truncate(dir+"/meta.json", 50)
		}, "meta.json: bad JSON|"},
	}
	for i, tt := range tests {
		for j, meta := range []bool{true, false} {
			id := published(t, s, ca, fmt.Sprintf("https://ca.example/order/%d-%v", i, meta), day(80), "www.example.com")
			if !meta {
				os.Remove(s.Path("certs", id, "meta.json"))
			}
			if err := tt.damage(s.Path("certs", id)); err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if both := strings.Split(tt.want, "|"); len(both) == 2 {
				want = both[j]
			}
			snap := snapshot(t, s)
			noBroken(t, snap)
			c := snap.Certificates[id]
			if c == nil || !strings.Contains(c.Damage, want) || (c.Damage == "") != (want == "") {
				t.Errorf("%s (meta.json %v): damage %q, want %q", tt.name, meta, c.Damage, want)
			}
			if c != nil && meta && !slices.Equal(c.Names, []string{"www.example.com"}) && tt.name != "meta.json cut" {
				t.Errorf("%s: names %q: nobody can tell which certificate it was", tt.name, c.Names)
			}
		}
	}
}

func appendTo(name, text string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(data, text...), 0o644)
}

// TestHasKey: a key counts if its file is there and not empty.
func TestHasKey(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	id := published(t, s, newTestCA(t), "https://ca.example/order/1", day(80), "www.example.com")
	key := s.Path("keys", snapshot(t, s).Certificates[id].KeyID, "privkey")
	if err := os.Truncate(key, 0); err != nil {
		t.Fatal(err)
	}
	if snapshot(t, s).Certificates[id].HasKey {
		t.Error("an empty key file counts as a key")
	}
	if err := os.RemoveAll(s.Path("keys")); err != nil {
		t.Fatal(err)
	}
	snap := snapshot(t, s)
	noBroken(t, snap)
	if snap.Certificates[id].HasKey {
		t.Error("a key counts that is gone with keys/")
	}
}

// TestHugeFile: files are read up to a limit.
func TestHugeFile(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	id := published(t, s, newTestCA(t), "https://ca.example/order/1", day(80), "www.example.com")
	if err := os.Truncate(s.Path("certs", id, "chain"), maxFile+1); err != nil {
		t.Fatal(err)
	}
	if got := brokenAt(snapshot(t, s), "certs/"+id); !strings.Contains(got, "larger than") {
		t.Errorf("a huge chain is reported as %q", got)
	}
}

// TestSnapshotWhileWriting: a reader without the lock never finds anything broken
// while certificates come, are linked and go.
func TestSnapshotWhileWriting(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	ca := newTestCA(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 25 {
			url := fmt.Sprintf("https://ca.example/order/%d", i)
			id := published(t, s, ca, url, day(-1), "www.example.com")
			err1 := s.Link("www.example.com", id)
			err2 := s.SaveOrder(acme.OpenOrder{URL: url, Target: "t"})
			err3 := s.CloseOrder(acme.OpenOrder{URL: url, Target: "t"})
			_, err4 := s.Cull(Culling{Now: day(0)})
			for _, err := range []error{err1, err2, err3, err4} {
				if err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		snap := snapshot(t, s)
		noBroken(t, snap)
		for id, c := range snap.Certificates {
			if c.Damage != "" {
				t.Errorf("certificate %s: damage %q", id, c.Damage)
			}
		}
	}
}

// BenchmarkSnapshot shows that the cost grows with the number of certificates and
// no faster.
func BenchmarkSnapshot(b *testing.B) {
	for _, count := range []int{1000, 10000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			s := lockedStore(b)
			id := published(b, s, newTestCA(b), "https://ca.example/order", day(80), "www.example.com")
			for i := range count {
				clone(b, s, id, fmt.Sprintf("https://ca.example/order/%d", i))
			}
			for b.Loop() {
				if snap := snapshot(b, s); len(snap.Certificates) != count+1 || len(snap.Broken) > 0 {
					b.Fatalf("%d certificates, broken: %v", len(snap.Certificates), snap.Broken)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*count), "µs/certificate")
		})
	}
}

// clone copies a certificate directory as that of another order, links it, and
// does not sync anything.
func clone(t testing.TB, s *Store, id, url string) {
	t.Helper()
	from, to := s.Path("certs", id), s.Path("certs", CertID(url))
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cert", "chain", "fullchain"} {
		if err := os.Link(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"meta.json", "url"} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), "https://ca.example/order", url)
		if err := os.WriteFile(filepath.Join(to, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"privkey", "account"} {
		target, err := os.Readlink(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		symlink(t, target, filepath.Join(to, name))
	}
	symlink(t, "../certs/"+CertID(url), s.Path("live", CertID(url)+".example.com"))
}

// TestThousands of certificates are read in one snapshot; the benchmark has ten
// thousand.
func TestThousands(t *testing.T) {
	t.Parallel()
	const count = 1500
	s := lockedStore(t)
	id := published(t, s, newTestCA(t), "https://ca.example/order", day(80), "www.example.com")
	for i := range count {
		clone(t, s, id, fmt.Sprintf("https://ca.example/order/%d", i))
	}
	snap := snapshot(t, s)
	noBroken(t, snap)
	if len(snap.Certificates) != count+1 || len(snap.Live) != count {
		t.Errorf("%d certificates and %d links, want %d and %d", len(snap.Certificates), len(snap.Live), count+1, count)
	}
	for _, c := range snap.Certificates {
		if !c.Usable() {
			t.Fatalf("certificate %s: damage %q", c.URL, c.Damage)
		}
	}
}

func FuzzChain(f *testing.F) {
	ca := newTestCA(f)
	n := ca.issue(f, ca.key, "https://ca.example/order/1", day(80), "www.example.com")
	f.Add(slices.Concat(n.Cert, n.Chain))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("comment\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		certs, err := parseChain(data)
		if err != nil {
			return
		}
		again, err := parseChain(encodeCerts(certs...))
		if err != nil || len(again) != len(certs) {
			t.Fatalf("%d certificates were read, %d after writing them (%v)", len(certs), len(again), err)
		}
		for _, c := range certs {
			if names := certNames(c); !slices.IsSorted(names) {
				t.Fatalf("names %q are not sorted", names)
			}
		}
	})
}
