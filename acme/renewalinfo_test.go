package acme

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"
)

// leafWith has what CertID looks at.
func leafWith(serial string, aki ...byte) *x509.Certificate {
	n, _ := new(big.Int).SetString(serial, 16)
	return &x509.Certificate{SerialNumber: n, AuthorityKeyId: aki}
}

func TestCertID(t *testing.T) {
	t.Parallel()
	aki := []byte{0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4}
	for _, tt := range []struct {
		name string
		leaf *x509.Certificate
		want string
	}{
		{"the vector of RFC 9773 §4.1", leafWith("87654321", aki...), "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"},
		{"a serial without the top bit", leafWith("7f", 1), "AQ.fw"},
		{"a serial of exactly the top bit", leafWith("80", 1), "AQ.AIA"},
		{"the serial zero", leafWith("0", 1), "AQ.AA"},
		{"characters of the URL alphabet", leafWith("fffefd", 0xfb, 0xff), "-_8.AP_-_Q"},
		{"no authority key identifier", leafWith("1"), ""},
	} {
		got, err := CertID(tt.leaf)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, err, tt.want)
		}
		if tt.want != "" && !validCertID(got) {
			t.Errorf("%s: %q is said to be no identifier", tt.name, got)
		}
	}
	for _, bad := range []string{"", ".", "a.", ".a", "a", "a.b.c", "a/b.c", "../.c", "a.b?", strings.Repeat("a", 300) + ".b"} {
		if validCertID(bad) {
			t.Errorf("%q is taken for an identifier", bad)
		}
	}
}

// window is a good answer.
const window = `{"suggestedWindow":{"start":"2026-11-20T10:00:00Z","end":"2026-11-22T10:00:00+02:00"},"explanationURL":"https://ca.example/why?a=b"}`

// TestRenewalInfo walks through answers: what is taken, and which errors last.
func TestRenewalInfo(t *testing.T) {
	t.Parallel()
	header := func(name, value string) http.Header { return http.Header{name: {value}} }
	for _, tt := range []struct {
		name    string
		status  int
		header  http.Header
		body    string
		retry   time.Duration // of an answer that is taken
		err     string        // empty for an answer that is taken
		lasting bool
	}{
		{"a window", 200, header("Retry-After", "21600"), window, 6 * time.Hour, "", false},
		{"no Retry-After", 200, nil, window, 0, "", false},
		{"a Retry-After that cannot be read", 200, header("Retry-After", "soon"), window, 0, "", false},
		{"a Retry-After of nothing", 200, header("Retry-After", "0"), window, time.Minute, "", false},
		{"a Retry-After without end", 200, header("Retry-After", "99999999999"), window, 24 * time.Hour, "", false},
		{"a date in the past", 200, header("Retry-After", "Fri, 20 Nov 2020 12:00:30 GMT"), window, time.Minute, "", false},
		{"no object", 200, nil, `[]`, 0, "not a JSON object", true},
		{"nothing", 200, nil, ``, 0, "empty", true},
		{"a web page", 200, nil, `<html>welcome</html>`, 0, "welcome", true},
		{"no window", 200, nil, `{}`, 0, "missing", true},
		{"half a window", 200, nil, `{"suggestedWindow":{"start":"2026-11-20T10:00:00Z"}}`, 0, "missing", true},
		{"a window that ends before it starts", 200, nil, `{"suggestedWindow":{"start":"2026-11-22T10:00:00Z","end":"2026-11-20T10:00:00Z"}}`, 0, "not after its start", true},
		{"a window without length", 200, nil, `{"suggestedWindow":{"start":"2026-11-22T10:00:00Z","end":"2026-11-22T10:00:00Z"}}`, 0, "not after its start", true},
		{"a window of words", 200, nil, `{"suggestedWindow":{"start":"now","end":"later"}}`, 0, "suggestedWindow", true},
		{"a window in another status", 202, nil, window, 0, "202", true},
		{"no content", 204, nil, ``, 0, "204", true},
		{"a redirect", 302, header("Location", "https://elsewhere.example/"), ``, 0, "redirects", true},
		{"an unknown certificate", 404, nil, `{"type":"urn:ietf:params:acme:error:malformed","detail":"no such certificate"}`, 0, "no such certificate", true},
		{"an unknown certificate with a window", 404, nil, window, 0, "404", true},
		{"a refusal", 403, nil, `{}`, 0, "403", true},
		{"a rate limit", 429, header("Retry-After", "600"), `{"type":"urn:ietf:params:acme:error:rateLimited"}`, 0, "try again after", false},
		{"a broken CA", 500, nil, `{}`, 0, "500", false},
		{"an overloaded CA", 503, header("Retry-After", "600"), ``, 0, "try again after", false},
		{"too much", 200, nil, `{"a":"` + strings.Repeat("x", 70<<10) + `"}`, 0, "more than", false},
	} {
		ca, _ := newFake(t)
		ca.json("/dir", 200, ca.directory(map[string]any{"renewalInfo": ca.URL + "/ari/"}))
		ca.on("/ari/aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE", func(w http.ResponseWriter, r *http.Request) {
			for name, values := range tt.header {
				w.Header()[name] = values
			}
			w.WriteHeader(tt.status)
			fmt.Fprint(w, tt.body)
		})
		c := ca.client(t, func(o *Options) { o.Key = nil })
		info, err := c.RenewalInfo(t.Context(), "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")
		if n := ca.count("GET", "/ari/aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"); n != 1 {
			t.Errorf("%s: asked %d times, want once", tt.name, n)
		}
		if tt.err != "" {
			_, typed := errors.AsType[*Problem](err)
			if err == nil || !typed || !strings.Contains(err.Error(), tt.err) || LastingRenewalError(err) != tt.lasting {
				t.Errorf("%s: error %v (lasting: %v), want a Problem with %q (lasting: %v)", tt.name, err, LastingRenewalError(err), tt.err, tt.lasting)
			}
			continue
		}
		want := RenewalInfo{Start: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC), End: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC),
			Explanation: "https://ca.example/why?a=b", RetryAfter: tt.retry}
		if err != nil || *info != want {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, info, err, want)
		}
	}
}

