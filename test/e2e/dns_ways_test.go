package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"certd/acme/acmetest"
)

func (s *site) script(name, body string) string {
	s.t.Helper()
	s.write(name, "#!/bin/sh\n"+body)
	path := filepath.Join(s.dir, name)
	if err := os.Chmod(path, 0o755); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// private makes a file of the site its owner's alone, and returns its path.
func (s *site) private(name, data string) string {
	s.t.Helper()
	s.write(name, data)
	path := filepath.Join(s.dir, name)
	if err := os.Chmod(path, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// lego's provider exec keeps one record at a time as far as anybody knows: a name
// and its wildcard are proven one after the other.
func TestDNSByExec(t *testing.T) {
	t.Parallel()
	needHelper(t)
	b := startBIND(t, "")
	ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
	s := dnsSite(t, b, ca, "")
	log := filepath.Join(s.dir, "log")
	program := s.script("dns.sh", b.nsupdate()+`
echo "$1" >>`+log+`
env >`+filepath.Join(s.dir, "env")+`
case $1 in
present) nsupdate_ "update delete $2 TXT
update add $2 1 TXT $3" ;;
cleanup) nsupdate_ "update delete $2 TXT $3" ;;
esac
`)
	env := s.private("exec.env", "EXEC_PATH="+program+"\nEXEC_SEQUENCE_INTERVAL=2\nEXEC_POLLING_INTERVAL=1\nSECRET_OF_MINE=1\n")
	s.write("acme/conf/target", fmt.Sprintf("request: {challenge: {method: dns, dns-provider: exec, dns-env-file: %q}}\n", env))
	s.must(0, "want", "*.example.com", "example.com")
	if got := s.read("log"); got != "present\ncleanup\npresent\ncleanup\n" {
		t.Errorf("the program was called for %q, want one record after the other", got)
	}
	if got := s.read("env"); strings.Contains(got, "GOCACHE=") || strings.Contains(got, "PWD=/work") || strings.Count(got, "\n") > 9 || !strings.Contains(got, "SECRET_OF_MINE=1") {
		t.Errorf("the environment of the provider is not that of the file alone:\n%s", got)
	}
	wantNoRecord(t, b, s, "_acme-challenge.example.com")
}

func TestDNSByHTTPReq(t *testing.T) {
	t.Parallel()
	needHelper(t)
	b := startBIND(t, "")
	ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var record struct{ FQDN, Value string }
		if err := json.NewDecoder(r.Body).Decode(&record); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		b.update(t, r.URL.Path == "/present", record.FQDN, record.Value)
	}))
	t.Cleanup(server.Close)
	s := dnsSite(t, b, ca, "")
	env := s.private("httpreq.env", "HTTPREQ_ENDPOINT="+server.URL+"\nHTTPREQ_POLLING_INTERVAL=1\n")
	s.write("acme/conf/target", fmt.Sprintf("request: {challenge: {method: dns, dns-provider: httpreq, dns-env-file: %q}}\n", env))
	s.must(0, "want", "*.example.com", "example.com")
	wantNoRecord(t, b, s, "_acme-challenge.example.com")
}

// A hook of acmetool's protocol, in shell: exit 42 for what is not its own.
func TestDNSByHook(t *testing.T) {
	t.Parallel()
	b := startBIND(t, "")
	ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
	s := dnsSite(t, b, ca, ", env: {ZONE: example.com}")
	s.script("hooks/dns.hook", b.nsupdate()+`
case $1 in challenge-*) ;; *) exit 42 ;; esac
echo "$# $* $ZONE $CERTD_DNS_RECORD" >>`+filepath.Join(s.dir, "log")+`
case $1 in
challenge-dns-start) nsupdate_ "update add _acme-challenge.$2. 1 TXT $4" ;;
challenge-dns-stop) nsupdate_ "update delete _acme-challenge.$2. TXT $4" ;;
esac
`)
	s.must(0, "want", "*.example.com", "example.com")
	lines := strings.Split(strings.TrimSpace(s.read("log")), "\n")
	if len(lines) != 4 {
		t.Errorf("the hook was called %d times, want two starts and two stops:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for _, line := range lines {
		f := strings.Fields(line)
		if len(f) != 7 || f[0] != "5" || f[2] != "example.com" || f[3] != "example.com" && f[3] != "wildcard.example.com" || len(f[4]) != 43 || f[5] != "example.com" || f[6] != "_acme-challenge.example.com" {
			t.Errorf("a call of the hook was %q, want five arguments: event, host name, target, value and nothing", line)
		}
	}
	wantNoRecord(t, b, s, "_acme-challenge.example.com")
}

// No hook is there: the error says what to do, and no order is spent.
func TestDNSByNobody(t *testing.T) {
	t.Parallel()
	b := startBIND(t, "")
	ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
	s := dnsSite(t, b, ca, "")
	r := s.must(1, "want", "*.example.com")
	if !strings.Contains(r.out, "dns-01: no provider set (request.challenge.dns-provider) and no challenge-dns-start hook") {
		t.Errorf("the failure does not say what is missing: %v", r)
	}
	if n := acmetest.Count(ca.Requests(), "order"); n > 0 {
		t.Errorf("%d requests for an order that nothing could prove", n)
	}
}

// What is wrong with the provider is said with the name of the variable or file.
func TestDNSMistakes(t *testing.T) {
	t.Parallel()
	needHelper(t)
	b := startBIND(t, "")
	ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
	s := dnsSite(t, b, ca, "")
	open := s.private("open.env", "HTTPREQ_ENDPOINT=http://127.0.0.1:1\n")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ conf, says string }{
		"a.example.com": {"dns-provider: httpreq", "HTTPREQ_ENDPOINT; certd-dns help httpreq explains"},
		"b.example.com": {"dns-provider: nosuch", `there is no DNS provider "nosuch"`},
		"c.example.com": {fmt.Sprintf("dns-provider: httpreq, dns-env-file: %q", open), "mode 0644; run: chmod 0640"},
		"d.example.com": {"dns-provider: httpreq, dns-env-file: /nonexistent/dns.env", "/nonexistent/dns.env: no such file"},
	} {
		ca.ResetRequests()
		s.write("acme/desired/"+name, "request: {challenge: {"+c.conf+"}}\n")
		r := s.must(1, "reconcile", name)
		if !strings.Contains(r.out, c.says) {
			t.Errorf("with %q the failure does not say %q: %v", c.conf, c.says, r)
		}
		if n := acmetest.Count(ca.Requests(), "order"); n > 0 && name != "b.example.com" {
			t.Errorf("with %q %d requests were for an order that nothing could prove", c.conf, n)
		}
	}
}
