package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"certd/acme/acmetest"
)

// TestMain lets the scripts run this package's certd as a process of its own.
func TestMain(m *testing.M) {
	syscall.Umask(0o022) // other users look at what some tests write
	testscript.Main(m, map[string]func(){"certd": main})
}

// TestScripts runs every command as a person would. The command "ca" starts a
// test CA for the script and writes the conf/certd.yaml that points to it.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("CERTD_STATE_DIR", filepath.Join(env.WorkDir, "acme"))
			env.Setenv("ACME_HOOKS_DIR", filepath.Join(env.WorkDir, "hooks"))
			return os.Mkdir(filepath.Join(env.WorkDir, "hooks"), 0o755)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"ca":       cmdCA,
			"requests": cmdRequests,
			"contains": cmdContains,
			"reset":    cmdReset,
		},
		UpdateScripts: os.Getenv("UPDATE") != "",
	})
}

// cmdCA starts a CA: ca [profile=validity...] [blocked=name...] [paused=URL] [orders=LIMIT]
// With paused it has paused every name, and LIMIT is such as 2/1h.
func cmdCA(ts *testscript.TestScript, _ bool, args []string) {
	options, limits := acmetest.Options{Profiles: map[string]time.Duration{}}, ""
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		if key == "blocked" {
			options.Blocklist = append(options.Blocklist, value)
			continue
		}
		if key == "paused" {
			options.Wrap = pausing(value)
			continue
		}
		if key == "orders" {
			burst, window, _ := strings.Cut(value, "/")
			limits = fmt.Sprintf(", limits: [{name: orders, per: account, burst: %s, window: %s}]", burst, window)
			continue
		}
		validity, err := time.ParseDuration(value)
		ts.Check(err)
		options.Profiles[key] = validity
	}
	if len(options.Profiles) == 0 {
		options.Profiles = nil
	}
	ca, err := acmetest.Start(options)
	ts.Check(err)
	ts.Defer(func() { ts.Check(ca.Close()) })
	bundle := ts.MkAbs("ca.pem")
	ts.Check(os.WriteFile(bundle, ca.RootsPEM(), 0o644))
	conf := filepath.Join(ts.Getenv("CERTD_STATE_DIR"), "conf")
	ts.Check(os.MkdirAll(conf, 0o755))
	settings := fmt.Sprintf("cas:\n  - {name: testca, directory: %q, ca-bundle: %q%s}\nchallenge: {http-port: %d, resolver: %q}\n",
		ca.URL(), bundle, limits, ca.HTTPPort(), ca.Resolver())
	ts.Check(os.WriteFile(filepath.Join(conf, "certd.yaml"), []byte(settings), 0o644))
	ts.Check(os.WriteFile(filepath.Join(conf, "target"), []byte("request: {challenge: {method: listen}}\n"), 0o644))
	ts.Setenv("CA_URL", ca.URL())
	running.put(ts.Getenv("WORK"), ca)
	ts.Defer(func() { running.remove(ts.Getenv("WORK")) })
}

// pausing is a CA that has paused every name, which url undoes.
func pausing(url string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/order-plz" {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprintf(w, `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"Your account is temporarily prevented from requesting certificates for www.example.test and possibly others. Please visit: %s"}`, url)
		})
	}
}

// cmdRequests checks how many requests reached the CA: requests N [operation...]
func cmdRequests(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	requests := running.get(ts.Getenv("WORK")).Requests()
	got := len(requests)
	if len(args) > 1 {
		got = acmetest.Count(requests, args[1:]...)
	}
	if (got == want) == neg {
		ts.Fatalf("the CA saw %d requests %v, want %d (negated: %t): %v", got, args[1:], want, neg, requests)
	}
}

// cmdReset forgets the requests so far.
func cmdReset(ts *testscript.TestScript, _ bool, _ []string) {
	running.get(ts.Getenv("WORK")).ResetRequests()
}

// cmdContains checks that a file contains a text: contains FILE TEXT
func cmdContains(ts *testscript.TestScript, neg bool, args []string) {
	if strings.Contains(ts.ReadFile(args[0]), args[1]) == neg {
		ts.Fatalf("%s: contains %q is %t:\n%s", args[0], args[1], neg, ts.ReadFile(args[0]))
	}
}

// TestExitCodes keeps the mapping of errors to exit codes in one glance.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args string
		want int
	}{
		{"version", exitOK},
		{"--help", exitOK},
		{"nonsense", exitUsage},
		{"want", exitUsage},
		{"want ../x", exitUsage},
		{"want --nonsense www.example.com", exitUsage},
		{"reconcile -o yaml", exitUsage},
		{"reconcile nobody.example.com", exitUsage},
		{"--log-level loud plan", exitUsage},
		{"--response-file /nonexistent/file reconcile", exitConfig},
		{"hooks", exitUsage},
		{"cull extra", exitUsage},
		{"--hooks= hooks list", exitUsage},
		{"--response-file= reconcile", exitUsage},
		{"help nosuch", exitUsage},
		{"help", exitOK},
		{"completion tcsh", exitUsage},
		{"completion", exitUsage},
		{"--version", exitOK},
		{"--version extra", exitUsage},
		{"stauts", exitUsage},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			var out, errs strings.Builder
			args := append([]string{"--state", t.TempDir(), "--hooks", t.TempDir()}, strings.Fields(tt.args)...)
			got := run(context.Background(), args, streams{in: strings.NewReader(""), out: &out, err: &errs})
			if got != tt.want {
				t.Errorf("certd %s: exit %d, want %d; it said %q", tt.args, got, tt.want, errs.String())
			}
		})
	}
}
