package metrics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"certd/test/ports"
)

// TestRealPrometheus lets one, which speaks OpenMetrics, scrape the handler and asks it what it saw: types
// and values have arrived, and a name that is wanted no longer is gone.
func TestRealPrometheus(t *testing.T) {
	t.Parallel()
	m := New(Options{Version: "1.2.3"})
	everything(m)
	server := httptest.NewServer(m.Handler())
	t.Cleanup(server.Close)
	api := startPrometheus(t, strings.TrimPrefix(server.URL, "http://"))

	waitFor(t, `up{job="certd"} == 1`, func() bool { return len(api.query(t, `up{job="certd"} == 1`)) == 1 })
	for query, want := range map[string]string{
		`certd_issuances_total{ca="testca",reason="expiry",outcome="ok"}`:                        "1",
		`certd_certificate_consecutive_failures{name="www.example.com"}`:                         "3",
		`histogram_quantile(1, certd_issuance_duration_seconds_bucket{outcome="ok"}) > bool 2.5`: "1",
		`count(certd_build_info{version="1.2.3"})`:                                               "1",
		`count(go_goroutines)`: "1",
	} {
		waitFor(t, query+" is "+want, func() bool { // for a scrape that took too long all are gone until the next
			got := api.query(t, query)
			return len(got) == 1 && got[0] == want
		})
	}
	for name, want := range map[string]string{"certd_issuances": "counter", "certd_targets": "gauge", "certd_hook_duration_seconds": "histogram"} {
		if got := api.metadata(t, name); got != want {
			t.Errorf("Prometheus takes %s for a %s, want %s", name, got, want)
		}
	}
	m.Issuance(Issuance{CA: "testca", Reason: "expiry", Outcome: "ok", Took: time.Second})
	m.SetView(View{Time: start(), ConfigOK: true})
	waitFor(t, "the new value and no stale name", func() bool {
		return len(api.query(t, `certd_issuances_total{ca="testca",reason="expiry",outcome="ok"} == 2`)) == 1 &&
			len(api.query(t, `{name="www.example.com"}`)) == 0
	})
}

// An api is that of a running Prometheus.
type api string

// startPrometheus runs one that scrapes target every two seconds, until the test ends.
func startPrometheus(t *testing.T, target string) api {
	t.Helper()
	program := needProgram(t, "prometheus")
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	yaml := fmt.Sprintf("global: {scrape_interval: 2s, scrape_timeout: 2s}\nscrape_configs: [{job_name: certd, static_configs: [{targets: [%q]}]}]\n", target)
	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", ports.Free(t))
	var log bytes.Buffer
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // it has nothing to say but that it was ended
		if t.Failed() {
			t.Logf("prometheus said:\n%s", log.String())
		}
	})
	a := api("http://" + addr)
	waitFor(t, "prometheus", func() bool {
		res, err := http.Get(string(a) + "/-/ready")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return a
}

// get reads one answer of the API into v.
func (a api) get(t *testing.T, path string, v any) {
	t.Helper()
	res, err := http.Get(string(a) + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil {
		err = json.Unmarshal(body, v)
	}
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v: %s", path, res.Status, err, body)
	}
}

// query returns the values of an instant query.
func (a api) query(t *testing.T, query string) []string {
	t.Helper()
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	a.get(t, "/api/v1/query?query="+url.QueryEscape(query), &answer)
	var out []string
	for _, r := range answer.Data.Result {
		out = append(out, fmt.Sprint(r.Value[1]))
	}
	return out
}

// metadata returns the type of a metric.
func (a api) metadata(t *testing.T, metric string) string {
	t.Helper()
	var answer struct {
		Data map[string][]struct{ Type string }
	}
	a.get(t, "/api/v1/metadata?metric="+metric, &answer)
	if len(answer.Data[metric]) != 1 {
		return ""
	}
	return answer.Data[metric][0].Type
}

// waitFor polls until ok returns true; it gives up after a minute.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 600 {
		if ok() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("waited a minute in vain: %s", what)
}
