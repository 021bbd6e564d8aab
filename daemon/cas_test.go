package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/daemon"
	"certd/limit"
	"certd/plan"
	"certd/state"
)

// A caEntry is one entry of cas.
type caEntry struct {
	name string
	ca   authority
	more string // further keys, such as ", staging: ..."
}

// configureCAs sets a state directory up that asks these CAs, one after the
// other, for the names.
func configureCAs(t testing.TB, dir string, entries []caEntry, names ...string) {
	t.Helper()
	var cas, order []string
	for _, e := range entries {
		bundle := filepath.Join(t.TempDir(), "ca.pem")
		write(t, bundle, string(e.ca.RootsPEM()))
		cas = append(cas, fmt.Sprintf("{name: %s, directory: %q, ca-bundle: %q%s}", e.name, e.ca.URL(), bundle, e.more))
		order = append(order, e.name)
	}
	write(t, filepath.Join(dir, "conf", "certd.yaml"), "cas: ["+strings.Join(cas, ", ")+"]\n")
	write(t, filepath.Join(dir, "conf", "target"), fmt.Sprintf(
		"request: {ca: [%s], challenge: {method: webroot, http-self-test: false, webroot-paths: [%q]}}\n", strings.Join(order, ", "), t.TempDir()))
	for _, name := range names {
		write(t, filepath.Join(dir, "desired", name), "")
	}
}

// rateLimit is how a CA refuses too much; until is its Retry-After.
func rateLimit(until string) acmetest.Fault {
	return acmetest.Respond("order", http.StatusTooManyRequests, http.Header{"Retry-After": {until}, "Content-Type": {"application/problem+json"}},
		`{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many new orders recently"}`)
}

// problemOf is a fault of newOrder with this problem type.
func orderProblem(status int, kind string) acmetest.Fault {
	return acmetest.Respond("order", status, http.Header{"Content-Type": {"application/problem+json"}},
		fmt.Sprintf(`{"type":"urn:ietf:params:acme:error:%s","detail":"as the script says"}`, kind))
}

// TestAnotherCA: the next CA of the list is asked where the first does not work
// or does not serve us, and not where a name is to blame.
func TestAnotherCA(t *testing.T) {
	t.Parallel()
	named := func(name string) acmetest.Fault {
		f, ok := acmetest.FaultNamed(name)
		if !ok {
			t.Fatalf("no fault is called %s", name)
		}
		return f
	}
	for _, tt := range []struct {
		name    string
		fault   acmetest.Fault
		another bool
	}{
		{"the directory is hidden by a proxy that is down", acmetest.Respond("directory", 502, nil, "<h1>Bad Gateway</h1>"), true},
		{"newOrder fails", orderProblem(500, "serverInternal"), true},
		{"issuance is halted", acmetest.Respond("order", 503, http.Header{"Retry-After": {"86400"}}, "maintenance"), true},
		{"issuance is halted before the certificate", acmetest.Respond("finalize", 500, nil, ""), true},
		{"the connection breaks", named("reset/header/order"), true},
		{"the order is processing for ever", named("order/processing-forever"), true},
		{"the order is for other names", named("object/order-other-identifiers"), true},
		{"the certificate is for another key", named("cert/other-key"), true},
		{"a rate limit, and no certificate to serve meanwhile", rateLimit("3600"), true},
		{"it wants an external account binding", orderProblem(403, "externalAccountRequired"), true},
		{"its terms have changed", orderProblem(403, "userActionRequired"), true},
		{"it has no certificates for such names", orderProblem(400, "unsupportedIdentifier"), true},
		{"it refuses the name", orderProblem(400, "rejectedIdentifier"), false},
		{"CAA forbids it", orderProblem(403, "caa"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			first, second, dir := acmetest.StartFaulty(t, tt.fault), acmetest.StartFaulty(t), t.TempDir()
			configureCAs(t, dir, []caEntry{{"first", first, ""}, {"second", second, ""}}, faultName)
			o := daemon.Options{}
			if tt.fault.Endless {
				o.OrderTimeout = 10 * time.Second
			}
			res := pass(t, dir, o).Results[0]
			if issued := res.Outcome == daemon.Issued; issued != tt.another {
				t.Fatalf("%s, %v; want a certificate of the second CA: %t", res.Outcome, res.Err, tt.another)
			}
			if asked := len(second.Requests()) > 0; asked != tt.another {
				t.Errorf("the second CA was asked: %t, want %t", asked, tt.another)
			}
			if tt.another {
				checkIssued(t, dir, second)
			}
		})
	}
}

