package daemon_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"certd/acme/acmetest"
	"certd/challenge"
	"certd/daemon"
	"certd/state"
)

// TestPassBesideDaemon: where the daemon has the port at which the CA looks, a
// pass of another process proves its names all the same, by each method that
// would open the port.
func TestPassBesideDaemon(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	dir, webroot := t.TempDir(), t.TempDir()
	configureCAs(t, dir, []caEntry{{"pebble", ca, ""}})
	write(t, filepath.Join(dir, "conf", "certd.yaml"), fmt.Sprintf(
		"cas: [{name: pebble, directory: %q, ca-bundle: %q}]\nchallenge: {http-port: %d, tls-port: 1, proxy-port: %[3]d, resolver: %q}\nlisten: \"\"\nresponder: 127.0.0.1:%[3]d\n",
		ca.URL(), bundleOf(t, ca), ca.HTTPPort(), ca.Resolver()))
	write(t, filepath.Join(dir, "conf", "target"), "")
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.RunOptions{Options: daemon.Options{Store: store, Webroot: webroot}})
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the daemon: %v", err)
		}
	}()
	awaitAnswer(t, ca.HTTPPort())
	for _, method := range []string{challenge.MethodListen, challenge.MethodProxy, challenge.MethodRedirector, challenge.MethodAny} {
		name := "any" + method + ".example.test"
		write(t, filepath.Join(dir, "desired", name), fmt.Sprintf("request: {challenge: {method: %q}}\n", method))
		report := pass(t, dir, daemon.Options{Targets: []string{name}, Webroot: "/proc/none", LockWait: time.Minute})
		for _, res := range report.Results { // unchanged if the daemon was faster
			if res.Outcome != daemon.Issued && res.Outcome != daemon.Unchanged {
				t.Errorf("method %q beside the daemon: %s, %v; want issued", method, res.Outcome, res.Err)
			}
		}
	}
}

// bundleOf is a file with the roots of a CA.
func bundleOf(t testing.TB, ca *acmetest.CA) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	write(t, path, string(ca.RootsPEM()))
	return path
}

// awaitAnswer waits until something answers on a port.
func awaitAnswer(t testing.TB, port int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", port), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("nothing answers on port %d: %v", port, err)
		}
	}
}
