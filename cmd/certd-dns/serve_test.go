package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// The test binary is certd-dns if the environment says so.
func TestMain(m *testing.M) {
	if os.Getenv("CERTD_DNS_TEST") == "1" {
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

const keyAuth = "tokentokentokentokentoken.thumbprint"

func value() string {
	sum := sha256.Sum256([]byte(keyAuth))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func want(action, provider string) request {
	return request{Action: action, Provider: provider, Domain: "example.com", Name: "_acme-challenge.example.com", Value: value(),
		KeyAuthorization: keyAuth, Resolvers: []string{"127.0.0.1:1"}}
}

// ask runs certd-dns as a process with this environment alone.
func ask(t *testing.T, req any, env ...string) (a answer, stderr string) {
	t.Helper()
	input, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(env, "CERTD_DNS_TEST=1", "PATH="+os.Getenv("PATH"))
	cmd.Stdin = bytes.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if e := json.Unmarshal(out.Bytes(), &a); e != nil || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
		t.Fatalf("the answer to %s is not one line of JSON (%v): %.300q\n%.2000s", input, e, out.String(), errs.String())
	}
	if a.OK != (err == nil) {
		t.Errorf("the answer to %s says ok=%v, and the process ended with %v", input, a.OK, err)
	}
	return a, errs.String()
}

// script writes a program for lego's provider exec.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	syscall.ForkLock.RLock() // or a process being started keeps it open, and it cannot be executed
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o700); err != nil {
		t.Fatal(err)
	}
	return "EXEC_PATH=" + path
}

func TestExec(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	program := script(t, "echo \"$@\" >>"+log+"\n")
	for _, action := range []string{"present", "cleanup"} {
		if a, _ := ask(t, want(action, "exec"), program, "EXEC_SEQUENCE_INTERVAL=3"); !a.OK || !a.Sequential || a.Pause != 3 || a.Timeout != 60 {
			t.Errorf("%s by exec: got %+v, want ok, one name after the other with 3 seconds between, 60 seconds for the servers", action, a)
		}
	}
	got, _ := os.ReadFile(log)
	record := "_acme-challenge.example.com. " + value() + "\n"
	if string(got) != "present "+record+"cleanup "+record {
		t.Errorf("the program was called with %q", got)
	}
}

// The record may be any name: what the domain's is an alias for.
func TestDelegated(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	req := want("present", "exec")
	req.Name = "x7.acme.example.net"
	a, stderr := ask(t, req, script(t, "echo \"$@\" >>"+log+"\n"))
	got, _ := os.ReadFile(log)
	if !a.OK || string(got) != "present x7.acme.example.net. "+value()+"\n" {
		t.Errorf("a record of another name: got %+v, called with %q\n%s", a, got, stderr)
	}
}

