package challenge_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"certd/challenge"
)

// front starts a redirector on a port of its own.
func front(t *testing.T, r *challenge.Redirector, responder *challenge.Responder) (addr string) {
	t.Helper()
	ln, err := challenge.Bind(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := responder.Serve(ln, r.Handler(responder)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = responder.Close() })
	return ln.Addr().String()
}

// wanted are the names that the redirectors of the tests redirect for.
func wanted(name string) bool {
	return slices.Contains([]string{"www.example.com", "xn--bcher-kva.example", "192.0.2.1", "2001:db8::1"}, name)
}

// The cases R1, R2, R3, R5, R6 and R8 of the redirector, as bytes on a socket.
func TestRedirectorRequests(t *testing.T) {
	t.Parallel()
	responder := challenge.NewResponder()
	addr := front(t, &challenge.Redirector{Allowed: wanted}, responder)
	responder.Put(token, keyAuth)
	get := func(target, host string) string { return "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n" }
	const www = "https://www.example.com"
	for _, c := range []struct {
		name, request string
		status        int
		location      string
	}{
		{"plain", get("/a/b?c=d&e", "www.example.com"), 308, www + "/a/b?c=d&e"},
		{"root", get("/", "www.example.com"), 308, www + "/"},
		{"port is dropped", get("/x", "www.example.com:8080"), 308, www + "/x"},
		{"empty port", get("/x", "www.example.com:"), 308, www + "/x"},
		{"upper case", get("/X", "WWW.Example.COM"), 308, www + "/X"},
		{"final dot", get("/x", "www.example.com."), 308, www + "/x"},
		{"final dot and port", get("/x", "www.example.com.:80"), 308, www + "/x"},
		{"A-labels", get("/x", "xn--bcher-kva.example"), 308, "https://xn--bcher-kva.example/x"},
		{"IPv4", get("/x", "192.0.2.1:80"), 308, "https://192.0.2.1/x"},
		{"IPv6", get("/x", "[2001:DB8:0::1]:80"), 308, "https://[2001:db8::1]/x"},
		{"HTTP/1.0 with Host", "GET /x HTTP/1.0\r\nHost: www.example.com\r\n\r\n", 308, www + "/x"},
		{"HEAD", "HEAD /x HTTP/1.1\r\nHost: www.example.com\r\n\r\n", 308, www + "/x"},
		{"POST keeps its method", "POST /x HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 2\r\n\r\nhi", 308, www + "/x"},
		{"Host of nobody", get("/x", "evil.example"), 421, ""},
		{"subdomain", get("/x", "a.www.example.com"), 421, ""},
		{"name as a prefix", get("/x", "www.example.com.evil.example"), 421, ""},
		{"two final dots", get("/x", "www.example.com.."), 421, ""},
		{"empty Host", get("/x", ""), 421, ""},
		{"no Host in HTTP/1.0", "GET /x HTTP/1.0\r\n\r\n", 421, ""},
		{"only a port", get("/x", ":80"), 421, ""},
		{"userinfo", get("/x", "www.example.com@evil.example"), 400, ""},
		{"userinfo before", get("/x", "evil.example:x@www.example.com"), 400, ""},
		{"bad port", get("/x", "www.example.com:80x"), 421, ""},
		{"two ports", get("/x", "www.example.com:80:80"), 421, ""},
		{"port 0", get("/x", "www.example.com:0"), 421, ""},
		{"port 65536", get("/x", "www.example.com:65536"), 421, ""},
		{"bare IPv6", get("/x", "2001:db8::1"), 421, ""},
		{"IPv6 with zone", get("/x", "[2001:db8::1%25eth0]"), 421, ""},
		{"IPv4 in IPv6", get("/x", "[::ffff:192.0.2.1]"), 421, ""},
		{"IPv4 in brackets", get("/x", "[192.0.2.1]"), 421, ""},
		{"IPv4 as a number", get("/x", "3221225985"), 421, ""},
		{"escaped", get("/x", "www%2eexample.com"), 421, ""},
		{"underscore", get("/x", "www_x.example.com"), 421, ""},
		{"absolute form of a wanted name", get("http://www.example.com/x", "www.example.com"), 421, ""},
		{"absolute form against Host", get("http://www.example.com/x", "evil.example"), 421, ""},
		{"absolute form of nobody", get("http://evil.example/x", "www.example.com"), 421, ""},
		{"slash in Host", get("/x", "www.example.com/evil"), 400, ""},
		{"space in Host", get("/x", "www.example.com evil"), 400, ""},
		{"raw UTF-8 in Host", get("/x", "www.example.\u212aom"), 400, ""},
		{"no Host", "GET /x HTTP/1.1\r\n\r\n", 400, ""},
		{"two Hosts", "GET /x HTTP/1.1\r\nHost: www.example.com\r\nHost: evil.example\r\n\r\n", 400, ""},
		{"7 kB of Host", get("/x", strings.Repeat("a.", 3500)+"example"), 421, ""},
		{"64 kB of Host", get("/x", strings.Repeat("a", 64<<10)), 431, ""},
		{"two slashes", get("//evil.example/x", "www.example.com"), 308, www + "/"},
		{"slash and backslash", get(`/\evil.example`, "www.example.com"), 308, www + "/"},
		{"escaped backslash", get("/%5cevil", "www.example.com"), 308, www + "/%5cevil"},
		{"escaped line feed", get("/%0d%0aX:y", "www.example.com"), 308, www + "/%0d%0aX:y"},
		{"escaped slashes", get("/%2f%2fevil", "www.example.com"), 308, www + "/%2f%2fevil"},
		{"dot segments", get("/../..//x", "www.example.com"), 308, www + "/../..//x"},
		{"raw UTF-8", get("/\u00e4", "www.example.com"), 308, www + "/"},
		{"fragment", get("/x#y", "www.example.com"), 308, www + "/"},
		{"bad escape", get("/%zz", "www.example.com"), 400, ""},
		{"scheme without slashes", get("http:evil", "www.example.com"), 421, ""},
		{"javascript", get("javascript:alert(1)", "www.example.com"), 421, ""},
		{"no slash", get("evil", "www.example.com"), 400, ""},
		{"CONNECT", "CONNECT www.example.com:443 HTTP/1.1\r\nHost: www.example.com\r\n\r\n", 405, ""},
		{"TRACE", "TRACE /x HTTP/1.1\r\nHost: www.example.com\r\n\r\n", 405, ""},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: www.example.com\r\n\r\n", 405, ""},
		{"made-up method", "BREW /x HTTP/1.1\r\nHost: www.example.com\r\n\r\n", 405, ""},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 405, ""},
		{"HTTP/2 by name", "GET /x HTTP/2.0\r\nHost: www.example.com\r\n\r\n", 505, ""},
		{"HTTP/1.2", "GET /x HTTP/1.2\r\nHost: www.example.com\r\n\r\n", 400, ""},
		{"HTTP/0.9", "GET /x\r\n\r\n", 400, ""},
		{"HTTP/0.9 by name", "GET /x HTTP/0.9\r\nHost: www.example.com\r\n\r\n", 505, ""},
		{"upgrade to h2c", "GET /x HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", 308, www + "/x"},
		{"h2c, and its preface behind", "GET /x HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" +
			"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 308, www + "/x"},
		{"challenge for another Host", get(path, "evil.example"), 200, ""},
		{"unknown token", get(path+"x", "www.example.com"), 404, ""},
		{"challenge directory", get(challenge.PathPrefix, "www.example.com"), 404, ""},
		{"escaped challenge path", get("/.well-known%2facme-challenge/"+token, "www.example.com"), 404, ""},
		{"challenge path with a query", get(path+"?x", "www.example.com"), 404, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			resp, body, rest := raw(t, addr, c.request)
			if got := resp.Header.Get("Location"); resp.StatusCode != c.status || got != c.location {
				t.Fatalf("got %d to %q, want %d to %q", resp.StatusCode, got, c.status, c.location)
			}
			if !resp.Close || rest != "" {
				t.Errorf("the connection goes on after %d with %q", resp.StatusCode, rest)
			}
			if strings.Contains(body, "evil") {
				t.Errorf("the body reflects the request: %.200q", body)
			}
			wantCaching(t, resp)
		})
	}
}

