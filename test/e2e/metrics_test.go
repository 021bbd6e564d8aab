package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"certd/acme/acmetest"
	"certd/test/ports"
)

// TestNodeExporterReadsTheTextfile lets a real node_exporter read what one-shot
// runs write: counters grow from run to run, also over a failed one, and it
// never finds anything wrong with the file.
func TestNodeExporterReadsTheTextfile(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{Blocklist: []string{"blocked.example.test"}})
	s := pebbleSite(t, ca)
	collected := t.TempDir()
	s.write("acme/conf/certd.yaml", fmt.Sprintf("cas: [{name: testca, directory: %q, ca-bundle: %q}]\nchallenge: {http-port: %d, resolver: %q}\nmetrics: {textfile: %q}\n",
		ca.URL(), filepath.Join(s.dir, "ca.pem"), ca.HTTPPort(), ca.Resolver(), filepath.Join(collected, "certd.prom")))
	scrape := startNodeExporter(t, collected)

	const ok, failed = `certd_issuances_total{ca="testca",outcome="ok",reason="new"}`, `certd_issuances_total{ca="testca",outcome="error",reason="new"}`
	for i, run := range []struct {
		target string
		code   int
		want   map[string]float64
	}{
		{"first.example.test", 0, map[string]float64{ok: 1, failed: 0}},
		{"second.example.test", 0, map[string]float64{ok: 2, failed: 0}},
		{"blocked.example.test", 1, map[string]float64{ok: 2, failed: 1, `certd_targets{state="failing"}`: 1}},
		{"third.example.test", 1, map[string]float64{ok: 3, failed: 1, `certd_targets{state="ready"}`: 3}},
	} {
		s.write("acme/desired/"+run.target, "")
		s.must(run.code, "reconcile")
		got := scrape(t)
		run.want["node_textfile_scrape_error"] = 0
		run.want[`certd_authorizations_total{ca="testca",outcome="valid",type="http-01"}`] = run.want[ok]
		run.want[`certd_challenge_selftests_total{outcome="ok",type="http-01"}`] = run.want[ok]
		run.want[`certd_acme_requests_total{ca="testca",code="200",operation="directory"}`] = float64(i + 1)
		run.want[`certd_issuance_duration_seconds_count{ca="testca",outcome="ok"}`] = run.want[ok]
		for series, want := range run.want {
			if value, ok := got[series]; !ok || value != want {
				t.Errorf("after run %d: %s is %v (there: %t), want %v", i+1, series, value, ok, want)
			}
		}
		if served := got[`certd_challenge_requests_total{result="served",type="http-01"}`]; served < 2*run.want[ok] {
			t.Errorf("after run %d: %v challenge requests were served, want those of the CA and of the self-test", i+1, served)
		}
	}
	s.must(0, "unwant", "first.example.test")
	s.must(1, "reconcile")
	got := scrape(t)
	for series := range got {
		if strings.Contains(series, "first.example.test") {
			t.Errorf("there is still %s", series)
		}
	}
	offset, uncertainty := got[`certd_clock_offset_seconds{source="acme"}`], got[`certd_clock_offset_uncertainty_seconds{source="acme"}`]
	if uncertainty <= 0 || max(offset, -offset) > uncertainty {
		t.Errorf("the clock is off by %v ± %v against a CA on this machine", offset, uncertainty)
	}
	checkPrinted(t, s)
}

