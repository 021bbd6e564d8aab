package acme_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
)

// TestExchangesTellOfProblems: the observer learns what kind of problem an answer
// was, until when to wait, when it was sent, and whether its Date is a cache's.
func TestExchangesTellOfProblems(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartFaulty(t, acmetest.Respond("directory", http.StatusTooManyRequests, http.Header{"Retry-After": {"600"}, "Age": {"7"}},
		`{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many"}`))
	var mu sync.Mutex
	var seen []acme.Exchange
	before := time.Now()
	client, err := acme.New(acme.Options{Name: "x", Directory: ca.URL(), RootsPEM: ca.RootsPEM(), Observe: func(e acme.Exchange) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, e)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if _, err := client.Directory(context.Background()); err == nil {
		t.Fatal("a rate limit was no error")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 1 {
		t.Fatalf("%d exchanges, want 1: %+v", len(seen), seen)
	}
	e := seen[0]
	if e.Problem != "rateLimited" || e.Status != http.StatusTooManyRequests || !e.Cached {
		t.Errorf("the exchange is %+v, want a rateLimited of a cache", e)
	}
	if wait := e.RetryAt.Sub(before); wait < 590*time.Second || wait > 11*time.Minute {
		t.Errorf("to be left alone for %v, want 10 minutes", wait)
	}
	if e.Sent.Before(before) || e.Sent.After(time.Now()) {
		t.Errorf("sent at %v, want now", e.Sent)
	}
}
