package acme

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestProblemText(t *testing.T) {
	t.Parallel()
	name := Identifier{Type: "dns", Value: "www.example.com"}
	tests := []struct {
		problem Problem
		want    string
	}{
		{
			Problem{CA: "letsencrypt", Operation: "order", request: "newOrder", Type: "rateLimited", Status: 429,
				Detail: "too many certificates", RetryAt: time.Date(2026, 11, 20, 13, 0, 0, 0, time.UTC)},
			"letsencrypt: newOrder: rateLimited (429): too many certificates; try again after 2026-11-20T13:00:00Z",
		},
		{
			Problem{CA: "ca", Operation: "authz", Type: "unauthorized", Detail: "404", Identifier: name},
			"ca: authz: www.example.com: unauthorized: 404",
		},
		{Problem{CA: "ca", Operation: "order", Err: context.Canceled}, "ca: order: context canceled"},
		{Problem{CA: "ca", Operation: "order", Status: 502, Detail: "no"}, "ca: order: HTTP status 502: no"},
		{Problem{CA: "ca", Operation: "order", Status: 200, Detail: "no"}, "ca: order: no"},
		{Problem{CA: "ca", Operation: "order", Type: "caa", Status: 200, Detail: "no"}, "ca: order: caa: no"},
		{
			Problem{CA: "ca", Operation: "account", Type: "userActionRequired", Status: 403, Detail: "new terms", Instance: "https://ca/terms"},
			"ca: account: userActionRequired (403): new terms; see https://ca/terms",
		},
		{
			Problem{CA: "ca", Operation: "order", Type: "compound", Status: 400, Detail: "errors",
				Subproblems: []Subproblem{{Type: "caa", Detail: "forbids", Identifier: name}, {Type: "dns", Detail: "SERVFAIL"}}},
			"ca: order: compound (400): errors; www.example.com: caa: forbids; dns: SERVFAIL",
		},
		{
			Problem{CA: "ca", Operation: "order", Detail: "x", Subproblems: make([]Subproblem, 7)},
			"ca: order: x" + strings.Repeat("; : ", 5) + "; and 2 more",
		},
	}
	for _, tt := range tests {
		if got := tt.problem.Error(); got != tt.want {
			t.Errorf("got  %q,\nwant %q", got, tt.want)
		}
	}
}

func TestProblemLogValue(t *testing.T) {
	t.Parallel()
	p := &Problem{CA: "ca", Operation: "order", Type: "caa", Status: 403, Detail: "no", Class: ClassName,
		Identifier: Identifier{"dns", "a.test"}, RetryAt: time.Unix(0, 0), Instance: "x", Subproblems: make([]Subproblem, 1)}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Error("m", "err", p)
	for _, want := range []string{"err.ca=ca", "err.type=caa", "err.status=403", "err.class=name", "err.identifier=a.test", "err.retry_at=", "err.detail=no"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the log line is %q, want %s in it", b.String(), want)
		}
	}
}

func TestClassOf(t *testing.T) {
	t.Parallel()
	operator := &Problem{Class: ClassOperator, Err: ErrNoAccount}
	tests := []struct {
		err  error
		want Class
	}{
		{nil, ""},
		{errors.New("x"), ClassTransient},
		{&Problem{}, ClassTransient},
		{operator, ClassOperator},
		{fmt.Errorf("order: %w", operator), ClassOperator},
		{errors.Join(errors.New("x"), operator), ClassOperator},
	}
	for _, tt := range tests {
		if got := ClassOf(tt.err); got != tt.want {
			t.Errorf("class of %v is %q, want %q", tt.err, got, tt.want)
		}
	}
	if !errors.Is(operator, ErrNoAccount) {
		t.Error("a Problem does not unwrap to its cause")
	}
}

