package state

import (
	"errors"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"certd/acme"
)

func testOrder(target string) acme.OpenOrder {
	return acme.OpenOrder{
		Directory: testDirectory, Account: "https://ca.example/acct/1", Names: []string{"*.example.com", "example.com"}, Target: target,
		Profile: "p", KeyType: "ecdsa-p256", Reason: "no certificate yet", Created: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC),
	}
}

func TestOrderJournal(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	o := testOrder("example.com")
	if err := s.OpenOrder(o); err != nil {
		t.Fatal(err)
	}
	snap := snapshot(t, s)
	if got := snap.Attempts["example.com"].Ordering; got == nil || !reflect.DeepEqual(*got, o) || len(snap.Orders) != 0 {
		t.Errorf("after OpenOrder: ordering %+v, orders %v", got, snap.Orders)
	}
	o.URL = "https://ca.example/order/1"
	if err := s.SaveOrder(o); err != nil {
		t.Fatal(err)
	}
	snap = snapshot(t, s)
	noBroken(t, snap)
	if len(snap.Orders) != 1 || !reflect.DeepEqual(snap.Orders[0], o) || len(snap.Attempts) != 0 {
		t.Errorf("after SaveOrder: orders %+v, attempts %v", snap.Orders, snap.Attempts)
	}
	o.KeyID = CertID("some key")
	older := testOrder("other")
	older.URL, older.Created = "https://ca.example/order/0", o.Created.Add(-time.Hour)
	for _, o := range []acme.OpenOrder{o, older} {
		if err := s.SaveOrder(o); err != nil {
			t.Fatal(err)
		}
	}
	if got := snapshot(t, s).Orders; len(got) != 2 || got[0].URL != older.URL || got[1].KeyID != o.KeyID {
		t.Errorf("orders %+v, want the older one first and the key ID kept", got)
	}
	before := image(t, s.Dir(), true)
	if err := s.SaveOrder(o); err != nil {
		t.Fatal(err)
	}
	sameImage(t, "saving it again", before, image(t, s.Dir(), true))
	for range 2 {
		if err := s.CloseOrder(o); err != nil {
			t.Fatal(err)
		}
	}
	if got := snapshot(t, s).Orders; len(got) != 1 {
		t.Errorf("after CloseOrder: %+v", got)
	}
}

// TestIntentSurvivesAttempts: what OpenOrder recorded is not lost or brought back
// by SaveAttempt, whatever the caller read earlier.
func TestIntentSurvivesAttempts(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	a := Attempt{Target: "example.com", Digest: "d", Failures: 2, Class: "transient", LastError: "x", LastAttempt: day(0).UTC()}
	if err := s.SaveAttempt(a); err != nil {
		t.Fatal(err)
	}
	o := testOrder("example.com")
	if err := s.OpenOrder(o); err != nil {
		t.Fatal(err)
	}
	a.Failures = 3
	if err := s.SaveAttempt(a); err != nil {
		t.Fatal(err)
	}
	got := snapshot(t, s).Attempts["example.com"]
	if got.Ordering == nil || got.Failures != 3 || got.Class != "transient" {
		t.Errorf("after SaveAttempt: %+v, want the intent and 3 failures", got)
	}
	if err := s.CloseOrder(o); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveAttempt(got); err != nil {
		t.Fatal(err)
	}
	if now := snapshot(t, s).Attempts["example.com"]; now.Ordering != nil || now.Failures != 3 {
		t.Errorf("a closed intent came back: %+v", now)
	}
	for range 2 {
		if err := s.RemoveAttempt("example.com"); err != nil {
			t.Fatal(err)
		}
	}
	if got := snapshot(t, s).Attempts; len(got) != 0 {
		t.Errorf("after RemoveAttempt: %v", got)
	}
}

