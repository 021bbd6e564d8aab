package daemon_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"certd/acme/acmetest"
	"certd/daemon"
	"certd/plan"
)

// TestEverythingOfPebble: a CA with all of its peculiarities at once, which then
// changes, spoils and withdraws its window, and moves it to now.
func TestEverythingOfPebble(t *testing.T) {
	t.Parallel()
	const mac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	for _, reuse := range []int{0, 100} {
		t.Run(fmt.Sprintf("reuse-%d", reuse), func(t *testing.T) {
			t.Parallel()
			ca := acmetest.StartT(t, acmetest.Options{AlwaysValid: true, NonceReject: 40, AuthzReuse: reuse, AlternateRoots: 2, ChainLength: 3,
				RequireEAB: map[string]string{"kid-1": mac}, Profiles: map[string]time.Duration{"default": 90 * 24 * time.Hour, "short": 160 * time.Hour}})
			dir, hmac := t.TempDir(), filepath.Join(t.TempDir(), "hmac")
			write(t, hmac, mac)
			if err := os.Chmod(hmac, 0o600); err != nil {
				t.Fatal(err)
			}
			configureCAs(t, dir, []caEntry{{"pebble", ca, fmt.Sprintf(", eab: {kid: kid-1, hmac-file: %q}", hmac)}}, faultName)
			write(t, filepath.Join(dir, "desired", faultName), "request: {profile: short}\n")
			if res := pass(t, dir, daemon.Options{}).Results[0]; res.Outcome != daemon.Issued {
				t.Fatalf("%s, %v; want issued", res.Outcome, res.Err)
			}
			first, known := liveCertificate(t, dir)
			if life := first.NotAfter.Sub(first.NotBefore).Round(time.Minute); life != 160*time.Hour || first.Profile != "short" {
				t.Errorf("the certificate lasts %v, profile %q; want 160h of short", life, first.Profile)
			}
			cert, err := os.ReadFile(filepath.Join(dir, "live", faultName, "cert"))
			if err != nil {
				t.Fatal(err)
			}
			tell := func(what, body string) {
				t.Helper()
				if err := ca.SetRenewalInfo(cert, body); err != nil {
					t.Fatal(err)
				}
				edit(t, dir, comeDue)
				if report := pass(t, dir, daemon.Options{}); report.Failed() || report.Changed() {
					t.Errorf("window %s: the pass is %+v, want one that changes nothing", what, report.Results)
				}
				_, known = liveCertificate(t, dir)
			}
			start := time.Now().Add(20 * time.Hour)
			tell("changed", acmetest.Window(start, start.Add(time.Hour), ""))
			if known.Chosen.Before(start.Add(-time.Second)) || known.Chosen.After(start.Add(time.Hour)) {
				t.Errorf("chosen is %v, want it within the hour from %v", known.Chosen, start)
			}
			chosen := known.Chosen
			for what, body := range map[string]string{"malformed": "{", "vanished": "{}", "upside down": acmetest.Window(start.Add(time.Hour), start, "")} {
				if tell(what, body); !known.Chosen.Equal(chosen) || known.LastError == "" {
					t.Errorf("window %s: %+v, want %v to stay, and the error", what, known, chosen)
				}
			}
			now := acmetest.Window(time.Now().Add(-time.Second), time.Now(), "")
			tell("moved to now, said once", now)
			edit(t, dir, comeDue)
			if res := pass(t, dir, daemon.Options{}).Results[0]; res.Outcome != daemon.Issued || res.Action.Cause != plan.CauseARI {
				t.Errorf("window moved to now, said twice: %s because of %s, %v; want issued", res.Outcome, res.Action.Cause, res.Err)
			}
		})
	}
}

// A proxy stands before Pebble and spoils some answers.
type proxy struct {
	orders atomic.Int32 // newOrder requests so far
	on     atomic.Bool
	spoil  func(p *proxy, next http.Handler, w http.ResponseWriter, r *http.Request)
}

func (p *proxy) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !p.on.Load() {
			next.ServeHTTP(w, r)
			return
		}
		p.spoil(p, next, w, r)
	})
}