func TestSanitize(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 300)
	tests := []struct{ in, want string }{
		{"", ""},
		{"plain text", "plain text"},
		{" two\nlines\t and\r\n more ", "two lines and more"},
		{"\x1b[31mred\x00\u202etxt\u200b", "?[31mred??txt?"},
		{"bad \xff\xfe utf-8", "bad ?? utf-8"},
		{"grüße, 日本", "grüße, 日本"},
		{strings.Repeat("x", 512), strings.Repeat("x", 512)},
		{strings.Repeat("x", 513), strings.Repeat("x", 509) + "…"},
		{long, strings.Repeat("é", 254) + "…"},
	}
	for _, tt := range tests {
		if got := Sanitize(tt.in); got != tt.want {
			t.Errorf("Sanitize(%q) is %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzSanitize(f *testing.F) {
	f.Add("a\nb\x1b[0m")
	f.Add(strings.Repeat("\xf0\x9f\x98\x80", 200))
	f.Fuzz(func(t *testing.T, s string) {
		got := Sanitize(s)
		if len(got) > maxText || !utf8.ValidString(got) || got != strings.TrimSpace(got) {
			t.Errorf("Sanitize(%q) is %q, want at most %d bytes of trimmed UTF-8", s, got, maxText)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Errorf("Sanitize(%q) keeps %U", s, r)
			}
		}
		if again := Sanitize(got); again != got {
			t.Errorf("Sanitize is not idempotent: %q, then %q", got, again)
		}
	})
}

func TestClassify(t *testing.T) {
	t.Parallel()
	tests := []struct {
		typ    string
		status int
		about  string
		retry  bool
		want   Class
	}{
		{"rateLimited", 429, "newOrder", false, ClassWait},
		{"rateLimited", 403, "newOrder", false, ClassWait},
		{"", 429, "newOrder", false, ClassWait},
		{"malformed", 429, "newOrder", true, ClassWait},
		{"", 503, "newOrder", true, ClassWait},
		{"serverInternal", 503, "newOrder", false, ClassTransient},
		{"serverInternal", 500, "newOrder", true, ClassTransient},
		{"", 502, "order", false, ClassTransient},
		{"", 404, "order", false, ClassTransient},
		{"badNonce", 400, "order", false, ClassTransient},
		{"orderNotReady", 403, "finalize", false, ClassTransient},
		{"", 401, "newOrder", false, ClassOperator},
		{"", 403, "newOrder", false, ClassOperator},
		{"unauthorized", 403, "newOrder", false, ClassOperator},
		{"unauthorized", 0, validation, false, ClassName},
		{"userActionRequired", 403, "newOrder", false, ClassOperator},
		{"externalAccountRequired", 403, "newAccount", false, ClassOperator},
		{"accountDoesNotExist", 400, "newOrder", false, ClassOperator},
		{"badCSR", 400, "finalize", false, ClassOperator},
		{"badPublicKey", 400, "newAccount", false, ClassOperator},
		{"badSignatureAlgorithm", 400, "newOrder", false, ClassOperator},
		{"unsupportedContact", 400, "newAccount", false, ClassOperator},
		{"invalidContact", 400, "newAccount", false, ClassOperator},
		{"rejectedIdentifier", 400, "newOrder", false, ClassName},
		{"unsupportedIdentifier", 400, "newOrder", false, ClassName},
		{"malformed", 400, "newOrder", false, ClassName},
		{"malformed", 400, "challenge", false, ClassTransient},
		{"dns", 0, validation, false, ClassName},
		{"connection", 0, validation, false, ClassName},
		{"tls", 0, validation, false, ClassName},
		{"caa", 403, "finalize", false, ClassName},
		{"incorrectResponse", 0, validation, false, ClassName},
		{"serverInternal", 0, validation, false, ClassTransient},
		{"compound", 403, "newOrder", false, ClassOperator},
		{"somethingNew", 400, "newOrder", false, ClassTransient},
	}
	for _, tt := range tests {
		p := &Problem{Type: tt.typ, Status: tt.status}
		if got := classify(p, tt.about, tt.retry); got != tt.want {
			t.Errorf("%s (%d) about %s is of class %s, want %s", tt.typ, tt.status, tt.about, got, tt.want)
		}
	}
}

func TestClassifyCompound(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		types string // of the subproblems
		want  Class
	}{
		{"caa rejectedIdentifier", ClassName},
		{"caa rateLimited", ClassWait},
		{"caa userActionRequired", ClassOperator},
		{"unauthorized", ClassName},
		{"serverInternal", ClassTransient},
	} {
		p := &Problem{Type: "compound", Status: 403}
		for _, typ := range strings.Fields(tt.types) {
			p.Subproblems = append(p.Subproblems, Subproblem{Type: typ, Identifier: Identifier{"dns", "a.test"}})
		}
		if got := classify(p, "newOrder", false); got != tt.want {
			t.Errorf("a compound of %s is of class %s, want %s", tt.types, got, tt.want)
		}
	}
}

