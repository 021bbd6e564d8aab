package e2e

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"certd/acme/acmetest"
)

// TestHundredTargetsAndThenNothing issues 100 targets in one reconcile at a CA
// that rejects 30 % of all good nonces; the second reconcile asks the CA nothing
// and changes nothing on disk.
func TestHundredTargetsAndThenNothing(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{NonceReject: 30})
	s := pebbleSite(t, ca)
	for i := range 100 {
		s.write(fmt.Sprintf("acme/desired/host%d.example.test", i), "")
	}
	rows := s.rows(0, "reconcile")
	if len(rows) != 100 {
		t.Fatalf("reconcile reported %d targets, want 100", len(rows))
	}
	for _, row := range rows {
		if row["outcome"] != "issued" {
			t.Errorf("%v: outcome %v: %v", row["target"], row["outcome"], row["error"])
		}
		s.leaf(row["target"].(string))
	}

	ca.ResetRequests()
	before := snapshot(t, s.state)
	for _, row := range s.rows(0, "reconcile", "--detailed-exit-code") {
		if row["outcome"] != "unchanged" {
			t.Errorf("%v: outcome %v of a second reconcile, want unchanged", row["target"], row["outcome"])
		}
	}
	if n := len(ca.Requests()); n != 0 {
		t.Errorf("the second reconcile sent %d requests to the CA: %v", n, ca.Requests())
	}
	compareSnapshots(t, before, snapshot(t, s.state))
}

// TestRequestsPerIssuance counts what certificates cost at the CA: for each the
// minimum of RFC 8555, the directory once for the whole run, a nonce only where
// no answer has brought one yet, and no request twice without need.
func TestRequestsPerIssuance(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	s := pebbleSite(t, ca)
	s.must(0, "want", "first.example.test")
	ca.ResetRequests()
	const n = 5
	for i := range n {
		s.write(fmt.Sprintf("acme/desired/host%d.example.test", i), "")
	}
	s.write("acme/conf/certd.yaml", s.read("acme/conf/certd.yaml")+"parallel: 1\n")
	s.must(0, "reconcile")
	requests := ca.Requests()
	for _, tt := range []struct {
		operation   string
		least, most int
	}{
		{"directory", 1, 1}, {"nonce", 1, 1}, {"account", 0, 0}, {"order", n, n}, {"challenge", n, n}, {"finalize", n, n}, {"cert", n, n},
		{"authz", 2 * n, 10 * n}, // once to read it, then polls until Pebble has validated
		{"order-poll", 0, 8 * n}, // until Pebble has issued
	} {
		if got := acmetest.Count(requests, tt.operation); got < tt.least || got > tt.most {
			t.Errorf("%d certificates took %d requests of kind %s, want %d to %d", n, got, tt.operation, tt.least, tt.most)
		}
	}
}

// snapshot maps every path below dir to what would change with a write: its
// type, mode, content or link, and modification time.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := fmt.Sprintf("%v %v", info.Mode(), info.ModTime())
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			what += " -> " + to
		case d.Type().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %x", sha256.Sum256(data))
		}
		rel, err := filepath.Rel(dir, path)
		out[rel] = what
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func compareSnapshots(t testing.TB, before, after map[string]string) {
	t.Helper()
	for path, was := range before {
		if now, ok := after[path]; !ok {
			t.Errorf("%s is gone", path)
		} else if now != was {
			t.Errorf("%s changed from %s to %s", path, was, now)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			t.Errorf("%s is new", path)
		}
	}
}
