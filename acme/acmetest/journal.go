package acmetest

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Request is one HTTP request as the CA saw it.
type Request struct {
	Method    string    // GET, HEAD, POST
	Path      string    // URL path
	Operation string    // directory, nonce, account, order, order-poll, orders-list, authz, challenge, finalize, cert, ari, revoke, keychange; empty for unknown paths
	Status    int       // HTTP status; zero if no answer was begun
	Time      time.Time // of arrival
}

// A route maps a path to an operation.
type route struct {
	path      string // exact, or a prefix if it ends in "/"
	operation string
}

// operationOf returns the operation behind path, empty if there is none.
func operationOf(routes []route, path string) string {
	for _, r := range routes {
		if path == r.path || strings.HasSuffix(r.path, "/") && strings.HasPrefix(path, r.path) {
			return r.operation
		}
	}
	return ""
}

// A journal counts the requests that reach a handler.
type journal struct {
	routes   []route
	inFlight sync.WaitGroup

	mu       sync.Mutex
	requests []*Request // guarded by mu
}

// handler returns next with every request noted. A request is in the journal
// before next sees it, and its status before the client does.
func (j *journal) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		j.inFlight.Add(1)
		defer j.inFlight.Done()
		request := &Request{
			Method:    r.Method,
			Path:      r.URL.Path,
			Operation: operationOf(j.routes, r.URL.Path),
			Time:      time.Now(),
		}
		j.mu.Lock()
		j.requests = append(j.requests, request)
		j.mu.Unlock()
		next.ServeHTTP(&statusWriter{ResponseWriter: w, journal: j, request: request}, r)
	})
}

// snapshot returns copies of the requests so far, oldest first.
func (j *journal) snapshot() []Request {
	j.mu.Lock()
	defer j.mu.Unlock()
	requests := make([]Request, 0, len(j.requests))
	for _, r := range j.requests {
		requests = append(requests, *r)
	}
	return requests
}

// reset forgets the requests so far.
func (j *journal) reset() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.requests = nil
}

// Count returns how many of requests are of one of the operations.
func Count(requests []Request, operations ...string) int {
	n := 0
	for _, r := range requests {
		if slices.Contains(operations, r.Operation) {
			n++
		}
	}
	return n
}

// A statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	journal *journal
	request *Request
}

// WriteHeader notes the first final status.
func (w *statusWriter) WriteHeader(status int) {
	w.note(status)
	w.ResponseWriter.WriteHeader(status)
}

// Write notes the implied 200.
func (w *statusWriter) Write(p []byte) (int, error) {
	w.note(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController flush and hijack.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) note(status int) {
	w.journal.mu.Lock()
	defer w.journal.mu.Unlock()
	if w.request.Status == 0 && status >= http.StatusOK {
		w.request.Status = status
	}
}
