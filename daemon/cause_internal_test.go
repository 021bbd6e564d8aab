package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"testing"
	"time"

	"certd/acme"
	"certd/challenge"
	"certd/config"
	"certd/state"
)

// TestCauseOf: every failure has one of the words of the label "cause".
func TestCauseOf(t *testing.T) {
	t.Parallel()
	problem := func(typ string) error { return &acme.Problem{Type: typ, Class: acme.ClassName} }
	around := func(err error) error { return fmt.Errorf("x: %w", &acme.Problem{Class: acme.ClassTransient, Err: err}) }
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", errors.New("refused"))}
	for _, tt := range []struct {
		what, phase, want string
		err               error
	}{
		{"a CA's dns", "validate", "dns", problem("dns")},
		{"a CA's connection", "validate", "connect", problem("connection")},
		{"a CA's tls", "validate", "connect", problem("tls")},
		{"a CA's caa", "validate", "caa", problem("caa")},
		{"a wrong answer", "validate", "unauthorized", problem("incorrectResponse")},
		{"a rate limit", "order", "rate_limited", problem("rateLimited")},
		{"a wait without a type", "order", "rate_limited", &acme.Problem{Class: acme.ClassWait, Status: 503}},
		{"5xx", "order", "ca_internal", &acme.Problem{Class: acme.ClassTransient, Status: 502}},
		{"a refused CSR", "finalize", "csr", problem("badCSR")},
		{"a refused key", "finalize", "key", problem("badPublicKey")},
		{"a name that is not served", "order", "other", problem("rejectedIdentifier")},
		{"a refused connection", "order", "connect", around(refused)},
		{"no such host", "order", "dns", around(&net.DNSError{Name: "ca.example"})},
		{"no address in the self-test", "propagate", "dns", around(challenge.ErrNoAddress)},
		{"a failed self-test", "propagate", "connect", around(errors.New("status 404"))},
		{"a deadline", "order", "timeout", around(context.DeadlineExceeded)},
		{"no hook", "present", "hook", around(challenge.ErrUnhandled)},
		{"a full disk", "order", "store", &fs.PathError{Op: "write", Err: errors.New("no space")}},
		{"no lock", "order", "store", state.ErrNotLocked},
		{"whatever when it is installed", "install", "store", errors.New("x")},
		{"an expired certificate of the CA", "order", "clock", around(x509.CertificateInvalidError{Reason: x509.Expired})},
		{"anything else", "", "other", errors.New("x")},
	} {
		if got := causeOf(tt.err, tt.phase); got != tt.want {
			t.Errorf("%s has the cause %q, want %q", tt.what, got, tt.want)
		}
	}
}

// TestInterval: the longest time between two ticks; none is zero.
func TestInterval(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for schedule, want := range map[string]time.Duration{"@every 6h": 6 * time.Hour, "@daily": 24 * time.Hour, "0 3,7 * * *": 20 * time.Hour,
		"0 0 30 2 *": 0, "nonsense": 0, "": 0} {
		if got := interval(schedule, now); got != want {
			t.Errorf("the interval of %q is %v, want %v", schedule, got, want)
		}
	}
}

// TestTargetStates: a target with several names counts as the worst of them.
func TestTargetStates(t *testing.T) {
	t.Parallel()
	v := &View{Targets: &config.Targets{Targets: []*config.Target{{File: "a"}, {File: "b"}, {File: "c"}}, Unread: map[string]bool{"d": true}}}
	got := v.targetStates([]NameStatus{{Target: "a", State: Ready}, {Target: "a", State: Missing}, {Target: "a", State: Due},
		{Target: "b", State: Due}, {Target: "", State: Expired}})
	for file, want := range map[string]State{"a": Missing, "b": Due, "c": Ready, "d": Failing} {
		if got[file] != want {
			t.Errorf("target %s is %s, want %s", file, got[file], want)
		}
	}
}
