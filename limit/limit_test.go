package limit_test

import (
	"fmt"
	"testing"
	"time"

	"certd/config"
	"certd/limit"
)

const (
	production = "https://acme-v02.api.letsencrypt.org/directory"
	staging    = "https://acme-staging-v02.api.letsencrypt.org/directory"
	day        = 24 * time.Hour
)

func start() time.Time { return time.Date(2026, 9, 28, 12, 0, 0, 0, time.UTC) }

// le is a request to Let's Encrypt's production environment.
func le(names ...string) limit.Ask {
	return limit.Ask{CA: config.CA{Directory: production}, Account: "a", Names: names}
}

// wait is how long Next says to wait, and for what.
func wait(b *limit.Book, a limit.Ask, now time.Time) (time.Duration, string) {
	at, by := b.Next(a, now)
	if at.IsZero() {
		return 0, by
	}
	return at.Sub(now), by
}

func expect(t *testing.T, what string, b *limit.Book, a limit.Ask, now time.Time, want time.Duration, wantBy string) {
	t.Helper()
	if got, by := wait(b, a, now); got != want || by != wantBy {
		t.Errorf("%s: wait %v for %q, want %v for %q", what, got, by, want, wantBy)
	}
}

func TestFor(t *testing.T) {
	t.Parallel()
	own := []config.Limit{{Name: "x", Per: config.PerAccount, Burst: 1, Window: time.Hour}}
	for _, tt := range []struct {
		what string
		ca   config.CA
		want string
	}{
		{"Let's Encrypt has its published limits", config.CA{Directory: production}, "[300 50 5 5]"},
		{"so has its staging", config.CA{Directory: staging}, "[1500 30000 30000 200]"},
		{"another CA has none", config.CA{Directory: "https://ca.internal/dir"}, "[]"},
		{"unless it is configured with some", config.CA{Directory: "https://ca.internal/dir", Limits: own}, "[1]"},
		{"what is configured takes the place of what is built in", config.CA{Directory: production, Limits: own}, "[1]"},
		{"also when that is none at all", config.CA{Directory: production, Limits: []config.Limit{}}, "[]"},
	} {
		bursts := []int{}
		for _, l := range limit.For(tt.ca) {
			bursts = append(bursts, l.Burst)
		}
		if got := fmt.Sprint(bursts); got != tt.want {
			t.Errorf("%s: got bursts %s, want %s", tt.what, got, tt.want)
		}
	}
}

// TestLetsEncrypt goes through the rows of the published table.
func TestLetsEncrypt(t *testing.T) {
	t.Parallel()
	now := start()
	names := func(i int) string { return fmt.Sprintf("www.d%d.example%d.com", i, i) }

	t.Run("300 orders per account in 3 hours, one more each 36 s", func(t *testing.T) {
		t.Parallel()
		b := &limit.Book{}
		for i := range 300 {
			expect(t, fmt.Sprint("order ", i), b, le(names(i)), now, 0, "")
			b.Take(le(names(i)), now)
		}
		expect(t, "the 301st", b, le(names(300)), now, 36*time.Second, "orders-per-account")
		other := le(names(300))
		other.Account = "b"
		expect(t, "another account", b, other, now, 0, "")
		expect(t, "36 s later", b, le(names(300)), now.Add(36*time.Second), 0, "")
		b.Take(le(names(300)), now.Add(36*time.Second))
		expect(t, "and then again", b, le(names(301)), now.Add(36*time.Second), 36*time.Second, "orders-per-account")
	})
	t.Run("50 certificates per registered domain in 7 days, whoever asks", func(t *testing.T) {
		t.Parallel()
		b := &limit.Book{}
		for i := range 50 {
			a := le(fmt.Sprintf("h%d.example.co.uk", i), fmt.Sprintf("i%d.example.co.uk", i))
			a.Account = fmt.Sprint(i)
			expect(t, fmt.Sprint("certificate ", i), b, a, now, 0, "")
			b.Take(a, now)
		}
		expect(t, "the 51st", b, le("*.example.co.uk"), now, 7*day/50, "certificates-per-domain")
		expect(t, "with another domain beside it", b, le("other.co.uk", "x.example.co.uk"), now, 7*day/50, "certificates-per-domain")
		expect(t, "another domain", b, le("other.co.uk"), now, 0, "")
	})
	t.Run("5 certificates per exact set of names in 7 days", func(t *testing.T) {
		t.Parallel()
		b := &limit.Book{}
		for range 5 {
			b.Take(le("a.example", "b.example"), now)
		}
		expect(t, "the sixth, in another order", b, le("b.example", "a.example", "a.example"), now, 7*day/5, "certificates-per-names")
		expect(t, "fewer names", b, le("a.example"), now, 0, "")
	})
	t.Run("5 failed authorizations per name and account in an hour", func(t *testing.T) {
		t.Parallel()
		b := &limit.Book{}
		for range 5 {
			b.Failed(le("a.example", "b.example"), "b.example", now)
		}
		expect(t, "with the name that failed", b, le("b.example", "c.example"), now, 12*time.Minute, "failed-authorizations")
		expect(t, "with the others", b, le("a.example", "c.example"), now, 0, "")
		other := le("b.example")
		other.Account = "b"
		expect(t, "from another account", b, other, now, 0, "")
		b.Failed(le("b.example"), "b.example", now)
		expect(t, "more failures than tokens", b, le("b.example"), now, 12*time.Minute, "failed-authorizations")
	})
}

