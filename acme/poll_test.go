package acme

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestPollIntervals polls an answer with each Retry-After, without a CA, and
// looks at the clock.
func TestPollIntervals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		retry string
		want  []time.Duration
	}{
		{"", []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000}},
		{"3", []time.Duration{3000, 3000}},
		{"0", []time.Duration{1000, 1000}},
		{"-1", []time.Duration{1000}},
		{"3600", []time.Duration{30000}},
		{"9223372036854775807", []time.Duration{30000}},
		{"junk", []time.Duration{100, 200}},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			var got []time.Duration
			last := time.Now()
			c := &Client{name: "fake"}
			err := c.poll(t.Context(), request{op: "order", name: "order"}, func() (*answer, error) {
				if now := time.Now(); now != last {
					got = append(got, now.Sub(last)/time.Millisecond)
					last = now
				}
				if len(got) == len(tt.want) {
					return nil, nil
				}
				a := &answer{header: http.Header{}, at: time.Now()}
				if tt.retry != "" {
					a.header.Set("Retry-After", tt.retry)
				}
				return a, nil
			})
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("with Retry-After %q the waits are %d ms, %v, want %d ms", tt.retry, got, err, tt.want)
			}
		})
	}
}

func TestPollBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &Client{name: "fake"}
		polls := 0
		pending := func() (*answer, error) { polls++; return &answer{header: http.Header{}}, nil }
		err := c.poll(t.Context(), request{op: "order", name: "order"}, pending)
		asProblem(t, "endless", err, ClassTransient, "still not done after 60 polls")
		if polls != maxPolls {
			t.Errorf("polled %d times, want %d", polls, maxPolls)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.poll(ctx, request{op: "order"}, pending); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("polling beyond the deadline gave %v, want context.DeadlineExceeded inside", err)
		}
	})
}

func TestOrderTransitions(t *testing.T) {
	t.Parallel()
	ca, c := newFake(t)
	foreign := map[string]any{"status": "ready", "identifiers": []any{map[string]any{"type": "dns", "value": "b.test"}}}
	state := func(s Status) map[string]any { return map[string]any{"status": s, "certificate": "/cert/1"} }
	tests := []struct {
		states []map[string]any // one for each poll
		want   string           // in the error; empty means that the wait ends well
	}{
		{[]map[string]any{state("valid")}, ""},
		{[]map[string]any{state("pending"), state("ready"), state("processing"), state("valid")}, ""},
		{[]map[string]any{state("pending"), state("valid")}, ""},
		{[]map[string]any{state("processing"), state("ready")}, "went back from processing to ready"},
		{[]map[string]any{state("ready"), state("pending")}, "went back from ready to pending"},
		{[]map[string]any{state("ready"), state("invalid")}, "does not say why"},
		{[]map[string]any{state("pending"), foreign}, "not asked for"},
		{[]map[string]any{state("pending"), state("odd")}, "unknown order status"},
	}
	for i, tt := range tests {
		polls := 0
		ca.on("/order/1", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, ca.order(tt.states[min(polls, len(tt.states)-1)]))
			polls++
		})
		o, err := c.WaitOrder(t.Context(), ca.URL+"/order/1", func(o *Order) bool { return o.Status == StatusValid })
		switch {
		case tt.want == "" && (err != nil || o.Certificate != ca.URL+"/cert/1"):
			t.Errorf("case %d: got %+v, %v, want a valid order", i, o, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("case %d: got %v, want an error with %q", i, err, tt.want)
		}
		if polls != len(tt.states) {
			t.Errorf("case %d: polled %d times, want %d", i, polls, len(tt.states))
		}
	}
	ca.json("/order/1", 200, ca.order(state("valid")))
	_, err := c.WaitOrder(t.Context(), ca.URL+"/order/1", func(*Order) bool { return false })
	asProblem(t, "waiting in vain", err, ClassTransient, "valid already")
}

func TestFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f flight[int]
		fetches := 0
		failed := errors.New("failed")
		slow := func(value int, err error) func(context.Context) (int, error) {
			return func(ctx context.Context) (int, error) {
				fetches++
				if e := sleep(ctx, time.Second); e != nil {
					return 0, e
				}
				return value, err
			}
		}
		all := func(want error, fn func(context.Context) (int, error)) {
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					if v, err := f.get(t.Context(), fn); !errors.Is(err, want) || err == nil && v != 7 {
						t.Errorf("got %d, %v, want 7 or %v", v, err, want)
					}
				})
			}
			wg.Wait()
		}
		all(failed, slow(0, failed))
		if _, ok := f.peek(); ok || fetches != 1 {
			t.Errorf("10 callers made %d fetches that failed, want 1 and no value", fetches)
		}

		// The first one is cancelled; the others are not told that.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := f.get(ctx, slow(7, nil)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the cancelled fetch gave %v", err)
			}
		})
		synctest.Wait()
		all(nil, slow(7, nil))
		wg.Wait()
		all(nil, slow(8, failed))
		if fetches != 3 {
			t.Errorf("%d fetches, want 3", fetches)
		}

		// A waiter leaves when its own context ends.
		var g flight[int]
		wg.Go(func() { _, _ = g.get(t.Context(), slow(7, nil)) })
		synctest.Wait()
		short, cancelShort := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancelShort()
		if _, err := g.get(short, slow(7, nil)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a waiter whose time was up got %v", err)
		}
		wg.Wait()
	})
}

func TestNoncePool(t *testing.T) {
	t.Parallel()
	var n nonces
	for i := range maxNonces + 10 {
		n.put(fmt.Sprintf("n%d", i))
	}
	n.put("not a nonce")
	n.put("")
	if got, want := n.take(t.Context()), fmt.Sprintf("n%d", maxNonces-1); got != want || len(n.stack) != maxNonces-1 {
		t.Errorf("took %q with %d left, want %q and %d", got, len(n.stack), want, maxNonces-1)
	}
	n.clear()
	if got := n.take(t.Context()); got != "" {
		t.Errorf("took %q from an empty pool", got)
	}
}

// TestPendingAgain: a challenge that failed and is pending says why, and only
// the one that was answered counts.
func TestPendingAgain(t *testing.T) {
	t.Parallel()
	ca, c := newFake(t)
	failed := map[string]any{"type": "urn:ietf:params:acme:error:connection", "detail": "nobody is there"}
	for _, tt := range []struct {
		name     string
		status   Status
		answered string
		again    bool
	}{
		{"pending", StatusPending, "/challenge/1", true},
		{"the CA tries by itself", StatusProcessing, "/challenge/1", false},
		{"another one failed, long ago", StatusPending, "/challenge/2", false},
	} {
		polls := 0
		ca.on("/authz/1", func(w http.ResponseWriter, r *http.Request) {
			change := map[string]any{"challenges": []any{ca.challenge(map[string]any{"status": tt.status, "error": failed})}}
			if polls++; polls > 1 {
				change["status"] = "valid"
			}
			fmt.Fprint(w, ca.authorization(change))
		})
		z, err := c.WaitChallenge(t.Context(), ca.URL+"/authz/1", Challenge{URL: ca.URL + tt.answered})
		if !tt.again {
			if err != nil || z.Status != StatusValid {
				t.Errorf("%s: got %+v, %v, want it polled until it is valid", tt.name, z, err)
			}
			continue
		}
		p := asProblem(t, tt.name, err, ClassName, "www.example.com: connection: nobody is there")
		if !errors.Is(err, ErrPendingAgain) || p.Operation != "authz" || z == nil || polls != 1 {
			t.Errorf("%s: got %+v, %#v after %d polls, want ErrPendingAgain after one", tt.name, z, p, polls)
		}
	}
}

