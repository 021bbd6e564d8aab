package metrics

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// start is a moment; tests count from there.
func start() time.Time { return time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC) }

// text is what WriteText writes.
func text(t testing.TB, m *Metrics) string {
	t.Helper()
	var b bytes.Buffer
	if err := m.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// values is every series of the text, as `name{label="value",...}`.
func values(t testing.TB, m *Metrics) map[string]float64 {
	t.Helper()
	out := make(map[string]float64)
	for line := range strings.Lines(text(t, m)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(strings.TrimSpace(line), ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[i:]), 64)
		if err != nil {
			t.Fatalf("%q has no value: %v", line, err)
		}
		out[line[:i]] = v
	}
	return out
}

// wantValue checks one series.
func wantValue(t testing.TB, m *Metrics, series string, want float64) {
	t.Helper()
	all := values(t, m)
	got, ok := all[series]
	if !ok {
		name, _, _ := strings.Cut(series, "{")
		t.Errorf("there is no %s; of that name there are %v", series, slices.DeleteFunc(slices.Sorted(maps.Keys(all)),
			func(s string) bool { return !strings.HasPrefix(s, name) }))
	} else if got != want {
		t.Errorf("%s is %v, want %v", series, got, want)
	}
}

// noSeries checks that no series contains part.
func noSeries(t testing.TB, m *Metrics, part string) {
	t.Helper()
	for series := range values(t, m) {
		if strings.Contains(series, part) {
			t.Errorf("there is still %s", series)
		}
	}
}

func dump(t testing.TB, m *Metrics) []byte {
	t.Helper()
	data, err := m.Dump()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func restore(t testing.TB, m *Metrics, data []byte) {
	t.Helper()
	if err := m.Restore(data); err != nil {
		t.Fatal(err)
	}
}

// everything counts at least one of each family.
func everything(m *Metrics) {
	at := start()
	m.SetDaemon(at.Add(time.Hour), true)
	m.SetView(View{
		Time: at, ConfigOK: true, ConfigLoaded: at, ConfigDigest: "0123abcd", CAs: []string{"testca"},
		ByState: map[string]int{"ready": 2, "failing": 1}, HookPending: map[string]int{"reload": 1}, Interval: time.Hour,
		Orders: []Order{{"testca", at.Add(-time.Minute)}, {"testca", at.Add(-time.Hour)}},
		Names: []Name{{Name: "www.example.com", CA: "testca", KeyType: "ecdsa-p256", NotBefore: at, NotAfter: at.Add(time.Hour),
			ChainNotAfter: at.Add(time.Hour), RenewAt: at, WindowStart: at, WindowEnd: at, NextPoll: at, LastAttempt: at, NextAttempt: at, Installed: at, Failures: 3}},
	})
	m.Exchange(Exchange{CA: "testca", Operation: "order", Code: "429", Problem: "rateLimited", Sent: at, Received: at.Add(time.Second),
		Date: at, RetryAt: time.Now().Add(time.Hour)})
	m.Exchange(Exchange{CA: "testca", Operation: "authz", Code: "400", Problem: "badNonce", Sent: at, Received: at.Add(time.Second)})
	m.Exchange(Exchange{CA: "testca", Operation: "directory", Code: "200", Sent: at, Received: at.Add(20 * time.Millisecond), Date: at})
	m.Issuance(Issuance{CA: "testca", Reason: "expiry", Outcome: "ok", Took: 3 * time.Second})
	m.Issuance(Issuance{CA: "testca", Reason: "new", Outcome: "error", Phase: "validate", Cause: "dns", Took: time.Second})
	m.Phase("testca", "order", time.Second)
	m.Unreplaced("testca")
	m.Authorization("testca", "http-01", "valid")
	m.Challenge("http-01", "served")
	m.SelfTest("http-01", "ok")
	m.Presented("http-01", 2)
	m.Presented("http-01", -1)
	m.Hook(Hook{Hook: "reload", Event: "live-updated", Outcome: "ok", Took: time.Second, At: at})
	m.Reconcile(Reconcile{Trigger: "timer", Outcome: "ok", At: at, Took: 4 * time.Second})
	m.Reconcile(Reconcile{Trigger: "timer", Outcome: "error", At: at.Add(time.Hour), Took: 2 * time.Second, Errors: 5})
}

// needProgram returns the path of an external program. Without it a plain
// go test skips; under make test (CERTD_TEST_REQUIRE=1) that is a failure.
func needProgram(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if path, err := exec.LookPath(filepath.Join("/usr/sbin", name)); err == nil {
		return path
	}
	if os.Getenv("CERTD_TEST_REQUIRE") != "" {
		t.Fatalf("%s is not installed; make test installs it", name)
	}
	t.Skipf("%s is not installed; make test installs it", name)
	return ""
}