// wantCaching: no shared cache keeps anything, and nobody keeps a refusal (R6).
func wantCaching(t *testing.T, resp *http.Response) {
	t.Helper()
	want := "no-store"
	switch resp.StatusCode {
	case 308:
		want = "private, max-age=3600"
	case 400, 431, 505: // those of net/http are not cacheable by RFC 9110 §15.1
		return
	}
	if got := resp.Header.Get("Cache-Control"); got != want {
		t.Errorf("Cache-Control of %d is %q, want %q", resp.StatusCode, got, want)
	}
	if got := resp.Header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("the redirector promises %q for the https site", got)
	}
}

// One connection is one request also where requests are redirected (R8).
func TestRedirectorSmuggling(t *testing.T) {
	t.Parallel()
	addr := front(t, &challenge.Redirector{All: true}, challenge.NewResponder())
	second := "GET /second HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
	for _, first := range []string{
		"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: www.example.com\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: www.example.com\r\nTransfer-Encoding: chunked\r\n\r\n1;a=\r\nb\r\nX\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: www.example.com\r\nX: a\r\n b\r\nConnection: keep-alive\r\n\r\n",
		"GET / HTTP/1.1\nHost: www.example.com\n\n",
	} {
		if resp, _, rest := raw(t, addr, first+second); rest != "" {
			t.Errorf("after %q (%d) a second request was answered: %.200q", first, resp.StatusCode, rest)
		}
	}
}

func TestRedirectorOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		r      challenge.Redirector
		host   string
		status int
	}{
		{"the zero value redirects nothing", challenge.Redirector{}, "www.example.com", 421},
		{"all valid names", challenge.Redirector{All: true}, "intranet", 308},
		{"all, yet no name", challenge.Redirector{All: true}, "a..example", 421},
		{"all, yet a number", challenge.Redirector{All: true}, "example.0x7f", 421},
		{"another status", challenge.Redirector{All: true, Status: 302}, "www.example.com", 302},
	} {
		w := httptest.NewRecorder()
		req := httptest.NewRequestWithContext(context.Background(), "GET", "/x", nil)
		req.Host = c.host
		c.r.Handler(http.NotFoundHandler()).ServeHTTP(w, req)
		if w.Code != c.status {
			t.Errorf("%s: got %d, want %d", c.name, w.Code, c.status)
		}
	}
}

// tally counts results.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *tally) count(result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[result]++
}

// Files of the challenge directory are served by exact token, and nothing else
// that somebody put there.
func TestChallengeFiles(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	named := func(letter string) string { return strings.Repeat(letter, 32) }
	write := func(dir, name, data string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(dir, named("a"), named("a")+".thumb\n")
	write(dir, named("b"), "-----BEGIN EC PRIVATE KEY-----\n")
	write(dir, named("c"), named("c")+".thumb"+strings.Repeat("x", 2000))
	write(dir, named("d"), named("a")+".thumb")
	write(dir, "short", "short.thumb")
	write(dir, ".hidden", "x")
	write(outside, named("e"), named("e")+".thumb")
	link(filepath.Join(outside, named("e")), named("e"))
	link("/dev/zero", named("f"))
	if err := os.Mkdir(filepath.Join(dir, named("g")), 0o755); err != nil {
		t.Fatal(err)
	}
	var responses, redirects tally
	responder := challenge.NewResponder()
	responder.Dirs, responder.Count = []string{filepath.Join(dir, "missing"), dir}, responses.count
	addr := front(t, &challenge.Redirector{Allowed: wanted, Count: redirects.count}, responder)
	for _, c := range []struct {
		name, path, body string
	}{
		{"a challenge file", named("a"), named("a") + ".thumb"},
		{"a key", named("b"), ""},
		{"a large file", named("c"), ""},
		{"the answer of another token", named("d"), ""},
		{"a link out of the directory", named("e"), ""},
		{"a link to a device", named("f"), ""},
		{"a directory", named("g"), ""},
		{"no token", "short", ""},
		{"a hidden file", ".hidden", ""},
		{"an unknown token", named("h"), ""},
		{"dot segments", "../" + filepath.Base(dir) + "/" + named("a"), ""},
		{"an escape", "%61" + named("a")[1:], ""},
	} {
		resp, body, _ := raw(t, addr, "GET "+challenge.PathPrefix+c.path+" HTTP/1.0\r\n\r\n")
		if c.body != "" && (resp.StatusCode != 200 || body != c.body) || c.body == "" && (resp.StatusCode != 404 || body != "not found\n") {
			t.Errorf("%s: got %d %q, want %q", c.name, resp.StatusCode, body, c.body)
		}
	}
	raw(t, addr, "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
	raw(t, addr, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
	raw(t, addr, "TRACE / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
	raw(t, addr, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	if err := responder.Close(); err != nil { // every count has been made
		t.Error(err)
	}
	for result, want := range map[string]int{"served": 1, "store_error": 6, "unknown": 5, "bad_request": 1} {
		if got := responses.n[result]; got != want {
			t.Errorf("%d challenge requests were counted as %s, want %d", got, result, want)
		}
	}
	for result, want := range map[string]int{"redirected": 1, "misdirected": 1, "bad_request": 1} {
		if got := redirects.n[result]; got != want {
			t.Errorf("%d other requests were counted as %s, want %d", got, result, want)
		}
	}
}

// FuzzRedirect: whatever a request says, a Location leads to a wanted name.
func FuzzRedirect(f *testing.F) {
	for _, seed := range [][2]string{
		{"/", "www.example.com"}, {"//evil", "www.example.com"}, {`/\evil`, "WWW.example.com.:80"}, {"http://evil/", "www.example.com"},
		{"/%0d%0aX:", "www.example.com@evil"}, {"/?a#b", "[2001:db8::1]:80"}, {"*", "192.0.2.1"}, {"http:evil", "www.example.com"}, {"/\u00e4?\u00e4", "xn--bcher-kva.example"},
		{"/.well-known/acme-challenge/", "www.example.com"}, {"/x\ty", "www.example.com:"}, {"/@evil", "www.example.com"}, {"/a?b=//evil/\\", "www.example.com"},
	} {
		f.Add(seed[0], seed[1])
	}
	r := &challenge.Redirector{Allowed: wanted}
	handler := r.Handler(http.NotFoundHandler())
	f.Fuzz(func(t *testing.T, target, host string) {
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")))
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		location := w.Header().Get("Location")
		if location == "" {
			if w.Code < 400 {
				t.Errorf("status %d without Location", w.Code)
			}
			return
		}
		u, err := url.Parse(location)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" || !wanted(u.Hostname()) || !strings.HasPrefix(u.EscapedPath(), "/") || u.Fragment != "" {
			t.Errorf("target %q and Host %q lead to %q (%v)", target, host, location, err)
		}
		if strings.ContainsFunc(location, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
			t.Errorf("target %q and Host %q give the Location %q", target, host, location)
		}
	})
}

// FuzzUpgrade: whatever a request would like to go on with, it is answered as if
// it had not said so, and in HTTP/1 (R9).
func FuzzUpgrade(f *testing.F) {
	for _, upgrade := range []string{"h2c", "H2C", "h2c, websocket", "HTTP/2.0", "TLS/1.0", "websocket", "\t", "a/b/c", "h2", ","} {
		f.Add(upgrade, "Upgrade, HTTP2-Settings", "AAMAAABkAAQAAP__")
		f.Add(upgrade, "keep-alive", "")
	}
	responder := challenge.NewResponder()
	responder.Put(token, "right")
	handler := (&challenge.Redirector{Allowed: wanted}).Handler(responder)
	f.Fuzz(func(t *testing.T, upgrade, connection, settings string) {
		for target, want := range map[string]int{"/x": http.StatusPermanentRedirect, challenge.PathPrefix + token: http.StatusOK} {
			req, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: www.example.com\r\n" +
				"Connection: " + connection + "\r\nHTTP2-Settings: " + settings + "\r\nUpgrade: " + upgrade + "\r\n\r\n")))
			if err != nil || len(req.Header) > 3 || req.Host != "www.example.com" {
				return // no request, or another one
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, req)
			if w.Code != want || w.Header().Get("Upgrade") != "" || w.Header().Get("Connection") != "close" {
				t.Errorf("%s with Upgrade %q and Connection %q is answered with %d, %v", target, upgrade, connection, w.Code, w.Header())
			}
		}
	})
}