// TestPollAt: the answers to an answer and to finalize say when to poll.
func TestPollAt(t *testing.T) {
	t.Parallel()
	ca, c := newFake(t)
	for _, tt := range []struct {
		retry, order, challenge  string
		orderWait, challengeWait time.Duration // zero: judged already
	}{
		{"7", "processing", "processing", 7 * time.Second, 7 * time.Second},
		{"3600", "processing", "pending", maxPoll, maxPoll},
		{"0", "processing", "", minPoll, minPoll},
		{"7", "processing", "valid", 7 * time.Second, 0},
		{"soon", "processing", "processing", leastWork, leastWork}, // no time that we understand
	} {
		ca.json("/finalize/1", 200, ca.order(map[string]any{"status": tt.order}), "Retry-After", tt.retry)
		ca.json("/challenge/1", 200, object(ca.challenge(map[string]any{"status": tt.challenge}), nil), "Retry-After", tt.retry)
		begun := time.Now()
		o, err := c.Finalize(t.Context(), &Order{URL: ca.URL + "/order/1", Finalize: ca.URL + "/finalize/1", Identifiers: []Identifier{{"dns", "www.example.com"}}}, []byte("csr"))
		if err != nil {
			t.Fatal(err)
		}
		at, err := c.AnswerPollAt(t.Context(), Challenge{URL: ca.URL + "/challenge/1"})
		if err != nil {
			t.Fatal(err)
		}
		ended := time.Now()
		for what, poll := range map[string]struct {
			at   time.Time
			wait time.Duration
		}{"order": {o.PollAt, tt.orderWait}, "challenge": {at, tt.challengeWait}} {
			// The CA's Date has whole seconds, and does not count here.
			if poll.wait == 0 && !poll.at.IsZero() || poll.wait != 0 && (poll.at.Before(begun.Add(poll.wait)) || poll.at.After(ended.Add(max(poll.wait, answersToWork*ended.Sub(begun))))) {
				t.Errorf("%s %q with Retry-After %s is polled at %v, want %v after %v", what, tt.challenge, tt.retry, poll.at, poll.wait, begun)
			}
		}
	}
}

// TestPace: looks that come too early make the first look later, and others slowly
// bring it back.
func TestPace(t *testing.T) {
	t.Parallel()
	var c Client
	from := &answer{header: http.Header{}, at: time.Now(), took: leastWork / answersToWork}
	first := func() time.Duration { return c.lookAt(from).Sub(from.at) }
	if got := first(); got != leastWork {
		t.Errorf("the first look comes after %v, want %v", got, leastWork)
	}
	c.pace.learn(true)
	later := first()
	if later <= leastWork {
		t.Errorf("after one that came too early it comes after %v, not later", later)
	}
	for range 100 {
		c.pace.learn(true)
	}
	if got := first(); got > 10*leastWork || got <= later {
		t.Errorf("after many it comes after %v, want at most ten times as long as at first", got)
	}
	for range 200 {
		c.pace.learn(false)
	}
	if got := first(); got > leastWork+leastWork/100 {
		t.Errorf("once the CA is quick again it comes after %v, want %v", got, leastWork)
	}
	from.took = time.Minute
	if got := first(); got != mostWork {
		t.Errorf("with a CA that answers in a minute it comes after %v, want %v", got, mostWork)
	}
}

// TestNoncesAreShared: a request waits a moment for the nonce of another's answer,
// and asks for one of its own if none comes.
func TestNoncesAreShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n nonces
		if got := n.take(t.Context()); got != "" {
			t.Fatalf("a nonce %q out of nowhere", got)
		}
		got := make(chan string)
		go func() { got <- n.take(t.Context()) }()
		synctest.Wait()
		n.put("first")
		if nonce := <-got; nonce != "first" {
			t.Errorf("the second request has the nonce %q, want that of the first one's answer", nonce)
		}
		begun := time.Now()
		if nonce := n.take(t.Context()); nonce != "" || time.Since(begun) != noncePatience {
			t.Errorf("without an answer: nonce %q after %v, want none after %v", nonce, time.Since(begun), noncePatience)
		}
		n.put("") // that one failed
		begun = time.Now()
		if nonce := n.take(t.Context()); nonce != "" || time.Since(begun) != 0 {
			t.Errorf("after a failure: nonce %q after %v, want none at once, since nobody brings one", nonce, time.Since(begun))
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		if n.take(stopped); time.Since(begun) != 0 {
			t.Error("who is told to stop waits all the same")
		}
	})
}
