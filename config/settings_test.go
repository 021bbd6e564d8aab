package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// designExample is the example of docs/configuration.md with every key set.
const designExample = `
schedule: "0 3,15 * * *"
jitter: 1h30m
listen: ""
management: 127.0.0.1:8127
responder: ":80"
parallel: 100
challenge:
  http-port: 5002
  tls-port: 5001
  proxy-port: 4402
  resolver: 127.0.0.1:8053
  dns-check: off
  dns-port: 5353
  dns-resolvers: ["192.0.2.1:53", "[2001:db8::1]:53"]
  dns-settle: 10s
cas:
  - name: letsencrypt
    directory: https://acme-v02.api.letsencrypt.org/directory
  - name: internal
    directory: https://ca.internal/acme/acme/directory
    staging: https://staging.ca.internal/directory
    ca-bundle: /etc/ssl/internal.pem
    eab: {kid: abc, hmac-file: /etc/certd/eab}
    limits:
      - {name: orders, per: account, burst: 300, window: 3h}
      - {name: certificates, per: domain, burst: 50, window: 7d}
  - name: unlimited
    directory: https://unlimited.internal/directory
    limits: []
metrics:
  textfile: /var/lib/node/certd.prom
  statsd: localhost:8125
  graphite: "[::1]:2003"
  prefix: my_certd
`

func TestParseSettings(t *testing.T) {
	t.Parallel()
	got, err := ParseSettings("conf/certd.yaml", []byte(designExample))
	want := &Settings{
		Schedule: "0 3,15 * * *", Jitter: 90 * time.Minute, Management: "127.0.0.1:8127", Responder: ":80", Parallel: 100,
		Challenge: ChallengeSettings{HTTPPort: 5002, TLSPort: 5001, ProxyPort: 4402, Resolver: "127.0.0.1:8053", DNSCheck: DNSOff, DNSPort: 5353,
			DNSResolvers: []string{"192.0.2.1:53", "[2001:db8::1]:53"}, DNSSettle: 10 * time.Second},
		CAs: []CA{
			{Name: "letsencrypt", Directory: "https://acme-v02.api.letsencrypt.org/directory"},
			{
				Name: "internal", Directory: "https://ca.internal/acme/acme/directory", Staging: "https://staging.ca.internal/directory",
				Bundle: "/etc/ssl/internal.pem", EABKeyID: "abc", EABHMACFile: "/etc/certd/eab",
				Limits: []Limit{
					{Name: "orders", Per: PerAccount, Burst: 300, Window: 3 * time.Hour},
					{Name: "certificates", Per: PerDomain, Burst: 50, Window: 7 * 24 * time.Hour},
				},
			},
			{Name: "unlimited", Directory: "https://unlimited.internal/directory", Limits: []Limit{}},
		},
		Metrics: MetricsSettings{Textfile: "/var/lib/node/certd.prom", StatsD: "localhost:8125", Graphite: "[::1]:2003", Prefix: "my_certd"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func TestSettingsDefaults(t *testing.T) {
	t.Parallel()
	want := &Settings{
		Schedule: "@every 6h", Jitter: 30 * time.Minute, Listen: "127.0.0.1:9402", Parallel: 8,
		Challenge: ChallengeSettings{HTTPPort: 80, TLSPort: 443, ProxyPort: 402, DNSCheck: "authoritative", DNSPort: 53, DNSSettle: 2 * time.Second}, Metrics: MetricsSettings{Prefix: "certd"},
	}
	for _, text := range []string{"", "# nothing\n", "challenge:\nmetrics:\n", "cas: []\n"} {
		got, err := ParseSettings("conf/certd.yaml", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if len(got.CAs) == 0 {
			got.CAs = nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{
		"@every 6h": true, "@every 1m": true, "@every 59s": false, "@every": false, "@every soon": false, "@daily": true, "@hourly": true,
		"@reboot": false, "0 3 * * *": true, "*/5 0-12 1,15 JAN MON-FRI": true, "TZ=Europe/Berlin 0 3 * * *": true, "CRON_TZ=UTC @daily": true,
		"61 * * * *": false, "0 0 31 2 *": false, "0 0 29 2 *": true, "* * * * 7": false, "TZ=nowhere @daily": false, "TZ=UTC\u00a0@daily": false, "CRON_TZ=": false,
		"0 3 * *": false, "0 3 * * * *": false, "0 3 * * ;rm": false, "": false, "TZ=UTC": false,
	} {
		_, err := ParseSettings("conf/certd.yaml", []byte("schedule: \""+text+"\"\n"))
		if (err == nil) != good {
			t.Errorf("schedule %q: got %v, want accepted %v", text, err, good)
		}
	}
}

func TestLoadSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "missing")} {
		if got, err := LoadSettings(path); err != nil || !reflect.DeepEqual(got, defaultSettings()) {
			t.Errorf("without conf/certd.yaml: got %+v, %v; want the defaults", got, err)
		}
	}
	write(t, dir, "conf/certd.yaml", "parallel: 3\n")
	if got, err := LoadSettings(dir); err != nil || got.Parallel != 3 {
		t.Errorf("got %+v, %v; want parallel 3", got, err)
	}
	write(t, dir, "conf/certd.yaml", "paralel: 3\n")
	if _, err := LoadSettings(dir); err == nil || err.Error() != "conf/certd.yaml:1: paralel: unknown key; did you mean parallel?" {
		t.Errorf("got %v, want the line and the nearest key", err)
	}
	if _, err := LoadSettings(filepath.Join(dir, "conf/certd.yaml")); err == nil || !strings.Contains(err.Error(), "open state directory") {
		t.Errorf("a file as state directory: got %v, want an error", err)
	}
}

// write makes a file and its directories.
func write(t *testing.T, dir, path, text string) {
	t.Helper()
	path = filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func FuzzParseSettings(f *testing.F) {
	f.Add([]byte(designExample))
	f.Add([]byte("schedule: \"TZ=UTC\u00a0@daily\""))
	f.Add([]byte("cas: [{name: a, directory: https://a.example/}]"))
	f.Add([]byte("cas:\n- &a {name: zerossl}\n- *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ParseSettings("conf/certd.yaml", data)
		if err != nil {
			return
		}
		if got.Parallel < 1 || got.Parallel > 100 || got.Metrics.Prefix == "" {
			t.Errorf("accepted out of bounds: %+v", got)
		}
		for _, ca := range got.CAs {
			if known, err := got.CA(ca.Name); err != nil || !reflect.DeepEqual(known, ca) {
				t.Errorf("CA %q of the file: got %+v, %v", ca.Name, known, err)
			}
		}
	})
}
