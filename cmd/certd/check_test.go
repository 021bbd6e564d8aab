package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"certd/config"
	"certd/state"
)

// day is the unit of most certificates' lives.
const day = 24 * time.Hour

// A checkSite is a state directory for certd check.
type checkSite struct {
	t     *testing.T
	store *state.Store
	lock  *state.Lock
}

func newCheckSite(t *testing.T) *checkSite {
	t.Helper()
	store, err := state.Open(filepath.Join(t.TempDir(), "acme"))
	if err != nil {
		t.Fatal(err)
	}
	lock, err := store.Lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Unlock() })
	return &checkSite{t, store, lock}
}

func (s *checkSite) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *checkSite) path(elem ...string) string { return s.store.Path(elem...) }

// want records targets of one name each.
func (s *checkSite) want(names ...string) {
	s.t.Helper()
	for _, name := range names {
		s.target(name, "satisfy: {names: ["+name+"]}\n")
	}
}

// target writes a file of desired/.
func (s *checkSite) target(name, text string) {
	s.t.Helper()
	s.must(os.WriteFile(s.path("desired", name), []byte(text), 0o644))
}

// certificate publishes a certificate that began some time ago and lasts, and
// links it to live/.
func (s *checkSite) certificate(link string, names []string, ago, lasts time.Duration) (id string) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	keyID, err := s.store.SaveKey(key)
	s.must(err)
	begin := time.Now().Add(-ago).UTC().Truncate(time.Second)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: begin, NotAfter: begin.Add(lasts), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	s.must(err)
	id, err = s.store.Publish(state.NewCertificate{
		URL: fmt.Sprintf("https://ca.example/order/%s/%d", link, begin.UnixNano()), Directory: "https://acme-v02.api.letsencrypt.org/directory", KeyID: keyID, Account: "acme-v02.api.letsencrypt.org%2fdirectory/" + strings.Repeat("a", 52),
		Cert:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Names: names, Target: link, NotBefore: template.NotBefore, NotAfter: template.NotAfter,
	})
	s.must(err)
	s.must(s.store.Link(link, id))
	return id
}

// good is a wanted name with a certificate in the middle of its life.
func (s *checkSite) good(name string) (id string) {
	s.t.Helper()
	s.want(name)
	return s.certificate(name, []string{name}, 20*day, 90*day)
}

// counters is the sign of a pass some time ago.
func (s *checkSite) counters(ago time.Duration) {
	s.t.Helper()
	s.must(os.WriteFile(s.path("counters.json"), []byte("{}"), 0o644))
	at := time.Now().Add(-ago)
	s.must(os.Chtimes(s.path("counters.json"), at, at))
}

func (s *checkSite) run(args ...string) (code int, out string) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(context.Background(), append([]string{"--state", s.store.Dir(), "check"}, args...), streams{in: strings.NewReader(""), out: &stdout, err: &stderr})
	if stderr.Len() > 0 {
		s.t.Errorf("certd check wrote to standard error, which Nagios does not see: %s", stderr.String())
	}
	return code, stdout.String()
}

// attempt records a failed attempt of a target.
func (s *checkSite) attempt(name, text string, ago time.Duration) {
	s.t.Helper()
	targets, err := config.LoadTargets(s.store.Dir())
	s.must(err)
	digest := ""
	for _, target := range targets.Targets {
		if target.File == name {
			digest = target.Digest()
		}
	}
	s.must(s.store.SaveAttempt(state.Attempt{Target: name, Digest: digest, Failures: 3, Class: "transient", LastError: text, LastAttempt: time.Now().Add(-ago).UTC()}))
}

// replace writes a file over one that the state directory keeps.
func (s *checkSite) replace(path, data string) {
	s.t.Helper()
	s.must(os.Remove(path))
	s.must(os.WriteFile(path, []byte(data), 0o600))
}

