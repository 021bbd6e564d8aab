package daemon

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"certd/acme"
	"certd/config"
	"certd/limit"
	"certd/plan"
)

// TestOneTries: after a time out of order one target asks the CA, and the others
// wait for what comes of it, for as long as they may.
func TestOneTries(t *testing.T) {
	t.Parallel()
	fault := &acme.Problem{CA: "ca", Operation: "order", Class: acme.ClassTransient, Status: 500}
	for _, tt := range []struct {
		name   string
		ended  error
		judged bool // else the trial ended by a panic, say
		asked  int  // of five targets
	}{
		{"the CA works again", nil, true, 5},
		{"it does not", fault, true, 1},
		{"it was not asked after all", nil, false, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := config.CA{Name: "ca", Directory: "https://ca.example/directory"}
				book := &limit.Book{}
				for range 3 {
					book.Fault(ca.Directory, time.Now(), time.Time{})
				}
				time.Sleep(time.Minute)
				l := newLedger(Options{}, &View{Limits: book})
				asked, atOnce, most := 0, 0, 0
				done := make(chan error)
				for range 5 {
					go func() {
						leave, err := l.enter(t.Context(), plan.Action{}, ca)
						if err != nil {
							done <- err
							return
						}
						l.mu.Lock()
						asked++
						atOnce++
						most = max(most, atOnce)
						l.mu.Unlock()
						time.Sleep(time.Second)
						l.mu.Lock()
						atOnce--
						l.mu.Unlock()
						if tt.judged {
							l.judge(t.Context(), ca, tt.ended)
						}
						leave()
						done <- nil
					}()
				}
				for range 5 {
					if err := <-done; err != nil && !isHeld(err) {
						t.Error(err)
					}
				}
				if asked != tt.asked {
					t.Errorf("%d of five targets asked the CA, want %d", asked, tt.asked)
				}
				if !tt.judged && most != 1 {
					t.Errorf("%d targets asked at once a CA of which nothing is known, want one", most)
				}
			})
		})
	}
}

// TestWaitForTrialEnds with its context, or when the trial has taken long, which is
// not the CA's fault then; and a forced pass does not heed the
// breaker.
func TestWaitForTrialEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := config.CA{Name: "ca", Directory: "https://ca.example/directory"}
		book := &limit.Book{}
		for range 3 {
			book.Fault(ca.Directory, time.Now(), time.Time{})
		}
		if _, err := newLedger(Options{}, &View{Limits: book}).enter(t.Context(), plan.Action{}, ca); !isHeld(err) {
			t.Errorf("%v, want to be held back", err)
		}
		if _, err := newLedger(Options{Force: true}, &View{Limits: book}).enter(t.Context(), plan.Action{}, ca); err != nil {
			t.Errorf("forced: %v", err)
		}
		ending := plan.Action{Latest: time.Now().Add(time.Second)}
		if _, err := newLedger(Options{}, &View{Limits: book}).enter(t.Context(), ending, ca); err != nil {
			t.Errorf("with a certificate that is about to expire: %v", err)
		}
		time.Sleep(time.Minute)
		l := newLedger(Options{}, &View{Limits: book})
		begun := time.Now()
		leave, err := l.enter(t.Context(), plan.Action{}, ca)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if _, err := l.enter(ctx, plan.Action{}, ca); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the wait for the trial to end", err)
		}
		soon := plan.Action{Latest: time.Now().Add(time.Minute)}
		if alone, err := l.enter(t.Context(), soon, ca); err != nil {
			t.Errorf("with a certificate that is about to expire, beside the trial: %v", err)
		} else {
			alone()
		}
		later, asked := plan.Action{Latest: time.Now().Add(trialTime + 2*time.Minute)}, time.Now()
		if alone, err := l.enter(t.Context(), later, ca); err != nil || time.Since(asked) < 2*time.Minute || time.Since(asked) > 4*time.Minute {
			t.Errorf("%v after %v; want a certificate that ends meanwhile to be tried for when there is no more time to wait", err, time.Since(asked))
		} else {
			alone()
		}
		if l.trials[ca.Directory] == nil {
			t.Error("the trial is over although it goes on")
		}
		next, err := l.enter(t.Context(), plan.Action{}, ca)
		if took := time.Since(begun); err != nil || took != trialTime {
			t.Fatalf("after %v of a trial that goes on: %v, want another one after %v", took, err, trialTime)
		}
		leave()
		if l.trials[ca.Directory] == nil {
			t.Error("the second trial ended with the first")
		}
		next()
	})
}