// refuses answers the first newOrder so, and nothing else.
func refuses(status int, kind, retry string) func(*proxy, http.Handler, http.ResponseWriter, *http.Request) {
	return func(p *proxy, next http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/order-plz" || p.orders.Add(1) > 1 {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		if retry != "" {
			w.Header().Set("Retry-After", retry)
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"type":"urn:ietf:params:acme:error:%s","detail":"as the proxy says"}`, kind)
	}
}

// loses drops the answer to the first newOrder, which has arrived.
func loses(p *proxy, next http.Handler, w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/order-plz" || p.orders.Add(1) > 1 {
		next.ServeHTTP(w, r)
		return
	}
	next.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// processes says of every finalized order that it is still at work.
func processes(_ *proxy, next http.Handler, w http.ResponseWriter, r *http.Request) {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	body := rec.Body.Bytes()
	if strings.HasPrefix(r.URL.Path, "/my-order/") || strings.HasPrefix(r.URL.Path, "/finalize-order/") {
		body = bytes.Replace(body, []byte(`"status": "valid"`), []byte(`"status": "processing"`), 1)
	}
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.Header().Del("Content-Length")
	w.WriteHeader(rec.Code)
	_, _ = w.Write(body)
}

// A spoiltRun is what comes of a renewal whose requests are spoilt once.
type spoiltRun struct {
	name    string
	spoil   func(*proxy, http.Handler, http.ResponseWriter, *http.Request)
	first   daemon.Outcome // of the run that is spoilt
	second  daemon.Outcome // of the one after, which is forced
	orders  int            // newOrder requests in both
	timeout time.Duration  // for the first; zero means the default
}

func spoiltRuns() []spoiltRun {
	return []spoiltRun{
		{"the answer to newOrder is dropped", loses, daemon.Failed, daemon.Issued, 1, 0},
		{"409 alreadyReplaced", refuses(409, "alreadyReplaced", ""), daemon.Issued, daemon.Issued, 3, 0},
		{"409 of another kind", refuses(409, "conflict", ""), daemon.Issued, daemon.Issued, 3, 0},
		{"429 in seconds", refuses(429, "rateLimited", "900"), daemon.Failed, daemon.Waiting, 1, 0},
		{"429 with a date", refuses(429, "rateLimited", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)), daemon.Failed, daemon.Waiting, 1, 0},
		{"429 without a time", refuses(429, "rateLimited", ""), daemon.Failed, daemon.Waiting, 1, 0},
		{"503 with a time", refuses(503, "serverInternal", "900"), daemon.Failed, daemon.Waiting, 1, 0},
		{"503", refuses(503, "serverInternal", ""), daemon.Failed, daemon.Issued, 2, 0},
		{"processing until the run has no more time", processes, daemon.Failed, daemon.Issued, 1, 4 * time.Second},
	}
}

// TestPebbleBehindAProxy: a renewal whose requests are spoilt once; the next run,
// without that, has the certificate, and sent no more orders than it had to.
func TestPebbleBehindAProxy(t *testing.T) {
	t.Parallel()
	for _, tt := range spoiltRuns() {

		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &proxy{spoil: tt.spoil}
			ca, dir := acmetest.StartT(t, acmetest.Options{AlwaysValid: true, Wrap: p.wrap}), t.TempDir()
			configureFault(t, dir, ca)
			if res := pass(t, dir, daemon.Options{}).Results[0]; res.Outcome != daemon.Issued {
				t.Fatalf("before: %s, %v; want issued", res.Outcome, res.Err)
			}
			ca.ResetRequests()
			live := liveTree(t, dir)
			p.on.Store(true)
			o := daemon.Options{Force: true}
			if res := pass(t, dir, daemon.Options{Force: true, OrderTimeout: tt.timeout}).Results[0]; res.Outcome != tt.first {
				t.Fatalf("spoilt: %s, %v; want %s", res.Outcome, res.Err, tt.first)
			}
			if same := liveTree(t, dir)[faultName] == live[faultName]; same != (tt.first == daemon.Failed) {
				t.Errorf("live/ is as before: %v, although the run %s", same, tt.first)
			}
			p.on.Store(false)
			if res := pass(t, dir, o).Results[0]; res.Outcome != tt.second {
				t.Errorf("after: %s, %v; want %s", res.Outcome, res.Err, tt.second)
			}
			if n := acmetest.Count(ca.Requests(), "order"); n != tt.orders {
				t.Errorf("%d newOrder requests, want %d", n, tt.orders)
			}
			if n := len(look(t, dir).Snapshot.Orders); n != 0 {
				t.Errorf("%d orders are left in the journal", n)
			}
		})
	}
}