func TestHTTPReq(t *testing.T) {
	t.Parallel()
	var calls []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls = append(calls, r.URL.Path+" "+strings.TrimSpace(string(body)))
	}))
	t.Cleanup(server.Close)
	for _, action := range []string{"present", "cleanup"} {
		if a, _ := ask(t, want(action, "httpreq"), "HTTPREQ_ENDPOINT="+server.URL); !a.OK || a.Sequential {
			t.Errorf("%s by httpreq: got %+v, want ok", action, a)
		}
	}
	body := fmt.Sprintf(`{"fqdn":"_acme-challenge.example.com.","value":%q}`, value())
	if !slices.Equal(calls, []string{"/present " + body, "/cleanup " + body}) {
		t.Errorf("the server got %q", calls)
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	other := want("present", "exec")
	other.Value = strings.Repeat("A", 43)
	odd := want("present", "exec")
	odd.Name = "a b"
	for _, c := range []struct {
		what     string
		req      any
		env      []string
		says     string
		variable string
	}{
		{"a variable is missing", want("present", "cloudflare"), nil, "CLOUDFLARE_DNS_API_TOKEN", "CLOUDFLARE_API_KEY,CLOUDFLARE_DNS_API_TOKEN,CLOUDFLARE_EMAIL,CLOUDFLARE_ZONE_API_TOKEN"},
		{"a variable is missing, only asked", want("describe", "rfc2136"), nil, "DNSUPDATE_NAMESERVER", "DNSUPDATE_NAMESERVER"},
		{"a provider that is none", want("present", "cloudflar"), nil, "did you mean cloudflare", ""},
		{"the value of another key authorization", other, nil, "not the SHA-256", ""},
		{"a name that is none", odd, nil, "is no domain name", ""},
		{"an action that is none", want("remove", "exec"), nil, "want present", ""},
		{"no JSON object", "x", nil, "no JSON document", ""},
		{"no variable named", want("describe", "gcloud"), nil, "project name missing; not set are GCE_PROJECT, GCE_SERVICE_ACCOUNT_FILE, GCE_SERVICE_ACCOUNT; certd-dns help gcloud", "GCE_PROJECT,GCE_SERVICE_ACCOUNT_FILE,GCE_SERVICE_ACCOUNT"},
		{"a provider that has shut down", want("describe", "cloudxns"), nil, "cloudxns: provider has shut down; certd-dns help", ""},
		{"a program that fails", want("present", "exec"), []string{script(t, "exit 3")}, "exit status 3", ""},
		{"a program that says why", want("cleanup", "exec"), []string{script(t, "echo hello\necho no such zone >&2\nexit 3")}, "exec: wait command: exit status 3: no such zone", ""},
		{"a program that is not there", want("present", "exec"), []string{"EXEC_PATH=/nonexistent"}, "no such file", ""},
	} {
		a, _ := ask(t, c.req, c.env...)
		if a.OK || !strings.Contains(a.Error, c.says) || a.Variable != c.variable {
			t.Errorf("%s: got %+v, want an error with %q that names the variable %q", c.what, a, c.says, c.variable)
		}
	}
}

// What no other try would change is told apart.
func TestMalformed(t *testing.T) {
	t.Parallel()
	for provider, want := range map[string]bool{"nosuch": true, "exec": false} {
		a, _ := ask(t, request{Action: "describe", Provider: provider})
		if a.OK || a.Malformed != want {
			t.Errorf("the provider %s: got %+v, want malformed %v", provider, a, want)
		}
	}
}

// Credentials are not in errors, as they are or in a URL, from a variable or a file.
func TestErrorsHideCredentials(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("se/cret+of+file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, env := range map[string]string{"a variable": "DUCKDNS_TOKEN=se/cret+value", "a file": "DUCKDNS_TOKEN_FILE=" + file} {
		a, _ := ask(t, want("present", "duckdns"), env, "HTTPS_PROXY=http://127.0.0.1:1")
		if a.OK || strings.Contains(a.Error, "cret") || !strings.Contains(a.Error, "token=***") {
			t.Errorf("the token of %s: got %+v, want an error without it", what, a)
		}
	}
}

// What a provider prints is not the answer, however much it is.
func TestPrints(t *testing.T) {
	t.Parallel()
	a, stderr := ask(t, want("present", "exec"), script(t, `echo '{"ok":false}'; i=0; while [ $i -lt 40000 ]; do echo 'a line of sixty-four bytes, again and again and again and again..'; i=$((i+1)); done`))
	if !a.OK || len(stderr) < 2<<20 {
		t.Errorf("a provider that prints: got %+v and %d bytes on stderr, want ok and all of it", a, len(stderr))
	}
}