// TestFirstCAAgain: the CA that was passed over is asked first at the next
// renewal, and what it had begun is not taken up again after the certificate came
// from another one.
func TestFirstCAAgain(t *testing.T) {
	t.Parallel()
	first, second, dir := acmetest.StartFaulty(t, acmetest.Respond("finalize", 500, nil, "").Nth(1)), acmetest.StartFaulty(t), t.TempDir()
	configureCAs(t, dir, []caEntry{{"first", first, ""}, {"second", second, ""}}, faultName)
	pass(t, dir, daemon.Options{})
	checkIssued(t, dir, second)
	if n := len(look(t, dir).Snapshot.Orders); n != 1 {
		t.Fatalf("%d orders are journaled, want that of the first CA", n)
	}
	view := look(t, dir)
	all := func() []plan.Action { return view.Plan(mustSelect(t, view), false) }
	if a := all()[0]; a.Kind != plan.Keep {
		t.Errorf("the plan is to %s (%s), want to keep the second CA's certificate", a.Kind, a.Reason)
	}
	first.ResetRequests()
	if report := pass(t, dir, daemon.Options{}); report.Failed() || report.Changed() {
		t.Errorf("the next pass: %+v, want nothing to do", report.Results)
	}
	if n := len(look(t, dir).Snapshot.Orders); n != 0 || acmetest.Count(first.Requests(), "order", "finalize") > 0 {
		t.Errorf("%d orders are journaled after the next pass, want the first CA's given up", n)
	}
	if report := pass(t, dir, daemon.Options{Force: true}); report.Failed() {
		t.Fatalf("the renewal: %+v", report.Results)
	}
	checkIssued(t, dir, first)
}

// TestAllErrorsOfAllCAs are shown and kept, each with its CA and none cut off by
// another.
func TestAllErrorsOfAllCAs(t *testing.T) {
	t.Parallel()
	long := acmetest.Respond("order", 500, nil, `{"type":"urn:ietf:params:acme:error:serverInternal","detail":"`+strings.Repeat("x", 2000)+`"}`)
	dir := t.TempDir()
	configureCAs(t, dir, []caEntry{{"first", acmetest.StartFaulty(t, long), ""}, {"second", acmetest.StartFaulty(t, rateLimit("7200")), ""},
		{"third", acmetest.StartFaulty(t, orderProblem(403, "userActionRequired")), ""}}, faultName)
	res := pass(t, dir, daemon.Options{}).Results[0]
	at := look(t, dir).Snapshot.Attempts[faultName]
	for _, want := range []string{"first: newOrder: serverInternal", "second: newOrder: rateLimited", "third: newOrder: userActionRequired"} {
		if res.Outcome != daemon.Failed || !strings.Contains(res.Err.Error(), want) || !strings.Contains(at.LastError, want) {
			t.Errorf("%s: %v\nkept: %s\nwant %q in both", res.Outcome, res.Err, at.LastError, want)
		}
	}
	if wait := time.Until(at.NextAttempt); at.Class != string(acme.ClassTransient) || wait > 5*time.Minute {
		t.Errorf("class %s, next attempt in %v; want that of the CA that may work again first", at.Class, wait)
	}
}

// TestWaitsForTheFirstCA: with a certificate that lasts long enough, a rate limit
// is waited for, and no other CA asked.
func TestWaitsForTheFirstCA(t *testing.T) {
	t.Parallel()
	first, second, dir := acmetest.StartFaulty(t, rateLimit("3600")), acmetest.StartFaulty(t), t.TempDir()
	configureCAs(t, dir, []caEntry{{"second", second, ""}}, faultName)
	pass(t, dir, daemon.Options{})
	configureCAs(t, dir, []caEntry{{"first", first, ""}, {"second", second, ""}}, faultName)
	second.ResetRequests()
	res := pass(t, dir, daemon.Options{Force: true}).Results[0]
	if res.Outcome != daemon.Failed || acme.ClassOf(res.Err) != acme.ClassWait || len(second.Requests()) > 0 {
		t.Errorf("%s, %v, %d requests to the second CA; want to wait for the first", res.Outcome, res.Err, len(second.Requests()))
	}
}

