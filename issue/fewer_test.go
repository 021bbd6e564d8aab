package issue

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"certd/acme/acmetest"
)

// rewrite changes the JSON objects of successful answers for which change returns true.
func rewrite(change func(path string, doc map[string]any) bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			body := rec.Body.Bytes()
			var doc map[string]any
			if rec.Code < 300 && json.Unmarshal(body, &doc) == nil && change(r.URL.Path, doc) {
				body, _ = json.Marshal(doc)
				rec.Header().Del("Content-Length")
			}
			maps.Copy(w.Header(), rec.Header())
			w.WriteHeader(rec.Code)
			_, _ = w.Write(body)
		})
	}
}

// A CA may leave out what is authorized already (RFC 8555 §7.1.3).
func TestOrderWithFewerAuthorizations(t *testing.T) {
	t.Parallel()
	known := map[string]bool{} // valid since the first order
	seen, second := []string{}, false
	b := newBench(t, acmetest.Options{AuthzReuse: 100, Wrap: rewrite(func(_ string, doc map[string]any) bool {
		urls, ok := doc["authorizations"].([]any)
		if !ok {
			return false
		}
		for _, url := range urls {
			seen = append(seen, url.(string))
		}
		if second && len(urls) == 2 {
			doc["authorizations"] = slices.DeleteFunc(urls, func(url any) bool { return known[url.(string)] })
		}
		return true
	})})
	b.must(b.request("a.example.com"))
	for _, url := range seen {
		known[url] = true
	}
	second = true
	b.solver.log = nil
	cert := b.must(b.request("a.example.com", "b.example.com"))
	if len(cert.Leaf.DNSNames) != 2 || len(b.solver.log) != 3 {
		t.Errorf("the certificate is for %v, the solver did %v; want both names, and one proven", cert.Leaf.DNSNames, b.solver.log)
	}
}

// An authorization for the domain above a name will do (RFC 9444).
func TestAuthorizationOfAnAncestor(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{AlwaysValid: true, Wrap: rewrite(func(_ string, doc map[string]any) bool {
		if _, ok := doc["challenges"]; ok {
			doc["identifier"] = map[string]any{"type": "dns", "value": "example.com"}
		}
		return true
	})})
	b.must(b.request("a.example.com", "b.example.com"))
}
