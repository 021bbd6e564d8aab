package acmetest

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
)

// Terms is for Options.Wrap: the directory names the terms of service that the
// function returns when it is asked (RFC 8555 §7.1.1), so that a CA can change
// them. Empty means Pebble's own.
func Terms(url func() string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			terms := url()
			if r.URL.Path != "/dir" || terms == "" {
				next.ServeHTTP(w, r)
				return
			}
			answer := httptest.NewRecorder()
			next.ServeHTTP(answer, r)
			body := answer.Body.Bytes()
			var directory map[string]any
			if json.Unmarshal(body, &directory) == nil {
				if meta, ok := directory["meta"].(map[string]any); ok {
					meta["termsOfService"] = terms
					body, _ = json.Marshal(directory) // it was JSON before
				}
			}
			maps.Copy(w.Header(), answer.Header())
			w.Header().Del("Content-Length")
			w.WriteHeader(answer.Code)
			w.Write(body)
		})
	}
}
