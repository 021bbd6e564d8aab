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

// TestRequestsPerIssuance counts what one more certificate costs at the CA: the
// minimum of RFC 8555, and the directory and nonce once for the whole run.
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
	s.must(0, "reconcile")
	requests := ca.Requests()
	for _, tt := range []struct {
		operation string
		want      int
	}{
		{"directory", 1}, {"account", 0}, {"order", n}, {"challenge", n}, {"finalize", n}, {"cert", n},
	} {
		if got := acmetest.Count(requests, tt.operation); got != tt.want {
			t.Errorf("%d certificates took %d requests of kind %s, want %d", n, got, tt.operation, tt.want)
		}
	}
	if got := acmetest.Count(requests, "nonce"); got > 8 {
		t.Errorf("%d nonces were fetched for %d certificates, want at most one for each order open at once", got, n)
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