// TestExemptions has what Let's Encrypt exempts renewals from.
func TestExemptions(t *testing.T) {
	t.Parallel()
	now := start()
	full := func(ca config.CA) *limit.Book {
		b := &limit.Book{}
		for range 300 {
			b.Take(limit.Ask{CA: ca, Account: "a", Names: []string{"www.example.com"}}, now)
		}
		for range 5 {
			b.Failed(limit.Ask{CA: ca, Account: "a"}, "failed.example.com", now)
		}
		return b
	}
	mirror := config.CA{Directory: "https://ca.internal/dir", Limits: limit.LetsEncrypt()}
	for _, tt := range []struct {
		what         string
		ca           config.CA
		name         string
		ari, renewal bool
		want         string
	}{
		{"a new certificate waits for its domain longest", config.CA{Directory: production}, "new.example.com", false, false, "certificates-per-domain"},
		{"a renewal of the same names waits for duplicates", config.CA{Directory: production}, "www.example.com", false, true, "certificates-per-names"},
		{"a renewal of names that were not ordered often is free", config.CA{Directory: production}, "old.example.com", false, true, ""},
		{"a renewal whose name fails is not", config.CA{Directory: production}, "failed.example.com", false, true, "failed-authorizations"},
		{"a renewal inside the CA's window is free", config.CA{Directory: production}, "www.example.com", true, true, ""},
		{"also with other names", config.CA{Directory: production}, "failed.example.com", true, false, ""},
		{"other CAs exempt nothing", mirror, "old.example.com", true, true, "certificates-per-domain"},
	} {
		a := limit.Ask{CA: tt.ca, Account: "a", Names: []string{tt.name}, ARI: tt.ari, Renewal: tt.renewal}
		if _, by := full(tt.ca).Next(a, now); by != tt.want {
			t.Errorf("%s: waits for %q, want %q", tt.what, by, tt.want)
		}
	}
}

// TestExemptSpending has what exempt renewals still cost.
func TestExemptSpending(t *testing.T) {
	t.Parallel()
	b, now := &limit.Book{}, start()
	for i := range 400 {
		a := le(fmt.Sprintf("h%d.example.com", i))
		a.Renewal, a.ARI = true, i%2 == 0
		b.Take(a, now)
	}
	expect(t, "renewals cost the account and the domain nothing", b, le("new.example.com"), now, 0, "")
	for range 5 {
		a := le("www.example.com")
		a.ARI = true
		b.Take(a, now)
	}
	expect(t, "those inside the window count as duplicates", b, le("www.example.com"), now, 7*day/5, "certificates-per-names")
}

// TestReturned has an order that ended without a certificate.
func TestReturned(t *testing.T) {
	t.Parallel()
	b, now := &limit.Book{}, start()
	for range 300 {
		b.Take(le("www.example.com"), now)
		b.Returned(le("www.example.com"), now)
	}
	expect(t, "only the account's orders are spent", b, le("www.example.com"), now, 36*time.Second, "orders-per-account")
	b.Returned(le("never.example.com"), now)
	expect(t, "what was not taken cannot be given back", b, le("never.example.com"), now, 36*time.Second, "orders-per-account")
}

func TestRefused(t *testing.T) {
	t.Parallel()
	now := start()
	for _, tt := range []struct {
		what        string
		until, want time.Duration
	}{
		{"the CA's time counts", 5 * time.Hour, 5 * time.Hour},
		{"but for a second at least", -time.Hour, time.Second},
		{"and for a day at most", 40 * day, day},
	} {
		b := &limit.Book{}
		b.Refused(le("b.example", "a.example"), now.Add(tt.until), now)
		expect(t, tt.what, b, le("a.example", "b.example"), now, tt.want, limit.RateLimited)
		expect(t, tt.what+" for these names only", b, le("a.example"), now, 0, "")
		other := le("a.example", "b.example")
		other.Account = "b"
		expect(t, tt.what+" for this account only", b, other, now, 0, "")
		expect(t, tt.what+" until it comes", b, le("a.example", "b.example"), now.Add(tt.want), 0, "")
		for range 5 {
			b.Take(le("a.example", "b.example"), now)
		}
		expect(t, tt.what+" and then our own limits do", b, le("a.example", "b.example"), now, 7*day/5, "certificates-per-names")
	}
	b := &limit.Book{}
	b.Refused(le("a.example"), time.Time{}, now)
	expect(t, "a CA that names no time is left alone for an hour", b, le("a.example"), now, time.Hour, limit.RateLimited)
}

func TestRegisteredDomain(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"www.example.com": "example.com", "*.example.com": "example.com", "example.com": "example.com", "A.B.Example.COM.": "example.com",
		"x.y.example.co.uk": "example.co.uk", "me.github.io": "me.github.io", "a.me.github.io": "me.github.io", "github.io": "github.io",
		"co.uk": "co.uk", "host.internal": "host.internal", "a.host.internal": "host.internal", "localhost": "localhost",
		"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "2001:db8:1:2::ffff": "2001:db8:1:2::/64", "": "", "...": "..",
	} {
		if got := limit.RegisteredDomain(name); got != want {
			t.Errorf("RegisteredDomain(%q): got %q, want %q", name, got, want)
		}
	}
}

// TestNothing has books that are nil or empty.
func TestNothing(t *testing.T) {
	t.Parallel()
	for what, b := range map[string]*limit.Book{"nil": nil, "zero": {}} {
		expect(t, what, b, le("a.example"), start(), 0, "")
		if until := b.Open(production, start()); !until.IsZero() {
			t.Errorf("%s: the breaker is open until %v", what, until)
		}
		b.Good(production, start())
	}
}
