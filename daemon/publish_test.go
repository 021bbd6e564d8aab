package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"certd/acme/acmetest"
	"certd/daemon"
	"certd/hooks"
	"certd/state"
)

// agreeable is a recorder whose hooks take everything.
func agreeable() *recorder {
	return &recorder{answer: func(string, string) hooks.Outcome { return hooks.OK }}
}

// TestOneLinkInTheWay: something that stands where a live link belongs holds up
// neither the target's other names nor its renewal, and reloads nobody.
func TestOneLinkInTheWay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configureFault(t, dir, acmetest.StartFaulty(t))
	write(t, dir+"/desired/"+faultName, "satisfy: {names: [a.example.test, b.example.test]}\n")
	write(t, dir+"/live/a.example.test/in-the-way", "")
	r := agreeable()
	report := pass(t, dir, daemon.Options{Hooks: r})
	if res := report.Results[0]; res.Outcome != daemon.Failed || !strings.Contains(fmt.Sprint(res.Err), "live/a.example.test") {
		t.Errorf("outcome %s, %v; want failed, naming the link", res.Outcome, res.Err)
	}
	if !slices.Equal(report.Updated, []string{"b.example.test"}) {
		t.Errorf("updated %v, want the name that nothing stands in the way of", report.Updated)
	}
	first, err := os.Readlink(dir + "/live/b.example.test")
	if err != nil {
		t.Fatal(err)
	}
	r.take()
	pass(t, dir, daemon.Options{Hooks: r})
	if calls := r.take(); len(calls) != 0 {
		t.Errorf("a pass that could move no link called %q", calls)
	}
	pass(t, dir, daemon.Options{Hooks: r, Force: true})
	if again, err := os.Readlink(dir + "/live/b.example.test"); err != nil || again == first {
		t.Errorf("live/b after a forced renewal: %s, %v; want another certificate than %s", again, err, first)
	}
}

// TestEventIsDurableBeforeTheLinkMoves: the journal has the reload when a server
// can see the new certificate, not later.
func TestEventIsDurableBeforeTheLinkMoves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configureFault(t, dir, acmetest.StartFaulty(t))
	write(t, dir+"/desired/"+faultName, "satisfy: {names: [a.example.test, b.example.test]}\n")
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan string, 1)
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Lstat(dir + "/live/a.example.test"); err == nil {
				events, _ := filepath.Glob(dir + "/pending/*.json")
				watched <- strings.Join(events, " ")
				return
			}
		}
		watched <- "nothing"
	}()
	r := &recorder{answer: func(string, string) hooks.Outcome { return hooks.Failed }} // so that the event stays
	pass(t, dir, daemon.Options{Hooks: r})
	seen := <-watched
	cancel()
	if seen == "" || seen == "nothing" {
		t.Errorf("when live/a appeared, pending/ held %q, want the event", seen)
	}
}

// TestGoodCertificatesDoNotWaitForABadCA: the servers of what is published are
// told while another target's CA still keeps everybody waiting.
func TestGoodCertificatesDoNotWaitForABadCA(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stall, ok := acmetest.FaultNamed("stall/header/order")
	if !ok {
		t.Fatal("the table has no stall of newOrder")
	}
	slow, quick := acmetest.StartFaulty(t, stall), acmetest.StartFaulty(t)
	configureFault(t, dir, slow)
	bundle := dir + "/both.pem"
	write(t, bundle, string(slow.RootsPEM())+string(quick.RootsPEM()))
	write(t, dir+"/conf/certd.yaml", fmt.Sprintf("cas:\n- {name: slow, directory: %q, ca-bundle: %q}\n- {name: quick, directory: %q, ca-bundle: %q}\n",
		slow.URL(), bundle, quick.URL(), bundle))
	write(t, dir+"/desired/quick.example.test", "request: {ca: quick}\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := make(chan struct{})
	r := &recorder{answer: func(_, event string) hooks.Outcome {
		if event == "live-updated" {
			select {
			case <-told:
			default:
				close(told)
			}
		}
		return hooks.OK
	}}
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := daemon.Reconcile(ctx, daemon.Options{Store: store, Hooks: r}); done <- err }()
	select {
	case <-told:
	case <-done:
		t.Fatal("the pass ended although a CA never answers")
	case <-time.After(time.Minute):
		t.Error("the hooks wait for the slow target")
	}
	cancel()
	<-done
}