// checkPrinted compares `certd metrics` with the textfile: the same series, and
// nothing for promtool to complain about. It must not write.
func checkPrinted(t *testing.T, s *site) {
	t.Helper()
	before := snapshot(t, s.state)
	printed := s.must(0, "metrics").out
	compareSnapshots(t, before, snapshot(t, s.state))
	for _, part := range []string{`certd_issuances_total{ca="testca",outcome="ok",reason="new"} 3`, `certd_build_info{`,
		`certd_certificate_not_after_timestamp_seconds{ca="testca",name="third.example.test"} `, `certd_reconcile_last_errors 1`} {
		if !strings.Contains(printed, "\n"+part) {
			t.Errorf("certd metrics lacks %s", part)
		}
	}
	promtool := exec.CommandContext(t.Context(), needProgram(t, "promtool"), "check", "metrics")
	promtool.Stdin = strings.NewReader(printed)
	if out, err := promtool.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// TestMetricsOfAMistake: with a mistake in conf/ the command prints what it can,
// and exits with 78.
func TestMetricsOfAMistake(t *testing.T) {
	t.Parallel()
	s := &site{t: t, dir: t.TempDir()}
	s.state, s.hooks = filepath.Join(s.dir, "acme"), filepath.Join(s.dir, "hooks")
	s.write("acme/conf/certd.yaml", "nonsense: 1\n")
	if r := s.must(78, "metrics"); !strings.Contains(r.out, "\ncertd_config_last_reload_successful 0\n") || !strings.Contains(r.err, "nonsense") {
		t.Errorf("certd metrics with a mistake in certd.yaml: %v", r)
	}
	s.write("acme/conf/certd.yaml", "")
	s.write("acme/counters.json", "garbage")
	if r := s.must(1, "metrics"); !strings.Contains(r.out, "\ncertd_config_last_reload_successful 1\n") || !strings.Contains(r.err, "counters.json") {
		t.Errorf("certd metrics with garbled counters: %v", r)
	}
}

// startNodeExporter runs a node_exporter that only reads textfiles, until the
// test ends, and returns what scrapes it.
func startNodeExporter(t *testing.T, dir string) func(t *testing.T) map[string]float64 {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", ports.Free(t))
	cmd := exec.Command(needProgram(t, "prometheus-node-exporter"), "--collector.disable-defaults", "--collector.textfile",
		"--collector.textfile.directory="+dir, "--web.listen-address="+addr, "--web.disable-exporter-metrics")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // ended by the signal
		if t.Failed() {
			t.Logf("node_exporter said:\n%s", log.String())
		}
	})
	get := func() (string, error) {
		res, err := http.Get("http://" + addr + "/metrics")
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return string(body), err
	}
	waitFor(t, "node_exporter", func() bool { _, err := get(); return err == nil })
	return func(t *testing.T) map[string]float64 {
		t.Helper()
		body, err := get()
		if err != nil {
			t.Fatal(err)
		}
		out := make(map[string]float64)
		for line := range strings.Lines(body) {
			i := strings.LastIndexByte(line, ' ')
			if strings.HasPrefix(line, "#") || i < 0 {
				continue
			}
			if out[line[:i]], err = strconv.ParseFloat(strings.TrimSpace(line[i:]), 64); err != nil {
				t.Fatalf("node_exporter says %q: %v", line, err)
			}
		}
		return out
	}
}

// TestTextfileIsReplacedWhole: whoever reads the file while runs write it sees a
// complete one, readable for all, and nothing else is left in its directory.
func TestTextfileIsReplacedWhole(t *testing.T) {
	t.Parallel()
	s := &site{t: t, dir: t.TempDir()}
	s.state, s.hooks = filepath.Join(s.dir, "acme"), filepath.Join(s.dir, "hooks")
	collected := t.TempDir()
	path := filepath.Join(collected, "certd.prom")
	s.write("acme/conf/certd.yaml", fmt.Sprintf("metrics: {textfile: %q}\n", path))
	s.must(0, "reconcile")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if data, err := os.ReadFile(path); err != nil || !bytes.HasSuffix(data, []byte("\n")) || !bytes.Contains(data, []byte("\ncertd_targets{")) {
				t.Errorf("a torn file of %d bytes: %v", len(data), err)
				return
			}
		}
	}()
	for range 5 {
		s.must(0, "reconcile")
	}
	close(stop)
	<-stopped
	entries, err := os.ReadDir(collected)
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v (%v), want certd.prom alone", entries, err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode() != 0o644 {
		t.Errorf("certd.prom: %v, %v; want mode 0644", fi, err)
	}
}