func TestAnswerProblem(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	a := &answer{status: 429, at: at, header: http.Header{"Retry-After": {"99999999999"}},
		body: []byte(`{"type":"urn:ietf:params:acme:error:rateLimited","detail":"slow\ndown","status":"odd","instance":7,
		"subproblems":[{"type":"urn:acme:error:caa","detail":"\u001b[1m","identifier":{"type":"dns","value":"A.test"}},{"identifier":{"type":"x","value":"../"}}]}`)}
	p := answerProblem(a, "newOrder")
	if p.Type != "rateLimited" || p.Detail != "slow down" || p.Status != 429 || p.Instance != "" || !p.RetryAt.Equal(at.Add(maxWait)) {
		t.Errorf("got %+v, want a rate limit for a day", p)
	}
	if len(p.Subproblems) != 2 || p.Subproblems[0] != (Subproblem{"caa", "?[1m", Identifier{"dns", "a.test"}}) || p.Subproblems[1].Identifier != (Identifier{}) {
		t.Errorf("got subproblems %+v, want caa for a.test and one without identifier", p.Subproblems)
	}
	for _, body := range []string{"", "<html>\nerror</html>", "null", `["x"]`, `{"type":1,"detail":[]}`, `{"type":"about:blank"}`} {
		a := &answer{status: 500, at: at, header: http.Header{}, body: []byte(body)}
		p := answerProblem(a, "newOrder")
		if p.Class != ClassTransient || !strings.HasPrefix(p.Detail, "no problem document; ") {
			t.Errorf("a 500 with body %q gave %+v, want a transient one that quotes it", body, p)
		}
	}
	p = answerProblem(&answer{status: 429, at: at, header: http.Header{"Retry-After": {"soon"}}}, "newOrder")
	if wait := time.Until(p.RetryAt); wait > defaultWait || wait < defaultWait-time.Minute {
		t.Errorf("a rate limit without a readable time is tried again in %v, want %v", wait, defaultWait)
	}
}

func FuzzProblem(f *testing.F) {
	f.Add([]byte(`{"type":"urn:ietf:params:acme:error:compound","detail":"x","subproblems":[{"type":"a","identifier":{"type":"dns","value":"b"}}]}`), "120")
	f.Add([]byte(`{"type":null,"subproblems":[null,{}]}`), "Fri, 20 Nov 2026 12:00:00 GMT")
	f.Fuzz(func(t *testing.T, body []byte, retry string) {
		at := time.Now()
		a := &answer{status: 400 + len(body)%200, at: at, body: body, header: http.Header{"Retry-After": {retry}}}
		p := answerProblem(a, "newOrder")
		if p.Class == "" || strings.ContainsAny(p.Error(), "\n\r\x00\x1b") {
			t.Errorf("problem %+v has no class or is not one clean line", p)
		}
		if !p.RetryAt.IsZero() && (p.RetryAt.Before(at.Add(minWait)) || p.RetryAt.After(time.Now().Add(maxWait))) {
			t.Errorf("try again at %v, want a second to a day from %v", p.RetryAt, at)
		}
	})
}