// The answer comes in time, though a provider hangs; what it does late is undone.
func TestBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what    string
		worker  fake
		gone    bool
		says    string
		perhaps bool // the record may be there
		cleaned int
	}{
		{"in time", fake{takes: time.Second}, false, "", false, 0},
		{"late", fake{takes: 12 * time.Second}, false, "took more than 10s; the record was removed again", false, 1},
		{"nobody waits", fake{takes: 5 * time.Second}, true, "nobody waits; the record was removed again", false, 1},
		{"late, and cannot be undone", fake{takes: 12 * time.Second, broken: true}, false, "could not be removed again: exec: no", true, 1},
		{"for ever", fake{takes: 24 * time.Hour}, false, "still hangs", true, 0},
		{"panics", fake{panics: true}, false, "panicked: of its own", true, 0},
		{"refused", fake{fails: errors.New("403")}, false, "exec: 403", false, 0},
		{"not answered", fake{fails: fmt.Errorf("post: %w", context.DeadlineExceeded)}, false, "deadline exceeded", true, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			gone := make(chan string, 1)
			if c.gone {
				gone <- "nobody waits"
			}
			start := time.Now()
			slow := c.worker
			slow.stop = make(chan struct{})
			defer close(slow.stop)
			a := bounded(want("present", "exec"), func(request) (worker, error) { return &slow, nil }, 10*time.Second, gone)
			if a.OK != (c.says == "") || !strings.Contains(a.Error, c.says) || slow.cleaned != c.cleaned || a.Perhaps != c.perhaps {
				t.Errorf("a provider that is %s: got %+v and %d clean-ups, want %q, perhaps %v, and %d", c.what, a, slow.cleaned, c.says, c.perhaps, c.cleaned)
			}
			if took := time.Since(start); took > 10*time.Second+2*grace {
				t.Errorf("a provider that is %s: the answer took %v", c.what, took)
			}
		})
	}
}

// A fake provider takes its time.
type fake struct {
	takes   time.Duration
	panics  bool
	fails   error
	broken  bool
	cleaned int
	stop    chan struct{}
}

func (f *fake) do() (answer, error) {
	if f.panics {
		panic("of its own")
	}
	select {
	case <-time.After(f.takes):
	case <-f.stop:
	}
	return answer{OK: f.fails == nil}, f.fails
}

func (f *fake) cleanUp() error {
	f.cleaned++
	if f.broken {
		return errors.New("no")
	}
	return nil
}

// A request that certd does not wait for any more leaves no record.
func TestWatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := script(t, "echo $1 >>"+dir+"/log; [ $1 = cleanup ] || sleep 1\n")
	req := want("present", "exec")
	req.Watch = true // and stdin ends right after the request
	a, _ := ask(t, req, program)
	got, _ := os.ReadFile(dir + "/log")
	if a.OK || string(got) != "present\ncleanup\n" {
		t.Errorf("when nobody waits any more: got %+v and the calls %q, want an error, present and cleanup", a, got)
	}
}

// The same when certd was killed: nobody reads what the provider logs, and nobody
// ends what it has started.
func TestKilledCertd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := script(t, "echo $1 >>"+dir+"/log; [ $1 = cleanup ] && exit; sleep 600 >/dev/null 2>&1 & echo $! >"+dir+"/pid; sleep 1; echo done\n")
	req := want("present", "exec")
	req.Watch = true
	input, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	nobody, broken, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	defer broken.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = []string{program, "CERTD_DNS_TEST=1", "PATH=" + os.Getenv("PATH")}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), broken, broken
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	_ = cmd.Run() // it ends itself and its children
	if got, _ := os.ReadFile(dir + "/log"); string(got) != "present\ncleanup\n" {
		t.Errorf("after certd was killed the program was called with %q, want present and cleanup", got)
	}
	pid, _ := os.ReadFile(dir + "/pid")
	for range 6000 {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %s, which the provider has started, is still there", pid)
}

// The lock that certd-dns gets is its own: what a provider starts does not have it.
func TestLockIsNotInherited(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	input, err := json.Marshal(want("present", "exec"))
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = []string{script(t, "ls -l /proc/$$/fd/ >"+dir+"/open\n"), "CERTD_DNS_TEST=1", "PATH=" + os.Getenv("PATH")}
	cmd.Stdin, cmd.ExtraFiles = bytes.NewReader(input), []*os.File{file}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got, err := os.ReadFile(dir + "/open"); err != nil || strings.Contains(string(got), file.Name()) {
		t.Errorf("the provider's program has open (%v):\n%s", err, got)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(`{"action":"present","provider":"exec","domain":"example.com","name":"_acme-challenge.example.com","value":"x","key_authorization":"a.b"}`)
	f.Add(`{"action":"describe","provider":"exec","timeout_seconds":-1,"resolvers":["x"]}`)
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, text string) {
		req, err := readRequest(strings.NewReader(text))
		if limit := req.timeout(); err == nil && (limit <= 0 || limit > maxTimeout) {
			t.Errorf("%q: a time limit of %v", text, limit)
		}
	})
}
