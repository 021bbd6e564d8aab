package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"certd/acme/acmetest"
	"certd/test/ports"
)

// TestPrometheusScrapesTheDaemon lets a real Prometheus watch a daemon: what is
// issued, a bad reload, a name that is not wanted any more, and a restart, after
// which counters go on.
func TestPrometheusScrapesTheDaemon(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	s, port := daemonSite(t, ca)
	s.must(0, "want", "--no-reconcile", "first.example.test")
	r := s.daemon(nil)
	query := startPrometheus(t, port)
	sees := func(queries ...string) {
		t.Helper()
		for _, q := range queries {
			waitFor(t, "Prometheus sees "+q, func() bool { return query(q) })
		}
	}
	const issued = `certd_issuances_total{job="certd",ca="testca",reason="new",outcome="ok"}`
	sees(issued+" == 1", `certd_targets{state="ready"} == 1`, `certd_reconciles_total{trigger="startup",outcome="ok"} == 1`,
		`certd_certificate_renewal_timestamp_seconds{name="first.example.test",ca="testca"} > time()`,
		`certd_reconcile_next_timestamp_seconds > time()`, `certd_reconcile_interval_seconds == 21600`,
		`certd_challenge_requests_total{result="served"} >= 2`, `process_open_fds > 0`, `go_goroutines > 0`)

	s.must(0, "want", "--no-reconcile", "second.example.test")
	sees(issued+" == 2", `certd_reconciles_total{trigger="watch",outcome="ok"} >= 1`)
	s.must(0, "unwant", "second.example.test")
	sees(`absent({name="second.example.test"})`)

	s.write("acme/conf/target", "reqest: {}\n")
	r.signal(syscall.SIGHUP)
	sees(`certd_config_last_reload_successful == 0`, `certd_certificate_not_after_timestamp_seconds{name="first.example.test"} > time()`)
	s.write("acme/conf/target", "request: {challenge: {method: listen}}\n")
	r.signal(syscall.SIGHUP)
	sees(`certd_config_last_reload_successful == 1`)

	r.terminate()
	r = s.daemon(nil)
	sees(issued+" == 2", `certd_reconciles_total{trigger="startup",outcome="ok"} == 2`)
	if printed := s.must(0, "metrics").out; !strings.Contains(printed, `certd_issuances_total{ca="testca",outcome="ok",reason="new"} 2`) {
		t.Error("certd metrics does not have what the daemon has counted")
	}
	r.terminate()
}

// startPrometheus runs one that scrapes a certd run every two seconds until the
// test ends. What it returns reports whether a query has a result.
func startPrometheus(t *testing.T, target int) func(query string) bool {
	t.Helper()
	dir := t.TempDir()
	port := ports.Free(t)
	config := filepath.Join(dir, "prometheus.yml")
	yaml := fmt.Sprintf("global: {scrape_interval: 2s, scrape_timeout: 2s}\nscrape_configs: [{job_name: certd, static_configs: [{targets: ['127.0.0.1:%d']}]}]\n", target)
	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(needProgram(t, "prometheus"), "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		fmt.Sprintf("--web.listen-address=127.0.0.1:%d", port))
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // ended by the signal
		if t.Failed() {
			t.Logf("prometheus said:\n%s", log.String())
		}
	})
	return func(query string) bool {
		status, body, err := get(port, "/api/v1/query?query="+url.QueryEscape(query), "")
		if err != nil || status == http.StatusServiceUnavailable {
			return false
		}
		var answer struct {
			Error string
			Data  struct{ Result []any }
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Error != "" {
			t.Fatalf("%s: %d %q %v", query, status, body, err)
		}
		return len(answer.Data.Result) > 0
	}
}
