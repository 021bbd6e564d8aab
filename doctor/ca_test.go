package doctor

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"certd/challenge"
	"certd/config"
)

// TestUnreachable: a CA's certificate outside its time is first a doubt about
// this clock.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		x509.CertificateInvalidError{Reason: x509.Expired}: "clock",
		x509.UnknownAuthorityError{}:                       "ca-bundle",
		syscall.ECONNREFUSED:                               "firewall",
	} {
		if got := unreachable(fmt.Errorf("letsencrypt: directory: %w", err)); !strings.Contains(got, want) {
			t.Errorf("%v: %q, want %q in it", err, got, want)
		}
	}
}

// TestJudgePresent: a port of the daemon is no failure, one of others is.
func TestJudgePresent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		holder string
		err    error
		want   Result
		text   string
	}{
		{"certd (process 7)", syscall.EADDRINUSE, Warning, "certd (process 7)"},
		{"nginx (process 7)", syscall.EADDRINUSE, Failure, "nginx (process 7)"},
		{"", syscall.EADDRINUSE, Failure, "may not see"},
		{"", syscall.EACCES, Failure, "rights"},
		{"", errors.New("no such directory"), Failure, "docs/challenges.md"},
	} {
		r := &run{settings: &config.Settings{}, holders: challenge.Holders{80: tt.holder}}
		result, detail, remedy := r.judgePresent(fmt.Errorf("present: %w", tt.err))
		if result != tt.want || !strings.Contains(detail+remedy, tt.text) {
			t.Errorf("%v while %q has the port: %s, %q, %q; want %s, %q", tt.err, tt.holder, result, detail, remedy, tt.want, tt.text)
		}
	}
}
