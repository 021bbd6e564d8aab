package acme

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	weak := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}}
	good := Options{Directory: "https://ca.example/dir", Key: testKey(t), KID: "https://ca.example/acct/1"}
	tests := []struct {
		want string
		edit func(*Options)
	}{
		{"", func(*Options) {}},
		{"", func(o *Options) { o.Key, o.KID = nil, "" }},
		{"the URL is missing", func(o *Options) { o.Directory = "" }},
		{"not https", func(o *Options) { o.Directory = "http://ca.example/dir" }},
		{"credentials", func(o *Options) { o.Directory = "https://me@ca.example/dir" }},
		{"key of type", func(o *Options) { o.Key = ed }},
		{"RSA key of 1024 bits", func(o *Options) { o.Key = weak }},
		{"not its own origin", func(o *Options) { o.KID = "https://other.example/acct/1" }},
		{"no certificate in PEM", func(o *Options) { o.RootsPEM = []byte("x") }},
	}
	for _, tt := range tests {
		o := good
		tt.edit(&o)
		c, err := New(o)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("good options are refused: %v", err)
		case tt.want == "":
			if c.name != "ca.example" || c.KID() != o.KID {
				t.Errorf("got name %q and KID %q, want ca.example and %q", c.name, c.KID(), o.KID)
			}
			c.Close()
		case err == nil || !strings.Contains(err.Error(), tt.want) || ClassOf(err) != ClassOperator:
			t.Errorf("got %v, want an error with %q for the operator", err, tt.want)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	c, err := New(Options{Directory: "https://ca.example/dir", Key: testKey(t)})
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]bool{
		goodToken: true, strings.Repeat("a", 22): true, strings.Repeat("a", 128): true,
		"": false, strings.Repeat("a", 21): false, strings.Repeat("a", 129): false,
		"../../../../../../etc/passwd": false, goodToken + ".": false, goodToken + "=": false, goodToken + "\n": false, goodToken + "é": false,
	} {
		keyAuth, err := c.KeyAuthorization(token)
		if ValidToken(token) != want || (err == nil) != want || want && !strings.HasPrefix(keyAuth, token+".") {
			t.Errorf("token %q: valid %v, key authorization %q, %v, want %v", token, ValidToken(token), keyAuth, err, want)
		}
	}
	keyless, err := New(Options{Directory: "https://ca.example/dir"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keyless.KeyAuthorization(goodToken); ClassOf(err) != ClassOperator {
		t.Errorf("a key authorization without a key gave %v", err)
	}
}

// TestAnswers gives bad answers to one request and looks at the error.
func TestAnswers(t *testing.T) {
	t.Parallel()
	ca, c := newFake(t)
	big := strings.Repeat("x", maxJSON)
	tests := []struct {
		name    string
		status  int
		body    string
		headers []string
		class   Class
		want    string
	}{
		{"captive portal", 200, "<html>\n<title>Log in</title>", []string{"Content-Type", "text/html"}, ClassTransient, "the answer begins: <html> <title>Log in</title>"},
		{"empty", 200, "", nil, ClassTransient, "the answer is empty"},
		{"null", 200, "null", nil, ClassTransient, "not a JSON object"},
		{"list", 200, "[]", nil, ClassTransient, "not a JSON object"},
		{"trailing data", 200, ca.order(nil) + "x", nil, ClassTransient, "follows"},
		{"repeated key", 200, `{"status":"valid","status":"ready"}`, nil, ClassTransient, "twice"},
		{"control characters", 200, "\x1b[2J\x00\x07boo", nil, ClassTransient, "?[2J??boo"},
		{"accepted", 202, ca.order(nil), nil, ClassTransient, "status 202"},
		{"no content", 204, "", nil, ClassTransient, "status 204"},
		{"too big", 200, `{"a":"` + big + `"}`, nil, ClassTransient, "more than 1048576"},
		{"too big a problem", 500, big[:maxProblem+1], []string{"Retry-After", "1"}, ClassTransient, "more than 65536"},
		{"compressed", 200, "\x1f\x8b\x08", []string{"Content-Encoding", "gzip"}, ClassTransient, "not UTF-8"},
		{"moved", 301, "", []string{"Location", "https://evil.example/\u00e9"}, ClassTransient, "redirects to"},
		{"moved here", 307, "", []string{"Location", ca.URL + "/order/2"}, ClassTransient, "redirects to"},
		{"not modified", 304, "", nil, ClassTransient, "redirects to"},
		{"rate limit", 429, problemDoc("rateLimited", "too many"), []string{"Retry-After", "-5"}, ClassWait, "rateLimited (429): too many; try again after 2"},
		{"rate limit without words", 429, "", nil, ClassWait, "try again after 2"},
		{"maintenance", 503, "<html>", []string{"Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"}, ClassWait, "try again after 2"},
		{"not found", 404, problemDoc("malformed", "no such order"), nil, ClassTransient, "malformed (404): no such order"},
		{"forbidden", 403, problemDoc("unauthorized", "not yours"), nil, ClassOperator, "unauthorized (403): not yours"},
	}
	for _, tt := range tests {
		ca.json("/order/1", tt.status, tt.body, tt.headers...)
		_, err := c.Order(t.Context(), ca.URL+"/order/1")
		p := asProblem(t, tt.name, err, tt.class, tt.want)
		if p.Status != tt.status {
			t.Errorf("%s: got status %d, want %d", tt.name, p.Status, tt.status)
		}
	}
	if n := ca.count("POST", "/order/1"); n != len(tests) {
		t.Errorf("%d requests for %d answers: some were repeated", n, len(tests))
	}
	if n := ca.count("POST", "/order/2") + ca.count("GET", "/order/2"); n != 0 {
		t.Errorf("%d requests followed a redirect", n)
	}
}

// TestRepetitions counts how often a failing request is sent.
func TestRepetitions(t *testing.T) {
	t.Parallel()
	ca, c := newFake(t)
	order := &Order{URL: ca.URL + "/order/1", Finalize: ca.URL + "/fail"}
	ca.on("/new-order", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) })
	tests := []struct {
		name string
		path string
		want int
		call func(context.Context) error
	}{
		{"order", "/fail", 3, func(ctx context.Context) error { _, err := c.Order(ctx, ca.URL+"/fail"); return err }},
		{"certificate", "/fail", 3, func(ctx context.Context) error { _, err := c.Certificate(ctx, ca.URL+"/fail"); return err }},
		{"deactivate", "/fail", 3, func(ctx context.Context) error { return c.DeactivateAuthorization(ctx, ca.URL+"/fail") }},
		{"answer", "/fail", 1, func(ctx context.Context) error { return c.Answer(ctx, Challenge{URL: ca.URL + "/fail"}) }},
		{"finalize", "/fail", 1, func(ctx context.Context) error { _, err := c.Finalize(ctx, order, []byte{1}); return err }},
		{"newOrder", "/new-order", 1, func(ctx context.Context) error {
			_, err := c.NewOrder(ctx, OrderSpec{Identifiers: []Identifier{{"dns", "a.test"}}})
			return err
		}},
	}
	for _, tt := range tests {
		ca.json("/fail", 502, "<html>Bad gateway</html>")
		before := ca.count("POST", tt.path)
		asProblem(t, tt.name, tt.call(t.Context()), ClassTransient, "")
		if n := ca.count("POST", tt.path) - before; n != tt.want {
			t.Errorf("%s: sent %d times to a CA that answers 5xx, want %d", tt.name, n, tt.want)
		}
		if tt.name == "order" || tt.name == "finalize" {
			ca.json("/fail", 400, problemDoc("badNonce", "stale"))
			before = ca.count("POST", tt.path)
			asProblem(t, tt.name, tt.call(t.Context()), ClassTransient, "badNonce (400): stale")
			if n := ca.count("POST", tt.path) - before; n != 2*(1+maxNonceTries) {
				t.Errorf("%s: sent %d times to a CA that likes no nonce, want %d", tt.name, n, 2*(1+maxNonceTries))
			}
		}
	}
	if n := ca.count("HEAD", "/nonce"); n != 1 {
		t.Errorf("newNonce was asked %d times although every answer brought a nonce, want once", n)
	}
}

