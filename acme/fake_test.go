package acme

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fakeCA answers with whatever a test gives it, over TLS. Paths without an
// answer are 404. It verifies nothing.
type fakeCA struct {
	*httptest.Server
	mu       sync.Mutex
	routes   map[string]http.HandlerFunc // guarded by mu, as the rest
	hits     map[string]int              // requests by method and path
	payloads []string                    // of signed requests
	nonces   int                         // handed out
}

// newFake returns a fake CA with a directory and nonces, and a client of it that
// has an account and gives up a request after 30 seconds.
func newFake(t testing.TB) (*fakeCA, *Client) {
	t.Helper()
	ca := &fakeCA{routes: map[string]http.HandlerFunc{}, hits: map[string]int{}}
	ca.Server = httptest.NewUnstartedServer(ca)
	ca.Config.ErrorLog = log.New(io.Discard, "", 0)
	ca.StartTLS()
	t.Cleanup(ca.Close)
	ca.json("/dir", 200, ca.directory(nil))
	ca.on("/nonce", func(http.ResponseWriter, *http.Request) {})
	return ca, ca.client(t, func(o *Options) { o.KID = ca.URL + "/account/1" })
}

// client returns a client of ca; edit changes its options.
func (ca *fakeCA) client(t testing.TB, edit func(*Options)) *Client {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Name: "fake", Directory: ca.URL + "/dir", Key: key, RootsPEM: ca.rootsPEM(), Timeout: 30 * time.Second}
	if edit != nil {
		edit(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (ca *fakeCA) rootsPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate().Raw})
}

// ServeHTTP notes the request and lets the test's route answer it.
func (ca *fakeCA) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	ca.mu.Lock()
	ca.hits[r.Method+" "+r.URL.Path]++
	var signed jws
	if json.Unmarshal(body, &signed) == nil {
		payload, _ := base64.RawURLEncoding.DecodeString(signed.Payload)
		ca.payloads = append(ca.payloads, string(payload))
	}
	route := ca.routes[r.URL.Path]
	if r.Method != http.MethodGet {
		ca.nonces++
		w.Header().Set("Replay-Nonce", fmt.Sprintf("nonce-%d", ca.nonces))
	}
	ca.mu.Unlock()
	if route == nil {
		http.NotFound(w, r)
		return
	}
	route(w, r)
}

// on makes f answer requests for path.
func (ca *fakeCA) on(path string, f http.HandlerFunc) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.routes[path] = f
}

// json makes requests for path be answered with this body; headers are pairs.
func (ca *fakeCA) json(path string, status int, body string, headers ...string) {
	ca.on(path, func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Add(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

// count returns how often path was requested with method.
func (ca *fakeCA) count(method, path string) int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return ca.hits[method+" "+path]
}

// payload returns the payload of the last signed request.
func (ca *fakeCA) payload() string {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return ca.payloads[len(ca.payloads)-1]
}

// directory returns a directory in JSON, with the members of change in place of its own.
func (ca *fakeCA) directory(change map[string]any) string {
	return object(map[string]any{"newNonce": ca.URL + "/nonce", "newAccount": ca.URL + "/new-account",
		"newOrder": ca.URL + "/new-order", "renewalInfo": ca.URL + "/ari",
		"meta": map[string]any{"termsOfService": "https://example.com/terms", "profiles": map[string]string{"short": "6 days"}}}, change)
}

// order returns an order for www.example.com in JSON.
func (ca *fakeCA) order(change map[string]any) string {
	return object(map[string]any{"status": "pending", "expires": "2026-12-01T00:00:00Z",
		"identifiers":    []any{map[string]any{"type": "dns", "value": "www.example.com"}},
		"authorizations": []string{ca.URL + "/authz/1"}, "finalize": ca.URL + "/finalize/1"}, change)
}

// authorization returns an authorization for www.example.com in JSON.
func (ca *fakeCA) authorization(change map[string]any) string {
	return object(map[string]any{"status": "pending", "expires": "2026-12-01T00:00:00Z",
		"identifier": map[string]any{"type": "dns", "value": "www.example.com"},
		"challenges": []any{ca.challenge(nil)}}, change)
}

// challenge returns an http-01 challenge, changed.
func (ca *fakeCA) challenge(change map[string]any) map[string]any {
	return merge(map[string]any{"type": "http-01", "url": ca.URL + "/challenge/1", "status": "pending", "token": goodToken}, change)
}

const goodToken = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"

// merge changes members of m; a nil value takes the member away.
func merge(m, change map[string]any) map[string]any {
	for key, value := range change {
		m[key] = value
		if value == nil {
			delete(m, key)
		}
	}
	return m
}

func object(m, change map[string]any) string {
	data, err := json.Marshal(merge(m, change))
	if err != nil {
		panic(err)
	}
	return string(data)
}

// problem returns a problem document.
func problemDoc(typ, detail string) string {
	return object(map[string]any{"type": "urn:ietf:params:acme:error:" + typ, "detail": detail}, nil)
}

// asProblem returns the *Problem in err and fails the test unless it has this
// class and its text contains want.
func asProblem(t testing.TB, what string, err error, class Class, want string) *Problem {
	t.Helper()
	p, ok := errors.AsType[*Problem](err)
	if !ok {
		t.Errorf("%s: got %v, want a *Problem", what, err)
		return &Problem{}
	}
	if p.Class != class || !strings.Contains(p.Error(), want) {
		t.Errorf("%s: got class %s, %q, want class %s and %q in it", what, p.Class, p.Error(), class, want)
	}
	if text := p.Error(); p.CA != "fake" || p.Operation == "" || strings.ContainsAny(text, "\n\r\x1b\x00") {
		t.Errorf("%s: got %q of CA %q and operation %q, want both set and one clean line", what, text, p.CA, p.Operation)
	}
	return p
}

// testKey is a P-256 key.
func testKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