// TestIntentsOfSeveralCAs: an order that one CA did not answer is remembered while
// others are asked, one for each CA, until it is answered or there is a certificate.
func TestIntentsOfSeveralCAs(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	first, second := testOrder("example.com"), testOrder("example.com")
	second.Directory = "https://second.example/directory"
	for i, o := range []acme.OpenOrder{first, second, first, second} {
		o.Created = o.Created.Add(time.Duration(i) * time.Hour)
		if err := s.OpenOrder(o); err != nil {
			t.Fatal(err)
		}
	}
	attempt := func() Attempt { return snapshot(t, s).Attempts["example.com"] }
	got := attempt()
	if len(got.Elsewhere) != 1 || got.Ordering == nil || got.Ordering.Directory != second.Directory {
		t.Fatalf("after two intents each: %+v, want one of each CA, the latest in ordering", got)
	}
	if o := got.Intent(first.Directory); o == nil || !o.Created.Equal(first.Created.Add(2*time.Hour)) {
		t.Errorf("intent at the first CA: %+v, want its latest", o)
	}
	if o := got.Intent("https://third.example/directory"); o != nil {
		t.Errorf("intent at a CA that was not asked: %+v", o)
	}
	second.URL = "https://second.example/order/1"
	if err := s.SaveOrder(second); err != nil {
		t.Fatal(err)
	}
	if got = attempt(); got.Intent(second.Directory) != nil || got.Intent(first.Directory) == nil {
		t.Errorf("after the second CA's answer: %+v, want only the intent at the first", got)
	}
	if err := s.SaveAttempt(Attempt{Target: "example.com", Failures: 1}); err != nil {
		t.Fatal(err)
	}
	if got = attempt(); got.Intent(first.Directory) == nil {
		t.Errorf("a failure lost the intent: %+v", got)
	}
	if err := s.SaveAttempt(Attempt{Target: "example.com"}); err != nil {
		t.Fatal(err)
	}
	if got = attempt(); len(got.Elsewhere) > 0 {
		t.Errorf("after a success: %+v, want no intent", got)
	}
	if err := s.CloseOrder(first); err != nil {
		t.Fatal(err)
	}
	if got := snapshot(t, s).Attempts; len(got) != 0 {
		t.Errorf("when all is answered: %+v, want nothing", got)
	}
}

// TestConcurrentJournal: intents and attempts of many targets, at once and of one
// target, do not get into each other's way.
func TestConcurrentJournal(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	done := make(chan error)
	targets := []string{"a", "b", "c", "d"}
	for _, target := range targets {
		go func() { done <- s.OpenOrder(testOrder(target)) }()
		go func() { done <- s.SaveAttempt(Attempt{Target: target, Failures: 1}) }()
	}
	for range 2 * len(targets) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for _, target := range targets {
		if a := snapshot(t, s).Attempts[target]; a.Ordering == nil || a.Failures != 1 {
			t.Errorf("target %s: %+v, want the intent and one failure", target, a)
		}
	}
}

// TestBrokenAttemptDoesNotStopOrders: an unreadable file is replaced by the next
// thing that is to be kept.
func TestBrokenAttemptDoesNotStopOrders(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	plant(t, s, "attempts/example.com.json", "{\"target\": 1")
	if got := brokenAt(snapshot(t, s), "attempts/example.com.json"); !strings.Contains(got, "bad JSON") {
		t.Errorf("reported as %q", got)
	}
	if err := s.OpenOrder(testOrder("example.com")); err != nil {
		t.Fatal(err)
	}
	noBroken(t, snapshot(t, s))
}

func TestJournalRefuses(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	before := image(t, s.Dir(), true)
	for _, target := range []string{"", "..", "../x", ".x", "a\nb", strings.Repeat("a", 256)} {
		o := testOrder(target)
		for what, err := range map[string]error{
			"OpenOrder": s.OpenOrder(o), "SaveAttempt": s.SaveAttempt(Attempt{Target: target}), "RemoveAttempt": s.RemoveAttempt(target),
			"EditDesired": s.EditDesired(target, nil), "WriteConf": s.WriteConf(target, nil),
			"RemoveEvent": s.RemoveEvent(target + "/.."),
		} {
			if !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%s of target %q: %v, want fs.ErrInvalid", what, target, err)
			}
		}
	}
	for _, url := range []string{"", "order/1", "file:///etc/passwd", "https://ca.example/" + strings.Repeat("x", maxURL)} {
		o := testOrder("example.com")
		o.URL = url
		if err := s.SaveOrder(o); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("order URL %.40q: %v, want fs.ErrInvalid", url, err)
		}
	}
	sameImage(t, "refusals", before, image(t, s.Dir(), true))
}