// TestBreaker: a CA that failed three times in a row is left alone, by later runs
// too; then one target tries whether it works, and the others after that.
func TestBreaker(t *testing.T) {
	t.Parallel()
	names := []string{"a.example.test", "b.example.test", "c.example.test", "d.example.test", "e.example.test"}
	first, second, dir := acmetest.StartFaulty(t, acmetest.Respond("order", 500, nil, "")), acmetest.StartFaulty(t), t.TempDir()
	configureCAs(t, dir, []caEntry{{"first", first, ""}}, names...)
	pass(t, dir, daemon.Options{})
	book := look(t, dir).Limits
	if until := book.Open(first.URL(), time.Now()); until.IsZero() {
		t.Fatal("the breaker is closed after five failures")
	}
	first.ResetRequests()
	report := pass(t, dir, daemon.Options{})
	if n := len(first.Requests()); n > 0 {
		t.Errorf("%d requests to a CA that does not work", n)
	}
	for _, res := range report.Results {
		if res.Outcome != daemon.Waiting || !strings.Contains(res.Action.Reason, "first") && res.Err == nil {
			t.Errorf("%s: %s, %q; want to wait", res.Action.Target, res.Outcome, res.Action.Reason)
		}
	}
	t.Run("another CA takes over", func(t *testing.T) {
		configureCAs(t, dir, []caEntry{{"first", first, ""}, {"second", second, ""}}, names...)
		if report := pass(t, dir, daemon.Options{}); report.Failed() || len(first.Requests()) > 0 {
			t.Errorf("%+v, %d requests to the first CA; want certificates of the second", report.Results, len(first.Requests()))
		}
	})
	t.Run("one tries", func(t *testing.T) {
		dir := t.TempDir()
		configureCAs(t, dir, []caEntry{{"first", first, ""}}, names...)
		keepBook(t, dir, func(b *limit.Book) {
			for range 3 {
				b.Fault(first.URL(), time.Now().Add(-2*time.Minute), time.Time{})
			}
		})
		first.ResetRequests()
		pass(t, dir, daemon.Options{})
		if n := acmetest.Count(first.Requests(), "order"); n != 1 {
			t.Errorf("%d newOrder requests to a CA that may work again, want one to find out", n)
		}
	})
	t.Run("all go on once it works", func(t *testing.T) {
		dir := t.TempDir()
		configureCAs(t, dir, []caEntry{{"second", second, ""}}, names...)
		keepBook(t, dir, func(b *limit.Book) {
			for range 3 {
				b.Fault(second.URL(), time.Now().Add(-2*time.Minute), time.Time{})
			}
		})
		if report := pass(t, dir, daemon.Options{}); report.Failed() {
			t.Errorf("%+v, want all issued in one pass", report.Results)
		}
		if look(t, dir).Limits.Faulty(second.URL()) {
			t.Error("the breaker is not reset by a success")
		}
	})
}