func TestCheckFindings(t *testing.T) {
	t.Parallel()
	const www = "www.example.com"
	for _, c := range []struct {
		name  string
		args  string
		setUp func(s *checkSite)
		code  int
		says  string
	}{
		{"all is well", "", func(s *checkSite) { s.good(www); s.counters(time.Hour) }, 0, "CERTD OK: 1 name, the first to expire is www.example.com in 69 days |"},
		{"wanted by a wildcard", "", func(s *checkSite) {
			s.target("w", "satisfy: {names: ['*.example.com']}\n")
			s.certificate("*.example.com", []string{"*.example.com"}, 20*day, 90*day)
		}, 0, "OK"},
		{"nothing is wanted", "", func(*checkSite) {}, 3, "UNKNOWN: nothing is wanted in"},
		{"expiring soon", "", func(s *checkSite) { s.want(www); s.certificate(www, []string{www}, 70*day, 90*day) }, 1, "WARNING: www.example.com expires in 19 days"},
		{"about to expire", "", func(s *checkSite) { s.want(www); s.certificate(www, []string{www}, 85*day, 90*day) }, 2, "CRITICAL: www.example.com expires in 4 days"},
		{"expired", "", func(s *checkSite) { s.want(www); s.certificate(www, []string{www}, 92*day+time.Hour, 90*day) }, 2, "CRITICAL: www.example.com expired 2 days ago"},
		{"renewal is just due", "", func(s *checkSite) { s.want(www); s.certificate(www, []string{www}, 60*day+time.Hour, 90*day) }, 0, "OK"},
		{"renewal late by its own margin", "", func(s *checkSite) {
			s.target("w", "satisfy: {names: ["+www+"], margin: 4}\n")
			s.certificate(www, []string{www}, 85*day, 90*day)
		}, 0, "OK"},
		{"six days", "", func(s *checkSite) { s.want(www); s.certificate(www, []string{www}, 5*day, 6*day) }, 1, "WARNING: www.example.com expires in 23 hours"},
		{"days for -w", "-w 80 -c 20", func(s *checkSite) { s.good(www) }, 1, "expires in 69 days"},
		{"ranges for -w and -c", "-w 100: -c 80:", func(s *checkSite) { s.good(www) }, 2, "expires in 69 days"},
		{"share for -w", "-w 90% -c 5%", func(s *checkSite) { s.good(www) }, 1, "soonest="},
		{"no certificate yet", "", func(s *checkSite) { s.want(www) }, 2, "www.example.com has no certificate"},
		{"no certificate, and why", "", func(s *checkSite) { s.want(www); s.attempt(www, "the CA | said no", time.Minute) }, 2, "no certificate: the CA / said no |"},
		{"renewal fails", "", func(s *checkSite) {
			s.want(www)
			s.certificate(www, []string{www}, 61*day, 90*day)
			s.attempt(www, "refused", time.Minute)
		}, 1, "WARNING: www.example.com: 3 attempts failed: refused"},
		{"key is gone", "", func(s *checkSite) { s.good(www); s.must(os.RemoveAll(s.path("keys"))) }, 2, "has no key"},
		{"key of another certificate", "", func(s *checkSite) {
			s.good(www)
			s.good("other.example.com")
			keys, err := filepath.Glob(s.path("keys", "*", "privkey"))
			s.must(err)
			data, err := os.ReadFile(keys[0])
			s.must(err)
			s.replace(keys[1], string(data))
		}, 2, "does not hold its key"},
		{"damaged file", "", func(s *checkSite) {
			s.replace(s.path("certs", s.good(www), "fullchain"), "rubbish")
		}, 2, "is damaged: fullchain is not what was published"},
		{"revoked", "", func(s *checkSite) {
			s.must(os.WriteFile(s.path("certs", s.good(www), "revoked"), nil, 0o644))
		}, 2, "is revoked"},
		{"linked to the certificate of others", "", func(s *checkSite) {
			s.want(www)
			s.certificate(www, []string{"other.example.com"}, 20*day, 90*day)
		}, 2, "has a certificate for other names: other.example.com"},
		{"link is gone", "", func(s *checkSite) { s.good(www); s.must(os.Remove(s.path("live", www))) }, 2, "www.example.com has no certificate"},
		{"link leads nowhere", "", func(s *checkSite) { s.must(os.RemoveAll(s.path("certs", s.good(www)))) }, 2, "www.example.com has no certificate"},
		{"newest certificate is not linked", "", func(s *checkSite) {
			old := s.good(www)
			s.certificate(www, []string{www}, day, 90*day)
			s.must(s.store.Link(www, old))
		}, 1, "live/www.example.com does not lead to the newest"},
		{"hook event just made", "", func(s *checkSite) { s.good(www); s.event(0, time.Minute, www) }, 0, "hooks_pending=1;"},
		{"hook refused", "", func(s *checkSite) { s.good(www); s.event(2, time.Minute, www) }, 1, "hook event live-updated of www.example.com not delivered"},
		{"hook event long waiting", "", func(s *checkSite) { s.good(www); s.event(0, 2*time.Hour, www) }, 1, "not delivered for 2 hours"},
		{"servers about to serve an old one", "", func(s *checkSite) { s.good(www); s.event(9, 16*day, www) }, 2, "not delivered for 16 days"},
		{"hook event of another name", www, func(s *checkSite) { s.good(www); s.good("b.example.com"); s.event(2, 2*time.Hour, "b.example.com") }, 0, "hooks_pending=0;"},
		{"target with a mistake", "", func(s *checkSite) { s.good(www); s.target("bad", "satisfy: [") }, 1, "a target is not worked on: desired/bad"},
		{"settings with a mistake", "", func(s *checkSite) { s.good(www); s.must(s.store.WriteConf("certd.yaml", []byte("nonsense: 1\n"))) }, 1, "nothing is renewed, the configuration cannot be used"},
		{"settings with a mistake, and what nobody wants any more", "", func(s *checkSite) {
			s.good(www)
			s.certificate("gone.example.com", []string{"gone.example.com"}, 95*day, 90*day)
			s.must(s.store.WriteConf("certd.yaml", []byte("nonsense: 1\n")))
		}, 1, "WARNING: nothing is renewed, the configuration cannot be used: conf/certd.yaml:1:"},
		{"settings with a mistake, and one wanted that is not there", "", func(s *checkSite) {
			s.want("new.example.com")
			s.must(s.store.WriteConf("certd.yaml", []byte("nonsense: 1\n")))
		}, 2, "new.example.com has no certificate"},
		{"settings with a mistake, and a CA that only they know", "", func(s *checkSite) {
			s.good(www)
			s.target(www, "satisfy: {names: ["+www+"]}\nrequest: {ca: mine}\n")
			s.must(s.store.WriteConf("certd.yaml", []byte("nonsense: 1\n")))
		}, 1, "WARNING: nothing is renewed, the configuration cannot be used"},
		{"default target with a mistake", "", func(s *checkSite) {
			s.good(www)
			s.must(s.store.WriteConf("target", []byte("nonsense: 1\n")))
		}, 1, "nothing is renewed, the configuration cannot be used: conf/target:1:"},
		{"default target with an unknown CA", "", func(s *checkSite) {
			s.good(www)
			s.must(s.store.WriteConf("target", []byte("request: {ca: mine}\n")))
		}, 1, "nothing is renewed, the configuration cannot be used: conf/target: request.ca"},
		{"settings with a mistake and an expired one", "", func(s *checkSite) {
			s.want(www)
			s.certificate(www, []string{www}, 91*day, 90*day)
			s.must(s.store.WriteConf("certd.yaml", []byte("nonsense: 1\n")))
		}, 2, "www.example.com expired 24 hours ago, and 1 more problem"},
		{"rubbish in certs", "", func(s *checkSite) { s.good(www); s.must(os.WriteFile(s.path("certs", "x"), nil, 0o644)) }, 1, "certs/x cannot be used"},
		{"others may write there", "", func(s *checkSite) { s.good(www); s.must(os.Chmod(s.path("keys"), 0o777)) }, 2, "lets others write there"},
		{"reconcile has stopped", "", func(s *checkSite) { s.good(www); s.quiet(www, "metrics: {textfile: /run/x/certd.prom}\n") }, 1, "no reconcile for 2 days"},
		{"reconcile is less frequent", "--stale 72h", func(s *checkSite) { s.good(www); s.quiet(www, "metrics: {textfile: /run/x/certd.prom}\n") }, 0, "last_reconcile=1"},
		{"counters that nobody keeps any more", "", func(s *checkSite) { s.good(www); s.quiet(www, "") }, 0, "last_reconcile=1"},
		{"the file with the metrics is as new as the last pass", "", func(s *checkSite) { s.good(www); s.textfile(time.Hour, time.Hour, 2*time.Hour) }, 0, "CERTD OK"},
		{"it is older", "", func(s *checkSite) { s.good(www); s.textfile(26*time.Hour, time.Hour, 50*time.Hour) }, 1, "metrics.textfile has not been written for 26 hours"},
		{"it is gone", "", func(s *checkSite) { s.good(www); s.textfile(0, time.Hour, 50*time.Hour) }, 1, "metrics.textfile is not there"},
		{"it was only just asked for", "", func(s *checkSite) { s.good(www); s.textfile(0, time.Hour, time.Minute) }, 0, "CERTD OK"},
		{"a pass is about to write it", "", func(s *checkSite) { s.good(www); s.textfile(26*time.Hour, time.Second, 50*time.Hour) }, 0, "CERTD OK"},
		{"due and never tried", "", func(s *checkSite) { s.want(www); s.acmetools(s.certificate(www, []string{www}, 63*day, 90*day)) }, 1, "has been due for 3 days and is not tried"},
		{"not wanted any more", "", func(s *checkSite) {
			s.good(www)
			s.certificate("gone.example.com", []string{"gone.example.com"}, 95*day, 90*day)
		}, 0, "OK: 1 name,"},
		{"not wanted any more, but asked for", "gone.example.com", func(s *checkSite) {
			s.good(www)
			s.certificate("gone.example.com", []string{"gone.example.com"}, 95*day, 90*day)
		}, 2, "gone.example.com expired"},
		{"asked for, and not there", "nobody.example.com", func(s *checkSite) { s.good(www) }, 2, "nobody.example.com is neither wanted nor in live/"},
		{"the worst comes first", "", func(s *checkSite) {
			s.want("a.example.com", "b.example.com")
			s.certificate("a.example.com", []string{"a.example.com"}, 70*day, 90*day)
			s.certificate("b.example.com", []string{"b.example.com"}, 95*day, 90*day)
		}, 2, "CRITICAL: b.example.com expired 5 days ago, and 2 more problems |"},
		{"more lines", "-v", func(s *checkSite) { s.want("a.example.com", "b.example.com") }, 2, "\nCRITICAL: b.example.com has no certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newCheckSite(t)
			c.setUp(s)
			code, out := s.run(strings.Fields(c.args)...)
			if code != c.code || !strings.Contains(out, c.says) {
				t.Errorf("exit %d, want %d; it said %q, want %q in it", code, c.code, out, c.says)
			}
			line, _, _ := strings.Cut(out, "\n")
			if c.args != "-v" && strings.Count(out, "\n") != 1 {
				t.Errorf("more than one line: %q", out)
			}
			wantPlugin(t, code, line)
		})
	}
}