// TestLongestTarget: a target may be named as long as a file can be.
func TestLongestTarget(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	for _, n := range []int{250, 251, 255} {
		target := strings.Repeat("a", n)
		if err := s.SaveAttempt(Attempt{Target: target, Failures: 1}); err != nil {
			t.Errorf("target of %d bytes: %v", n, err)
		}
		if snapshot(t, s).Attempts[target].Failures != 1 {
			t.Errorf("the attempt of a target of %d bytes is not found again", n)
		}
	}
	noBroken(t, snapshot(t, s))
}

func TestEvents(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	base := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	var ids []string
	for i := range 3 {
		e, err := s.SaveEvent(Event{Event: "live-updated", Names: []string{"b", "a"}, Created: base.Add(-time.Duration(i) * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	slices.Reverse(ids)
	pending := snapshot(t, s).Pending
	for i, e := range pending {
		if e.ID != ids[i] || !slices.Equal(e.Names, []string{"a", "b"}) {
			t.Errorf("event %d is %+v, want %s with sorted names", i, e, ids[i])
		}
	}
	if !slices.IsSorted(ids) {
		t.Errorf("IDs %q are not in order of time", ids)
	}
	pending[0].Failures, pending[0].Done = 1, []string{"/etc/acme/hooks/reload"}
	if e, err := s.SaveEvent(pending[0]); err != nil || e.ID != ids[0] {
		t.Errorf("save again: %+v (%v)", e, err)
	}
	if got := snapshot(t, s).Pending; len(got) != 3 || got[0].Failures != 1 || len(got[0].Done) != 1 {
		t.Errorf("pending %+v", got)
	}
	for range 2 {
		if err := s.RemoveEvent(ids[1]); err != nil {
			t.Fatal(err)
		}
	}
	e, err := s.SaveEvent(Event{Event: "failed"})
	if err != nil || e.Created.IsZero() || e.ID == "" {
		t.Errorf("an event without a time: %+v (%v)", e, err)
	}
	if got := snapshot(t, s).Pending; len(got) != 3 || got[2].ID != e.ID {
		t.Errorf("pending %+v, want the newest last", got)
	}
	if _, err := s.SaveEvent(Event{Event: "live-updated", Names: []string{"a\nb"}}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a name with a newline: %v, want fs.ErrInvalid", err)
	}
	if _, err := s.SaveEvent(Event{ID: "../../x", Event: "failed"}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("an ID that leaves: %v, want fs.ErrInvalid", err)
	}
}

func TestDesiredAndConf(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	if _, err := s.AddDesired("*.example.com", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteConf("target", []byte("request: {}\n")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"desired/*.example.com": "", "conf/target": "request: {}\n"} {
		data, err := os.ReadFile(s.Path(name))
		fi, _ := os.Stat(s.Path(name))
		if err != nil || string(data) != want || fi.Mode().Perm() != 0o644 {
			t.Errorf("%s holds %q, mode %v (%v)", name, data, fi.Mode(), err)
		}
	}
	before := image(t, s.Dir(), true)
	if err := s.WriteConf("target", []byte("request: {}\n")); err != nil {
		t.Fatal(err)
	}
	sameImage(t, "writing the same", before, image(t, s.Dir(), true))
	if err := os.Chmod(s.Path("conf", "target"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteConf("target", []byte("request: {provider: x}\n")); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(s.Path("conf", "target")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("a file closed by its owner was opened again: %v (%v)", fi, err)
	}
	symlink(t, "/etc/hostname", s.Path("conf", "link"))
	wantError(t, "write in place of a link", s.WriteConf("link", []byte("x")), "it is a link")
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"target":"x","url":"https://ca.example/1","ordering":{}}`))
	f.Add([]byte(`{"created":"0001-01-01T00:00:00Z"}{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []any{new(acme.OpenOrder), new(Attempt), new(Event), new(metaFile), new(accountFile)} {
			if decodeJSON(data, v) != nil {
				continue
			}
			text, err := encodeJSON(v)
			if err != nil {
				t.Fatalf("%T that was read cannot be written: %v", v, err)
			}
			again := reflect.New(reflect.TypeOf(v).Elem()).Interface()
			if err := decodeJSON(text, again); err != nil {
				t.Fatalf("%T that was written cannot be read: %v\n%s", v, err, text)
			}
		}
	})
}