func TestFinalizeIsSentOnce(t *testing.T) {
	t.Parallel()
	ca, c := newFake(t)
	o := &Order{URL: ca.URL + "/order/1", Finalize: ca.URL + "/finalize/1", Identifiers: []Identifier{{"dns", "www.example.com"}}}
	tests := []struct {
		change map[string]any
		status Status
		want   string
	}{
		{map[string]any{"status": "processing"}, StatusProcessing, ""},
		{map[string]any{"status": "valid", "certificate": ca.URL + "/cert/1"}, StatusValid, ""},
		{map[string]any{"status": "pending"}, "", "pending after it was finalized"},
		{map[string]any{"status": "ready"}, "", "ready after it was finalized"},
		{map[string]any{"status": "invalid"}, "", "does not say why"},
		{map[string]any{"status": "invalid", "error": map[string]any{"type": "urn:ietf:params:acme:error:caa", "detail": "CAA forbids"}}, "", "caa: CAA forbids"},
		{map[string]any{"status": "processing", "identifiers": []any{map[string]any{"type": "dns", "value": "b.test"}}}, "", "not asked for"},
	}
	for _, tt := range tests {
		ca.json("/finalize/1", 200, ca.order(tt.change))
		got, err := c.Finalize(t.Context(), o, []byte{1})
		switch {
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("an order that is then %v gave %v, want an error with %q", tt.change, err, tt.want)
		case tt.want == "" && (err != nil || got.Status != tt.status || got.URL != o.URL):
			t.Errorf("an order that is then %v gave %+v, %v", tt.change, got, err)
		}
	}
	if n := ca.count("POST", "/finalize/1"); n != len(tests) {
		t.Errorf("%d requests to finalize, want %d", n, len(tests))
	}
	if n := ca.count("POST", "/order/1") + ca.count("POST", "/cert/1"); n != 0 {
		t.Errorf("finalizing sent %d requests more, want none", n)
	}
}

