package limit_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"certd/config"
	"certd/limit"
)

// TestNeverMore asks at random times, as often as it is allowed and a few
// times more, and checks that no window of time holds more than the burst and
// what was refilled in it. The book is pruned, written and read on the way.
func TestNeverMore(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		l := config.Limit{Name: "l", Per: config.PerDomain, Burst: 1 + r.IntN(20), Window: time.Duration(1+r.IntN(100_000)) * time.Second}
		a := limit.Ask{CA: config.CA{Directory: "https://ca.internal/dir", Limits: []config.Limit{l}}, Names: []string{"www.example.com"}}
		b, now := &limit.Book{}, start()
		every := l.Window / time.Duration(l.Burst)
		var granted []time.Time
		for range 400 {
			at, _ := b.Next(a, now)
			switch {
			case at.IsZero():
				granted = append(granted, now)
				b.Take(a, now)
			case r.IntN(3) == 0:
				now = at
				if again, by := b.Next(a, now); !again.IsZero() {
					t.Fatalf("seed %d: waited until %v, as told, and am told %v, for %s", seed, at, again, by)
				}
				continue
			}
			if r.IntN(4) == 0 {
				now = now.Add(time.Duration(r.Int64N(int64(3 * every))))
			}
			if r.IntN(20) == 0 {
				b.Prune(now)
				b = reread(t, b)
			}
		}
		for i := range granted {
			for j := i; j < len(granted); j++ {
				if n, most := j-i+1, l.Burst+int(granted[j].Sub(granted[i])/every); n > most {
					t.Fatalf("seed %d: %d requests within %v, at most %d are allowed (%d in %v)", seed, n, granted[j].Sub(granted[i]), most, l.Burst, l.Window)
				}
			}
		}
		if len(granted) < l.Burst {
			t.Errorf("seed %d: only %d requests were allowed, the burst is %d", seed, len(granted), l.Burst)
		}
	}
}

// reread writes a book and reads it again.
func reread(t *testing.T, b *limit.Book) *limit.Book {
	t.Helper()
	data, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	out, err := limit.Decode(data)
	if err != nil {
		t.Fatalf("%v in what Encode wrote: %s", err, data)
	}
	if again, err := out.Encode(); err != nil || !bytes.Equal(data, again) {
		t.Fatalf("written again it is %s, %v; it was %s", again, err, data)
	}
	return out
}

func TestEncode(t *testing.T) {
	t.Parallel()
	b, now := &limit.Book{}, start()
	for range 5 {
		b.Take(le("www.example.com"), now)
	}
	b.Refused(le("b.example"), now.Add(time.Hour), now)
	b.Failed(le("b.example"), "b.example", now)
	b.Fault(production, now, now.Add(2*time.Hour))
	c := b.Clone()
	for what, b := range map[string]*limit.Book{"written and read": reread(t, b), "cloned": c} {
		expect(t, what, b, le("www.example.com"), now, 7*day/5, "certificates-per-names")
		expect(t, what, b, le("b.example"), now, time.Hour, limit.RateLimited)
		if until := b.Open(production, now); !until.Equal(now.Add(2 * time.Hour)) {
			t.Errorf("%s: the breaker is open until %v", what, until)
		}
	}
	c.Good(production, now)
	c.Take(le("b.example"), now)
	expect(t, "the original does not follow its clone", b, le("b.example"), now, time.Hour, limit.RateLimited)
	data, err := b.Encode()
	if err != nil || !strings.Contains(string(data), `"example.com":"2026-09-29T04:48:00Z"`) {
		t.Errorf("%v; somebody who reads the file would like to see the domain and its time: %s", err, data)
	}
}

