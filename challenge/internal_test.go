package challenge

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"certd/acme"
)

func TestRetryPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		err := retry(t.Context(), 4*time.Second, func(context.Context) error {
			at = append(at, time.Since(start))
			return errors.New("no")
		})
		if err == nil || time.Since(start) != 4*time.Second {
			t.Errorf("retry ended after %v with %v, want its limit of 4s and an error", time.Since(start), err)
		}
		want := []time.Duration{0, 100, 300, 700, 1500, 2500, 3500}
		if len(at) != len(want) {
			t.Fatalf("tries at %v, want %v (ms)", at, want)
		}
		for i := range want {
			if at[i] != want[i]*time.Millisecond {
				t.Errorf("try %d was at %v, want %v ms", i+1, at[i], int(want[i]))
			}
		}
	})
}

// What was seen counts, not that the time was over while looking once more.
func TestRetryKeepsWhatWasSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen := errors.New("404")
		tries := 0
		err := retry(t.Context(), time.Second, func(ctx context.Context) error {
			if tries++; tries == 1 {
				return seen
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if err != seen {
			t.Errorf("got %v, want what the first try saw", err)
		}
	})
}

func TestRetryEndsWithContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		start := time.Now()
		err := retry(ctx, time.Hour, func(context.Context) error { return errors.New("no") })
		if err == nil || time.Since(start) != 250*time.Millisecond {
			t.Errorf("retry ended after %v with %v, want the 250ms of its context", time.Since(start), err)
		}
	})
}

func TestJudge(t *testing.T) {
	t.Parallel()
	right, wrong, unreached := finding{reached: true}, finding{reached: true, err: errors.New("404")}, finding{err: errors.New("refused")}
	for _, c := range []struct {
		name string
		in   []finding
		want string
	}{
		{"right", []finding{right}, ""},
		{"right and unreached", []finding{unreached, right}, ""},
		{"right and wrong", []finding{right, wrong}, "404"},
		{"wrong and unreached", []finding{wrong, unreached}, "404"},
		{"unreached twice", []finding{unreached, unreached}, "refused; refused; does a server listen on port 5002"},
	} {
		got := ""
		if err := judge(c.in, 5002); err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// FuzzCheck: whatever check lets through is safe as a file name, an argument
// and a part of a URL.
func FuzzCheck(f *testing.F) {
	const token = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
	for _, name := range []string{"www.example.com", "192.0.2.1", "2001:db8::1", "*.example.com", "-x", "../x", "a b", ""} {
		f.Add(name, token, "thumb")
		f.Add(name, "../"+token, "thumb\n")
	}
	f.Fuzz(func(t *testing.T, name, token, thumbprint string) {
		id := acme.Identifier{Type: "dns", Value: name}
		err := check(id, acme.Challenge{Token: token, KeyAuthorization: token + "." + thumbprint})
		if err != nil {
			if text := err.Error(); strings.ContainsAny(text, "\n\r\x00\x1b") || len(text) > 1024 {
				t.Errorf("the error is not one short printable line: %q", text)
			}
			return
		}
		all := name + token + thumbprint
		if strings.ContainsAny(all, "/\\ %$`'\"\n\r\x00*?#@&;|<>(){}~!,+=") || strings.HasPrefix(name, "-") || len(token) < 22 || len(token) > 128 {
			t.Errorf("check let through the name %q, the token %q and the thumbprint %q", name, token, thumbprint)
		}
	})
}

// FuzzAllow: a redirect that is followed has one of the allowed ports, http or
// https, no user, and no address for a host.
func FuzzAllow(f *testing.F) {
	for _, seed := range []string{"http://a/", "https://a:443/x", "http://a:0080/", "http://[::1]/", "http://127.0.0.1/", "http://0x7f.1/", "ftp://a/", "//a/", "http://u@a/", "http://a:/", "http://[::1%25lo]/"} {
		f.Add(seed)
	}
	fetcher := &fetcher{test: &SelfTest{Port: 5002}, host: "www.example.com", token: "x"}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.Parse(target)
		if err != nil || fetcher.allow(u, 1) != nil {
			return
		}
		if u.User != nil || u.Scheme != "http" && u.Scheme != "https" || strings.Contains(u.Host, "[") {
			t.Errorf("the redirect %q is followed", target)
		}
		if p := u.Port(); p != "" && p != "80" && p != "443" && p != "5002" {
			t.Errorf("the redirect %q to port %s is followed", target, p)
		}
	})
}

// A panic of a goroutine is the error of its name.
func TestPanicsAreErrors(t *testing.T) {
	t.Parallel()
	var none context.Context // is what panics
	if _, err := lookup(none, "127.0.0.1:1", "a.example.com"); err == nil || !strings.Contains(err.Error(), "look-up panicked") {
		t.Errorf("the look-up gave %v, want its panic", err)
	}
	id := acme.NewIdentifier("127.0.0.1")
	if err := (&SelfTest{}).round(none, id, acme.Challenge{}, 80, (&SelfTest{}).fetch); err == nil || !strings.Contains(err.Error(), "self-test panicked") {
		t.Errorf("the self-test gave %v, want its panic", err)
	}
}
