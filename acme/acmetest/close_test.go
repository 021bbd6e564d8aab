package acmetest_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"certd/acme/acmetest"
)

// goroutines waits until there are at most want of them, and returns how many
// are left if that does not come.
func goroutines(want int) int {
	for range 500 {
		if runtime.NumGoroutine() <= want {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return runtime.NumGoroutine()
}

// Not parallel: it counts goroutines.
func TestCloseLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		fault, ok := acmetest.FaultNamed("stall/header/order")
		if !ok {
			t.Fatal("the table has no stall/header/order")
		}
		ca, err := acmetest.NewFaulty(acmetest.FaultyOptions{Faults: []acmetest.Fault{fault}})
		if err != nil {
			t.Fatal(err)
		}
		client := newClient(t, ca.URL(), ca.RootsPEM())
		failed := make(chan error, 1)
		go func() {
			_, err := issue(context.Background(), t, client, nil, "a.example.com")
			failed <- err
		}()
		for ca.Hits() == 0 {
			time.Sleep(time.Millisecond)
		}
		if err := ca.Close(); err != nil {
			t.Errorf("closing a CA that stalls: %v", err)
		}
		if err := <-failed; err == nil {
			t.Error("a stalled issuance succeeded")
		}
		if err := ca.Close(); err != nil {
			t.Errorf("closing again: %v", err)
		}
	}
	if after := goroutines(before); after > before {
		t.Errorf("three scripted CAs left %d goroutines behind", after-before)
	}
	for range 3 {
		ca, err := acmetest.Start(acmetest.Options{AlwaysValid: true})
		if err != nil {
			t.Fatal(err)
		}
		client := newClient(t, ca.URL(), ca.RootsPEM())
		if _, err := issue(t.Context(), t, client, nil, "a.example.com"); err != nil {
			t.Errorf("issuing failed: %v", err)
		}
		if err := ca.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
		client.HTTPClient.CloseIdleConnections()
	}
	if after := goroutines(before + 3); after > before+3 {
		t.Errorf("three Pebbles left %d goroutines behind, want Pebble's own 3", after-before)
	}
}