// TestTries: each CA's error is told in full, a refused name decides about the next
// attempt, and else the CA that may be asked first.
func TestTries(t *testing.T) {
	t.Parallel()
	now := time.Now()
	limited := &acme.Problem{CA: "a", Class: acme.ClassWait, Type: "rateLimited", RetryAt: now.Add(10 * time.Hour)}
	down := &acme.Problem{CA: "b", Class: acme.ClassTransient}
	refused := &acme.Problem{CA: "c", Class: acme.ClassName, Type: "dns"}
	held := held(config.CA{Name: "d"}, "orders", "its limit orders", now.Add(time.Hour))
	for _, tt := range []struct {
		name  string
		err   error
		class acme.Class
		wait  time.Duration
		held  bool
	}{
		{"one CA", limited, acme.ClassWait, 10 * time.Hour, false},
		{"the second may work again soon", tries{limited, down}, acme.ClassTransient, time.Minute, false},
		{"the second refuses the name", tries{down, refused}, acme.ClassName, time.Minute, false},
		{"the second was not asked", tries{limited, held}, acme.ClassWait, time.Hour, false},
		{"none was asked", tries{held}, acme.ClassWait, time.Hour, true},
	} {
		next, reason := decisive(tt.err, 1, now, 0, 0)
		if got := next.Sub(now).Round(time.Second); acme.ClassOf(reason) != tt.class || got != tt.wait {
			t.Errorf("%s: class %s in %v, want %s in %v", tt.name, acme.ClassOf(reason), got, tt.class, tt.wait)
		}
		if heldBack(tt.err) != tt.held {
			t.Errorf("%s: held back: %t, want %t", tt.name, !tt.held, tt.held)
		}
	}
	if until, by := firstHeld(tries{held}); by != "orders" || !until.Equal(now.Add(time.Hour)) {
		t.Errorf("held until %v by %q", until, by)
	}
}

// TestJudgeTakesTheCAsWord: a CA is left alone at once until a time that it names
// itself; an answer 429 without a time, as of a proxy before it, is one fault of three.
func TestJudgeTakesTheCAsWord(t *testing.T) {
	t.Parallel()
	ca := config.CA{Name: "testca", Directory: "https://ca.example/dir"}
	later := time.Now().Add(time.Hour)
	for _, tt := range []struct {
		name  string
		guess bool // of the time: the CA named none
		want  bool // left alone after the first
	}{
		{"429 with Retry-After", false, true},
		{"429 without", true, false},
	} {
		problem := &acme.Problem{CA: ca.Name, Operation: "order", Status: http.StatusTooManyRequests, Class: acme.ClassWait, RetryAt: later, RetryGuess: tt.guess}
		l := &ledger{book: &limit.Book{}, trials: map[string]chan struct{}{}}
		l.judge(t.Context(), ca, problem)
		if got := !l.book.Open(ca.Directory, time.Now()).IsZero(); got != tt.want {
			t.Errorf("%s: the CA is left alone: %v, want %v", tt.name, got, tt.want)
		}
		l.judge(t.Context(), ca, problem)
		l.judge(t.Context(), ca, problem)
		if l.book.Open(ca.Directory, time.Now()).IsZero() {
			t.Errorf("%s: three times in a row, and it is asked on", tt.name)
		}
	}
}
