package daemon_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/daemon"
)

func keysOf(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir + "/keys")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestFailuresLeaveNoKeys: a key is made once the CA is ready for it, and one that
// is to be used again is not made at all.
func TestFailuresLeaveNoKeys(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"", "request: {key: reuse}\n", "request: {key: {type: rsa}}\n"} {
		staged := 0
		if target == "request: {key: reuse}\n" {
			staged = 1
		}
		dir := t.TempDir()
		var verdict error = &acme.Problem{Type: "unauthorized", Detail: "not here"}
		ca := boulder(t, func() error { return verdict })
		configureFault(t, dir, ca)
		write(t, dir+"/desired/"+faultName, target)
		for range 3 {
			if res := pass(t, dir, daemon.Options{Force: true}).Results[0]; res.Outcome != daemon.Failed {
				t.Errorf("%q: %s, want failed", target, res.Outcome)
			}
		}
		if n := keysOf(t, dir); n != staged {
			t.Errorf("%q: three failures leave %d keys, want %d", target, n, staged)
		}
		verdict = nil
		pass(t, dir, daemon.Options{Force: true})
		want := 1
		if staged == 1 {
			want = 2 // the first certificate took the one that was ready, and another one is
		}
		if n := keysOf(t, dir); n != want {
			t.Errorf("%q: after a success there are %d keys, want %d", target, n, want)
		}
	}
}

// TestKeyOutlivesFinalize: an order that is cut off after its key was made goes on
// with that key, so that no second one is left.
func TestKeyOutlivesFinalize(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), acmetest.StartFaulty(t, acmetest.Respond("finalize", 503, nil, "").Nth(1))
	configureFault(t, dir, ca)
	if res := pass(t, dir, daemon.Options{}).Results[0]; res.Outcome != daemon.Failed {
		t.Fatalf("%s, want failed", res.Outcome)
	}
	if res := pass(t, dir, daemon.Options{Force: true}).Results[0]; res.Outcome != daemon.Issued {
		t.Fatalf("%s, %v, want issued", res.Outcome, res.Err)
	}
	if n := keysOf(t, dir); n != 1 {
		t.Errorf("%d keys, want the one", n)
	}
}

// TestCompromisedKeyIsNotUsed again, though request.key.id says so.
func TestCompromisedKeyIsNotUsed(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), acmetest.StartFaulty(t)
	configureFault(t, dir, ca)
	issued(t, dir, ca, "before")
	view := look(t, dir)
	id := view.Snapshot.Certificates[view.Snapshot.Live[faultName]].KeyID
	write(t, dir+"/desired/"+faultName, fmt.Sprintf("request: {key: {id: %s}}\n", id))
	if _, _, err := revoke(t, dir, acme.ReasonKeyCompromise); err != nil {
		t.Fatal(err)
	}
	res := pass(t, dir, daemon.Options{}).Results[0]
	problem, ok := errors.AsType[*acme.Problem](res.Err)
	if res.Outcome != daemon.Failed || !ok || problem.Class != acme.ClassOperator {
		t.Errorf("%s, %v; want it refused, for the operator", res.Outcome, res.Err)
	}
}