// TestInterruptedPassStillTellsTheServers: what was published before a SIGTERM is
// delivered, and that the pass was interrupted counts as nobody's failure.
func TestInterruptedPassStillTellsTheServers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stall, _ := acmetest.FaultNamed("stall/header/order")
	slow, quick := acmetest.StartFaulty(t, stall), acmetest.StartFaulty(t)
	configureFault(t, dir, slow)
	bundle := dir + "/both.pem"
	write(t, bundle, string(slow.RootsPEM())+string(quick.RootsPEM()))
	write(t, dir+"/conf/certd.yaml", fmt.Sprintf("cas:\n- {name: slow, directory: %q, ca-bundle: %q}\n- {name: quick, directory: %q, ca-bundle: %q}\n",
		slow.URL(), bundle, quick.URL(), bundle))
	write(t, dir+"/desired/quick.example.test", "request: {ca: quick}\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := agreeable()
	done := make(chan *daemon.Report, 1)
	go func() {
		report, _ := daemon.Reconcile(ctx, daemon.Options{Store: store, Hooks: r})
		done <- report
	}()
	for range 6000 {
		if _, err := os.Stat(dir + "/live/quick.example.test/cert"); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	cancel()
	report := <-done
	if calls := r.take(); !slices.Contains(calls, "/h/a live-updated quick.example.test") {
		t.Errorf("after the interruption the hooks heard %q (updated %v)", calls, report.Updated)
	}
	if at := look(t, dir).Snapshot.Attempts[faultName]; at.Failures != 0 {
		t.Errorf("the interruption counts as failure: %+v", at)
	}
}

// TestOnePoisonedEventSpoilsNoOther: an event that no hook can be called with
// does not keep others from being delivered.
func TestOnePoisonedEventSpoilsNoOther(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configureFault(t, dir, acmetest.StartFaulty(t))
	data, err := json.Marshal(state.Event{ID: "poison", Event: "live-updated", Names: []string{"a/b"}, Created: time.Now().UTC()})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/pending/poison.json", string(data))
	hookDir := t.TempDir()
	write(t, hookDir+"/tell", "#!/bin/sh\n[ \"$1\" = live-updated ] || exit 42\ncat >>"+hookDir+"/heard\n")
	if err := os.Chmod(hookDir+"/tell", 0o755); err != nil {
		t.Fatal(err)
	}
	pass(t, dir, daemon.Options{Hooks: &hooks.Runner{Dirs: []string{hookDir}, StateDir: dir}})
	if heard, err := os.ReadFile(hookDir + "/heard"); err != nil || !strings.Contains(string(heard), faultName) {
		t.Errorf("the hook heard %q, %v; want %s", heard, err, faultName)
	}
	for _, e := range look(t, dir).Snapshot.Pending {
		if slices.Contains(e.Names, faultName) {
			t.Errorf("the good event is still pending: %+v", e)
		}
	}
}

// TestRetryAfterIsKept: a rate limit ends when the CA said, and failures are
// counted afresh once the target is another.
func TestRetryAfterIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	limit := acmetest.Respond("order", http.StatusTooManyRequests, http.Header{"Retry-After": {"7200"}},
		`{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many"}`)
	configureFault(t, dir, acmetest.StartFaulty(t, limit))
	pass(t, dir, daemon.Options{})
	at := look(t, dir).Snapshot.Attempts[faultName]
	if wait := at.NextAttempt.Sub(at.LastAttempt); wait < 2*time.Hour-time.Minute || wait > 3*time.Hour {
		t.Errorf("next attempt after %v, want the two hours that the CA asked for", wait)
	}
	write(t, dir+"/desired/"+faultName, "request: {profile: other}\n")
	pass(t, dir, daemon.Options{})
	if at := look(t, dir).Snapshot.Attempts[faultName]; at.Failures != 1 {
		t.Errorf("%d failures of a target that was changed since, want 1", at.Failures)
	}
}

// TestAccountKeyIsDurableBeforeTheCAHearsOfIt: a registration whose answer is
// lost is repeated with the same key.
func TestAccountKeyIsDurableBeforeTheCAHearsOfIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configureFault(t, dir, acmetest.StartFaulty(t, acmetest.Respond("account", http.StatusInternalServerError, nil, "")))
	pass(t, dir, daemon.Options{})
	keys, err := filepath.Glob(dir + "/accounts/*/*/privkey")
	if err != nil || len(keys) != 1 {
		t.Fatalf("account keys after a failed registration: %v, %v; want one", keys, err)
	}
	pass(t, dir, daemon.Options{Force: true})
	if again, err := filepath.Glob(dir + "/accounts/*/*/privkey"); err != nil || !slices.Equal(again, keys) {
		t.Errorf("account keys after another: %v, %v; want %v", again, err, keys)
	}
}