// keepBook changes the book of limits on disk.
func keepBook(t testing.TB, dir string, change func(*limit.Book)) {
	t.Helper()
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := store.Lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	book := &limit.Book{}
	change(book)
	data, err := book.Encode()
	if err == nil {
		err = store.SaveLimits(data)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestBookThatCannotBeRead: it is warned about and begun anew.
func TestBookThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configureCAs(t, dir, []caEntry{{"first", acmetest.StartFaulty(t), ", limits: [{name: x, per: account, burst: 5, window: 1h}]"}}, faultName)
	write(t, filepath.Join(dir, "limits.json"), "{")
	if lost := look(t, dir).LimitsLost; lost == nil || !strings.Contains(lost.Error(), "limits.json") {
		t.Errorf("lost: %v, want an error that names the file", lost)
	}
	if report := pass(t, dir, daemon.Options{}); report.Failed() {
		t.Errorf("%+v, want the certificate", report.Results)
	}
	if lost := look(t, dir).LimitsLost; lost != nil {
		t.Errorf("after a pass it is still lost: %v", lost)
	}
}

// TestPaused: a CA that has paused a name is asked again once a day, a person is
// told once how to undo it, and who forces it is heard.
func TestPaused(t *testing.T) {
	t.Parallel()
	const url = "https://portal.example/sfe/v1/unpause?jwt=abc"
	paused := acmetest.Respond("order", 429, http.Header{"Retry-After": {"60"}},
		`{"type":"urn:ietf:params:acme:error:rateLimited","detail":"Your account is temporarily prevented from requesting certificates for `+
			faultName+` and possibly others. Please visit: `+url+`"}`)
	paused.Times = 2
	ca, dir, hooks := acmetest.StartFaulty(t, paused), t.TempDir(), agreeable()
	configureCAs(t, dir, []caEntry{{"first", ca, ""}}, faultName)
	pass(t, dir, daemon.Options{Hooks: hooks})
	view := look(t, dir)
	at := view.Snapshot.Attempts[faultName]
	if wait := time.Until(at.NextAttempt); at.Paused != url || wait < 23*time.Hour {
		t.Errorf("the attempt kept is %+v, want the URL and a day", at)
	}
	if status := view.Status()[0]; !strings.Contains(status.Reason, url) {
		t.Errorf("status says %q, want the URL to unpause", status.Reason)
	}
	ca.ResetRequests()
	if res := pass(t, dir, daemon.Options{Hooks: hooks}).Results[0]; res.Outcome != daemon.Waiting || len(ca.Requests()) > 0 {
		t.Errorf("the next pass: %s and %d requests, want it to wait", res.Outcome, len(ca.Requests()))
	}
	if res := pass(t, dir, daemon.Options{Hooks: hooks, Force: true}).Results[0]; res.Outcome != daemon.Failed {
		t.Errorf("forced while it is paused: %s, want the CA to be asked", res.Outcome)
	}
	if n := strings.Count(strings.Join(hooks.take(), "\n"), "paused"); n != 2 {
		t.Errorf("the event paused was told %d times, want once to each of two hooks", n)
	}
	if res := pass(t, dir, daemon.Options{Hooks: hooks, Force: true}).Results[0]; res.Outcome != daemon.Issued {
		t.Errorf("forced when it is not paused any more: %s, %v; want issued", res.Outcome, res.Err)
	}
}

// TestTrialAtStaging: after a name failed, the next attempt is made at the staging
// directory, and the CA itself asked only once that has worked.
func TestTrialAtStaging(t *testing.T) {
	t.Parallel()
	refuse := errors.New("no such answer")
	var verdict error = refuse
	validate := func(context.Context, acme.Identifier, string, string, string) error { return verdict }
	start := func() *acmetest.FaultyCA {
		ca, err := acmetest.NewFaulty(acmetest.FaultyOptions{Validate: validate})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ca.Close() })
		return ca
	}
	production, staging, dir := start(), start(), t.TempDir()
	entries := []caEntry{{"production", production, fmt.Sprintf(", staging: %q", staging.URL())}, {"rehearsal", staging, ""}}
	configureCAs(t, dir, entries, faultName)
	write(t, filepath.Join(dir, "desired", faultName), "request: {ca: production}\n")
	if res := pass(t, dir, daemon.Options{}).Results[0]; res.Outcome != daemon.Failed || len(staging.Requests()) > 0 {
		t.Fatalf("the first attempt: %s, %d requests to staging; want it to fail at production", res.Outcome, len(staging.Requests()))
	}
	production.ResetRequests()
	res := pass(t, dir, daemon.Options{Force: true}).Results[0]
	if res.Outcome != daemon.Failed || len(production.Requests()) > 0 || !strings.Contains(res.Err.Error(), "trial at rehearsal failed, production was not asked") {
		t.Errorf("the second attempt: %s, %v, %d requests to production; want it to fail at staging", res.Outcome, res.Err, len(production.Requests()))
	}
	at := look(t, dir).Snapshot.Attempts[faultName]
	if at.Failures != 2 || at.Class != string(acme.ClassName) || at.Name != faultName {
		t.Errorf("the attempt kept is %+v, want a second failure because of the name", at)
	}
	verdict = nil
	if res = pass(t, dir, daemon.Options{Force: true}).Results[0]; res.Outcome != daemon.Issued {
		t.Fatalf("the third attempt: %s, %v; want issued", res.Outcome, res.Err)
	}
	checkIssued(t, dir, production)
	snapshot := look(t, dir).Snapshot
	if len(snapshot.Certificates) != 1 || len(snapshot.Orders) != 0 || acmetest.Count(staging.Requests(), "finalize") != 1 {
		t.Errorf("%d certificates and %d orders are kept, staging finalized %d; want that of production alone, after one of staging",
			len(snapshot.Certificates), len(snapshot.Orders), acmetest.Count(staging.Requests(), "finalize"))
	}
	staging.ResetRequests()
	if pass(t, dir, daemon.Options{Force: true}); len(staging.Requests()) > 0 {
		t.Error("a renewal after a success is tried at staging first")
	}
}