// TestRenewalInfoUnreachable: what asking again may mend, and what not.
func TestRenewalInfoUnreachable(t *testing.T) {
	t.Parallel()
	ca, _ := newFake(t)
	ca.json("/dir", 200, ca.directory(map[string]any{"renewalInfo": ""}))
	c := ca.client(t, nil)
	if _, err := c.RenewalInfo(t.Context(), "AQ.AQ"); !LastingRenewalError(err) || !errors.Is(err, ErrNoRenewalInfo) {
		t.Errorf("a CA without renewal information: %v", err)
	}
	if _, err := c.RenewalInfo(t.Context(), "../../x"); !LastingRenewalError(err) {
		t.Errorf("no certificate identifier: %v", err)
	}
	ca.json("/dir", 200, ca.directory(map[string]any{"renewalInfo": "https://elsewhere.example/ari"}))
	foreign := ca.client(t, nil)
	if _, err := foreign.RenewalInfo(t.Context(), "AQ.AQ"); !LastingRenewalError(err) || ClassOf(err) != ClassOperator {
		t.Errorf("renewal information at another origin: %v, want a problem for the operator", err)
	}
	ca.json("/dir", 200, ca.directory(map[string]any{"renewalInfo": ca.URL + "/ari"}))
	ca.on("/ari/AQ.AQ", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	dropped := ca.client(t, nil)
	if _, err := dropped.RenewalInfo(t.Context(), "AQ.AQ"); err == nil || LastingRenewalError(err) {
		t.Errorf("a broken connection: %v, want an error that may pass", err)
	}
	slow := make(chan struct{})
	ca.on("/ari/AQ.AQ", func(http.ResponseWriter, *http.Request) { <-slow })
	late := ca.client(t, func(o *Options) { o.Timeout = 200 * time.Millisecond })
	if _, err := late.RenewalInfo(t.Context(), "AQ.AQ"); err == nil || LastingRenewalError(err) {
		t.Errorf("a timeout: %v, want an error that may pass", err)
	}
	close(slow)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dropped.RenewalInfo(ctx, "AQ.AQ"); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	nobody := ca.client(t, nil)
	ca.Close()
	if _, err := nobody.RenewalInfo(t.Context(), "AQ.AQ"); !LastingRenewalError(err) {
		t.Errorf("nobody listens: %v, want a lasting error", err)
	}
	if LastingRenewalError(nil) || LastingRenewalError(errors.New("disk full")) {
		t.Error("what is no Problem lasts")
	}
}

func TestExplanation(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]bool{
		"https://ca.example/why": true, "http://ca.example": true, "": false, "javascript:alert(1)": false, "https://": false,
		"//ca.example/x": false, "https://u:p@ca.example/": false, "https://ca.example/a b": false, "file:///etc/passwd": false,
		"https://ca.example/\u202e": false, "mailto:a@b.c": false,
	} {
		if got := explanation(raw); (got == raw && raw != "") != want {
			t.Errorf("the explanation %q is shown as %q, want it shown: %v", raw, got, want)
		}
	}
}

func FuzzRenewalInfo(f *testing.F) {
	for _, seed := range []string{window, `{}`, `{"suggestedWindow":{"start":"2026-11-20T10:00:00Z","end":"9999-12-31T23:59:59Z"},"explanationURL":7}`,
		`{"suggestedWindow":null}`, `{"suggestedWindow":{"start":"0001-01-01T00:00:00Z","end":"0001-01-01T00:00:01Z"}}`} {
		f.Add(seed, "60")
	}
	f.Fuzz(func(t *testing.T, body, retry string) {
		info, err := parseRenewalInfo(&answer{status: 200, header: http.Header{"Retry-After": {retry}}, body: []byte(body), at: time.Now()})
		if err != nil {
			return
		}
		if !info.End.After(info.Start) || info.Start.IsZero() || info.Start.Location() != time.UTC {
			t.Errorf("%q gave the window %v to %v", body, info.Start, info.End)
		}
		if info.RetryAfter != 0 && (info.RetryAfter < leastPause || info.RetryAfter > mostPause) {
			t.Errorf("Retry-After %q gave %v", retry, info.RetryAfter)
		}
		if e := info.Explanation; e != "" && (!strings.HasPrefix(strings.ToLower(e), "http") || Sanitize(e) != e) {
			t.Errorf("%q gave the explanation %q", body, e)
		}
	})
}