// wantPlugin checks a line against the plugin guidelines.
func wantPlugin(t *testing.T, code int, line string) {
	t.Helper()
	text, perfdata, _ := strings.Cut(line, "|")
	if want := "CERTD " + checkStatus(code).String() + ": "; !strings.HasPrefix(text, want) {
		t.Errorf("the line %q does not begin with %q as its exit code %d says", line, want, code)
	}
	if len(line) > 1024 || strings.Contains(perfdata, "|") {
		t.Errorf("a line that Nagios would cut or misread: %q", line)
	}
	item := regexp.MustCompile(`^[a-z_]{1,19}=(U|-?[0-9]+s?(;-?[0-9]*:?(;-?[0-9]*:?(;0?)?)?)?)$`)
	for _, field := range strings.Fields(perfdata) {
		if !item.MatchString(field) {
			t.Errorf("%q is no perfdata", field)
		}
	}
}

// event saves a hook event.
func (s *checkSite) event(failures int, ago time.Duration, names ...string) {
	s.t.Helper()
	_, err := s.store.SaveEvent(state.Event{Event: "live-updated", Names: names, Created: time.Now().Add(-ago).UTC(), Failures: failures, LastError: "exit 1"})
	s.must(err)
}

// quiet makes the last sign of a reconcile 50 hours old, under these settings.
func (s *checkSite) quiet(name, settings string) {
	s.t.Helper()
	s.must(s.store.WriteConf("certd.yaml", []byte(settings)))
	s.counters(50 * time.Hour)
	id, err := os.Readlink(s.path("live", name))
	s.must(err)
	s.acmetools(filepath.Base(id))
}

// textfile is a configuration with a file for metrics, both so old, and the last pass
// some time ago; zero is no file.
func (s *checkSite) textfile(file, pass, conf time.Duration) {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "certd.prom")
	s.must(s.store.WriteConf("certd.yaml", fmt.Appendf(nil, "metrics: {textfile: %q}\n", path)))
	at := time.Now().Add(-conf)
	s.must(os.Chtimes(s.path("conf", "certd.yaml"), at, at))
	s.counters(pass)
	if file > 0 {
		s.must(os.WriteFile(path, nil, 0o644))
		at = time.Now().Add(-file)
		s.must(os.Chtimes(path, at, at))
	}
}

// acmetools takes away what acmetool does not write.
func (s *checkSite) acmetools(id string) {
	s.t.Helper()
	s.must(os.Remove(s.path("certs", id, "meta.json")))
}