func TestNonceAnswers(t *testing.T) {
	t.Parallel()
	ca, _ := newFake(t)
	nonce := func(status int, values ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Del("Replay-Nonce")
			for _, v := range values {
				w.Header().Add("Replay-Nonce", v)
			}
			w.WriteHeader(status)
		}
	}
	ca.json("/order/1", 200, ca.order(nil))
	tests := []struct {
		name  string
		route http.HandlerFunc
		tries int
		want  string
	}{
		{"good", nonce(204, "abc"), 1, ""},
		{"none", nonce(200), 1, "no usable Replay-Nonce"},
		{"not base64url", nonce(200, "a b"), 1, "no usable Replay-Nonce"},
		{"too long", nonce(200, strings.Repeat("a", 257)), 1, "no usable Replay-Nonce"},
		{"huge", nonce(200, strings.Repeat("a", 10<<20)), 1, ""},
		{"failing", nonce(500), 3, "500"},
		{"forbidden", nonce(403), 1, "403"},
		{"redirect", nonce(302), 1, "redirects"},
	}
	for _, tt := range tests {
		ca.on("/nonce", tt.route)
		before := ca.count("HEAD", "/nonce")
		c := ca.client(t, func(o *Options) { o.KID = ca.URL + "/account/1" })
		_, err := c.Order(t.Context(), ca.URL+"/order/1")
		if tt.name == "good" {
			if err != nil {
				t.Errorf("%s nonce: %v", tt.name, err)
			}
			continue
		}
		p, _ := errors.AsType[*Problem](err)
		if p == nil || p.Operation != "nonce" || !strings.HasPrefix(err.Error(), "fake: newNonce: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s nonce gave %v, want a problem of newNonce with %q", tt.name, err, tt.want)
		}
		if n := ca.count("HEAD", "/nonce") - before; n != tt.tries {
			t.Errorf("%s nonce: asked %d times, want %d", tt.name, n, tt.tries)
		}
	}
}

func TestBadNoncesInAnswersAreIgnored(t *testing.T) {
	t.Parallel()
	ca, c := newFake(t)
	ca.json("/order/1", 200, ca.order(nil))
	ca.on("/order/1", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Replay-Nonce", strings.Repeat("!", 300))
		io.WriteString(w, ca.order(nil))
	})
	for range 3 {
		if _, err := c.Order(t.Context(), ca.URL+"/order/1"); err != nil {
			t.Errorf("order: %v", err)
		}
	}
	if n := ca.count("HEAD", "/nonce"); n != 3 {
		t.Errorf("newNonce was asked %d times for 3 requests, want once for each", n)
	}
}

func TestForeignURLsAreNotRequested(t *testing.T) {
	t.Parallel()
	ca, c := newFake(t)
	other := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a foreign origin was asked") }))
	defer other.Close()
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request went out without TLS") }))
	defer plain.Close()
	ctx := t.Context()
	for _, url := range []string{other.URL + "/x", plain.URL + "/x", strings.Replace(ca.URL, "https:", "http:", 1), ca.URL + "@" + other.Listener.Addr().String()} {
		_, orderErr := c.Order(ctx, url)
		_, authzErr := c.Authorization(ctx, url)
		_, certErr := c.Certificate(ctx, url)
		_, listErr := c.OpenOrders(ctx, url)
		_, finalizeErr := c.Finalize(ctx, &Order{URL: ca.URL, Finalize: url}, nil)
		for _, err := range []error{orderErr, authzErr, certErr, listErr, finalizeErr, c.Answer(ctx, Challenge{URL: url}), c.DeactivateAuthorization(ctx, url)} {
			asProblem(t, url, err, ClassOperator, "")
		}
	}
	req, err := http.NewRequest("POST", other.URL, bytes.NewReader(nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&call{client: c}).RoundTrip(req); ClassOf(err) != ClassOperator {
		t.Errorf("the transport itself let a request pass: %v", err)
	}
	if n := ca.count("GET", "/dir"); n != 0 {
		t.Errorf("%d requests of the directory for URLs that cannot be used, want none", n)
	}
}
