package issue

import (
	"context"
	"crypto/elliptic"
	"strings"
	"sync/atomic"
	"testing"

	"certd/acme"
	"certd/acme/acmetest"
)

// newScripted starts a scripted CA with an account.
func newScripted(t *testing.T, o acmetest.FaultyOptions) *bench {
	t.Helper()
	ca, err := acmetest.NewFaulty(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ca.Close() })
	b := &bench{t: t, ca: ca, account: ecKey(t, elliptic.P256()), solver: newSolver(), disk: newDisk()}
	b.register()
	return b
}

// A challenge that failed and is pending again is answered once more; then the
// run ends with the CA's words, and the next one goes on with the order.
func TestChallengeThatIsPendingAgain(t *testing.T) {
	t.Parallel()
	for _, failures := range []int64{1, 3} {
		var seen atomic.Int64
		b := newScripted(t, acmetest.FaultyOptions{
			PendingAgain: true,
			Validate: func(context.Context, acme.Identifier, string, string, string) error {
				if seen.Add(1) <= failures {
					return &acme.Problem{Type: "connection", Detail: "nobody is there"}
				}
				return nil
			},
		})
		req := b.request("a.example.com")
		if failures > 1 {
			err := b.fail(b.issuer(), t.Context(), req, acme.ClassName)
			if n := b.count("challenge"); n != 2 || !strings.Contains(err.Error(), "a.example.com: connection (403): nobody is there") {
				t.Errorf("after %d answers the error is %v, want two answers and the CA's words", n, err)
			}
			if _, kept := b.disk.open(); !kept {
				t.Fatal("the order is not journaled, though it can go on")
			}
		}
		b.goOn(req, 0)
		if n := b.count("challenge"); int64(n) != failures+1 {
			t.Errorf("%d answers for %d failures", n, failures)
		}
	}
}
