package challenge

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"certd/acme"
)

// public is a listener that says it is no loopback one.
type public struct{ net.Listener }

func (public) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80} }

func lateChallenge(token byte) (acme.Identifier, acme.Challenge) {
	t := strings.Repeat(string(token), 22)
	return acme.NewIdentifier("www.example.com"), acme.Challenge{Type: "http-01", Token: t, KeyAuthorization: t + "." + strings.Repeat("t", 43)}
}

// answers reports whether r knows the answer to ch.
func answers(r *Responder, ch acme.Challenge) bool {
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, PathPrefix+ch.Token, nil))
	return w.Body.String() == ch.KeyAuthorization
}

// An answer outlives its challenge where that was wished for, and a port with it
// that nobody else wants. Hush and Close end it at once.
func TestLateLooksAreAnswered(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about  string
		public bool
		linger time.Duration
		answer bool // once the challenge is over
		ports  int  // that are open then
	}{
		{"a run that ends", false, 0, false, 0},
		{"a port on loopback", false, time.Hour, true, 1},
		{"a port that a web server may want", true, time.Hour, true, 0},
	} {
		for what, end := range map[string]func(*Responder){"Hush": (*Responder).Hush, "Close": func(r *Responder) {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}} {
			r := NewResponder()
			r.Linger = tt.linger
			defer r.Close()
			if tt.public {
				r.openPort = func(addr string, total, perAddr int) (*listener, error) {
					l, err := openListener(addr, total, perAddr)
					if err == nil {
						l.Listener = public{l.Listener}
					}
					return l, err
				}
			}
			way := &Listen{Responder: r, Addrs: []string{"127.0.0.1:0"}}
			id, ch := lateChallenge('a')
			if err := errors.Join(way.Present(t.Context(), id, ch), way.CleanUp(t.Context(), id, ch)); err != nil {
				t.Fatal(err)
			}
			if got := answers(r, ch); got != tt.answer || len(r.Addrs()) != tt.ports {
				t.Errorf("%s: answered after the challenge %t, open %q; want %t, %d ports", tt.about, got, r.Addrs(), tt.answer, tt.ports)
			}
			if end(r); answers(r, ch) || len(r.Addrs()) > 0 {
				t.Errorf("%s: after %s it is still answered (%t), open %q", tt.about, what, answers(r, ch), r.Addrs())
			}
		}
	}
}

// An answer that lingers ends by itself.
func TestLateLooksEnd(t *testing.T) {
	t.Parallel()
	r := NewResponder()
	defer r.Close()
	r.Linger = 10 * time.Millisecond
	way := &Listen{Responder: r, Addrs: []string{"127.0.0.1:0"}}
	id, ch := lateChallenge('a')
	if err := errors.Join(way.Present(t.Context(), id, ch), way.CleanUp(t.Context(), id, ch)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); answers(r, ch) || len(r.Addrs()) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it is still answered, open %q", r.Addrs())
		}
	}
}

// A challenge that is presented again is not forgotten with its first time.
func TestLateAnswerDoesNotEndTheNext(t *testing.T) {
	t.Parallel()
	r := NewResponder()
	defer r.Close()
	r.Linger = time.Hour
	way := &Listen{Responder: r, Addrs: []string{"127.0.0.1:0"}}
	id, ch := lateChallenge('a')
	if err := errors.Join(way.Present(t.Context(), id, ch), way.CleanUp(t.Context(), id, ch), way.Present(t.Context(), id, ch)); err != nil {
		t.Fatal(err)
	}
	if r.Hush(); !answers(r, ch) || len(r.Addrs()) != 1 {
		t.Errorf("answered %t, open %q; want it to be as it was presented", answers(r, ch), r.Addrs())
	}

	a := NewALPNResponder()
	defer a.Close()
	a.Linger(time.Hour)
	alpn := &TLSALPN01{Responder: a, Addrs: []string{"127.0.0.1:0"}}
	_, other := lateChallenge('b')
	if err := errors.Join(alpn.Present(t.Context(), id, ch), alpn.CleanUp(t.Context(), id, ch)); err != nil {
		t.Fatal(err)
	}
	if a.certs[id.Value] == nil || len(a.Addrs()) != 1 {
		t.Errorf("tls-alpn-01 is not answered after its challenge; open %q", a.Addrs())
	}
	for _, next := range []acme.Challenge{other, other} { // another one, and the same again
		if err := alpn.Present(t.Context(), id, next); err != nil {
			t.Fatalf("a new challenge beside an answer that lingers: %v", err)
		}
		if a.Hush(); a.certs[id.Value] == nil || a.certs[id.Value].token != next.Token || len(a.Addrs()) != 1 {
			t.Errorf("the new challenge is not answered any more; open %q", a.Addrs())
		}
		if err := alpn.CleanUp(t.Context(), id, next); err != nil {
			t.Fatal(err)
		}
	}
	if a.Hush(); len(a.certs) > 0 || len(a.Addrs()) > 0 {
		t.Errorf("after all: %d answers, open %q", len(a.certs), a.Addrs())
	}
}
