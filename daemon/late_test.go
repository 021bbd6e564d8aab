package daemon_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
	"time"

	"certd/acme/acmetest"
	"certd/challenge"
	"certd/daemon"
)

// The daemon goes on answering for a while after a pass; a run of its own leaves no
// port open.
func TestAnswersOutliveAPassOfTheDaemon(t *testing.T) {
	t.Parallel()
	for _, lasting := range []bool{true, false} {
		ca, dir := acmetest.StartT(t, acmetest.Options{AlwaysValid: true}), t.TempDir()
		configureCAs(t, dir, []caEntry{{"pebble", ca, ""}})
		// An address that no other test has: its port is free again once it is closed.
		ln, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250)))
		if err != nil {
			t.Fatal(err)
		}
		addr := ln.Addr().String()
		write(t, filepath.Join(dir, "desired", faultName), fmt.Sprintf("request: {challenge: {method: listen, http-ports: [%q]}}\n", addr))
		o := daemon.Options{}
		if lasting {
			o.Responder, o.ALPN = challenge.NewResponder(), challenge.NewALPNResponder()
			o.Responder.Linger = time.Hour
			defer o.Responder.Close()
			defer o.ALPN.Close()
		}
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		if report := pass(t, dir, o); report.Failed() {
			t.Fatalf("%+v", report.Results)
		}
		open := dials(addr)
		if lasting {
			open = len(o.Responder.Addrs()) > 0
			o.Responder.Hush()
			if left := o.Responder.Addrs(); len(left) > 0 {
				t.Errorf("still open: %q", left)
			}
		}
		if open != lasting {
			t.Errorf("with a responder that lasts (%t) its port is open after the pass: %t", lasting, open)
		}
	}
}

func dials(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}