// TestReserve plans many requests at once.
func TestReserve(t *testing.T) {
	t.Parallel()
	now := start()
	kept := &limit.Book{}
	kept.Take(le("first.example"), now)
	b := kept.Plan()
	var got []string
	for i := range 302 {
		a := le(fmt.Sprintf("h%d.d%d.example", i, i/60))
		if i == 301 {
			a = le("h.other.example")
		}
		at, by := b.Reserve(a, now)
		if i < 2 || !at.IsZero() {
			got = append(got, fmt.Sprint(i, " ", max(at.Sub(now), 0), " ", by))
		}
	}
	want := []string{"0 0s ", "1 0s "}
	for d := range 5 { // of each 60 names of a domain 50 can be had at once
		for i := range 10 {
			want = append(want, fmt.Sprint(d*60+50+i, " ", time.Duration(i+1)*7*day/50, " certificates-per-domain"))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	for i := range 60 {
		at, by := b.Reserve(le(fmt.Sprintf("%d.one%d.example", i, i)), now)
		if wait := max(at.Sub(now), 0); i >= 47 && (wait != time.Duration(i-46)*36*time.Second || by != "orders-per-account") {
			t.Errorf("order %d: waits %v for %q", i, wait, by)
		}
	}
	expect(t, "the book itself", kept, le("h1.d0.example"), now, 0, "")
	if at, by := (*limit.Book)(nil).Plan().Reserve(le("a.example"), now); !at.IsZero() || by != "" {
		t.Errorf("in an empty book: %v %q", at, by)
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	b, now := &limit.Book{}, start()
	b.Take(le("www.example.com"), now)
	b.Refused(le("www.example.com"), now.Add(time.Minute), now)
	for range 3 {
		b.Fault(production, now, time.Time{})
	}
	empty, _ := (&limit.Book{}).Encode()
	b.Prune(now.Add(30 * time.Hour))
	if got, _ := b.Encode(); bytes.Equal(got, empty) {
		t.Error("a token that comes back after 33.6 hours is forgotten after 30")
	}
	b.Prune(now.Add(4 * day))
	if got, _ := b.Encode(); !bytes.Equal(got, empty) {
		t.Errorf("after four days there is left: %s", got)
	}
}

// TestBounded has far more names than a book keeps.
func TestBounded(t *testing.T) {
	t.Parallel()
	b, now := &limit.Book{}, start()
	for range 5 {
		b.Take(le("often.example.com"), now.Add(time.Hour))
	}
	for i := range 120_000 {
		now = now.Add(time.Millisecond)
		b.Take(le(fmt.Sprintf("h%d.example.com", i)), now)
		if i%1000 == 0 {
			b.Fault(fmt.Sprintf("https://ca%d.internal/dir", i), now, time.Time{})
		}
	}
	if data, err := b.Encode(); err != nil || len(data) > 8<<20 {
		t.Errorf("the book has %d bytes, %v", len(data), err)
	}
	if _, by := b.Next(le("often.example.com"), now); by == "" {
		t.Error("what matters most was dropped")
	}
	reread(t, b)
}

// TestClockSetBack has a clock that was ahead for a while.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{2 * time.Minute, 10 * day, 20 * 365 * day} {
		for _, pruned := range []bool{true, false} {
			b, now := &limit.Book{}, start()
			for range 5 {
				b.Take(le("a.example"), now.Add(ahead))
			}
			b.Refused(le("b.example"), now.Add(ahead+time.Hour), now.Add(ahead))
			b.Fault(production, now.Add(ahead), now.Add(ahead+time.Hour))
			if pruned {
				b.Prune(now)
			}
			most := 7*day/5 + min(ahead, 7*day)
			if got, _ := wait(b, le("a.example"), now); got > most {
				t.Errorf("a clock that was %v ahead makes an order wait for %v (pruned: %v)", ahead, got, pruned)
			}
			if !pruned {
				b.Take(le("c.example"), now)
			}
			expect(t, fmt.Sprintf("a clock that was %v ahead", ahead), b, le("a.example"), now, 7*day/5, "certificates-per-names")
			expect(t, fmt.Sprintf("a clock that was %v ahead", ahead), b, le("b.example"), now, time.Hour, limit.RateLimited)
			if until := b.Open(production, now); !until.Equal(now.Add(time.Hour)) {
				t.Errorf("a clock that was %v ahead: the breaker is open until %v", ahead, until)
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ data, want string }{
		{"", "EOF"},
		{"{}", "version 0"},
		{`{"version":2}`, "version 2"},
		{`{"version":1} x`, "follows"},
		{`{"version":1,"more":1}`, "unknown field"},
		{`{"version":1,"cas":{"":{}}}`, "without directory"},
		{`{"version":1,"cas":{"d":{"limits":{"x":null}}}}`, "without name or entries"},
		{`{"version":1,"cas":{"d":{"limits":{"x":{"k":"0001-01-01T00:00:00Z"}}}}}`, "without time"},
		{`{"version":1,"cas":{"d":{"limits":{"x":{"k":"9000-01-01T00:00:00Z"}}}}}`, "year 9000"},
		{`{"version":1,"cas":{"d":{"refused":{"x":"yesterday"}}}}`, "parsing time"},
		{`{"version":1,"cas":{"d":{"breaker":{"faults":-1}}}}`, "impossible"},
		{strings.Repeat(" ", 33<<20), "larger than"},
		{`{"version":1,"cas":{"d":{"refused":{"` + strings.Repeat("x", 300) + `":"2026-01-01T00:00:00Z"}}}}`, "too long a key"},
	} {
		if _, err := limit.Decode([]byte(tt.data)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Decode(%.60q): got %v, want an error with %q", tt.data, err, tt.want)
		}
	}
}

// FuzzDecode: whatever is on disk, a book that is read works, stays within its
// bounds and holds nobody up for longer than its limits do.
func FuzzDecode(f *testing.F) {
	b := &limit.Book{}
	b.Take(le("www.example.com"), start())
	b.Fault(production, start(), start().Add(time.Hour))
	b.Refused(le("b.example"), time.Time{}, start())
	data, err := b.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"cas":{"https://acme-v02.api.letsencrypt.org/directory":{"limits":{"certificates-per-domain":{"example.com":"2100-01-01T00:00:00Z"}}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := limit.Decode(data)
		if err != nil {
			return
		}
		now := start()
		if got, by := wait(b, le("www.example.com", "b.example"), now); got > 15*day {
			t.Errorf("wait %v for %s", got, by)
		}
		if until := b.Open(production, now); until.After(now.Add(2 * day)) {
			t.Errorf("the breaker is open until %v", until)
		}
		b.Take(le("www.example.com"), now)
		b.Failed(le("b.example"), "b.example", now)
		b.Fault(production, now, time.Time{})
		b.Prune(now)
		reread(t, b)
	})
}
