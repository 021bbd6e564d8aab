package daemon_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"certd/acme/acmetest"
	"certd/daemon"
	"certd/limit"
)

// chainOf returns the certificates of a PEM file.
func chainOf(t testing.TB, path string) []*x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parseAll(t, data)
}

func parseAll(t testing.TB, data []byte) []*x509.Certificate {
	t.Helper()
	var certs []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, c)
	}
	return certs
}

// TestTwoPebbles: the first wants an external account binding that is not
// configured, the second one that is. The target's profile is asked for where the
// certificate comes from.
func TestTwoPebbles(t *testing.T) {
	t.Parallel()
	const mac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	profiles := map[string]time.Duration{"short": 6 * 24 * time.Hour, "long": 90 * 24 * time.Hour}
	first := acmetest.StartT(t, acmetest.Options{AlwaysValid: true, RequireEAB: map[string]string{"kid-1": mac}})
	second := acmetest.StartT(t, acmetest.Options{AlwaysValid: true, RequireEAB: map[string]string{"kid-2": mac}, Profiles: profiles})
	dir, hmac := t.TempDir(), filepath.Join(t.TempDir(), "hmac")
	if err := os.WriteFile(hmac, []byte(mac), 0o600); err != nil {
		t.Fatal(err)
	}
	configureCAs(t, dir, []caEntry{{"first", first, ""}, {"second", second, fmt.Sprintf(", eab: {kid: kid-2, hmac-file: %q}", hmac)}}, faultName)
	write(t, filepath.Join(dir, "desired", faultName), "request: {profile: short}\n")
	if res := pass(t, dir, daemon.Options{}).Results[0]; res.Outcome != daemon.Issued {
		t.Fatalf("%s, %v; want a certificate of the second CA", res.Outcome, res.Err)
	}
	view := look(t, dir)
	cert := view.Snapshot.Certificates[view.Snapshot.Live[faultName]]
	if cert.Directory != second.URL() || cert.Profile != "short" || cert.NotAfter.Sub(cert.NotBefore) > 7*24*time.Hour {
		t.Errorf("the certificate is of %s, profile %q, for %v; want a short one of %s", cert.Directory, cert.Profile, cert.NotAfter.Sub(cert.NotBefore), second.URL())
	}
	if n := acmetest.Count(first.Requests(), "account", "order"); n > 0 {
		t.Errorf("%d requests for an account that the first CA could not have given", n)
	}
}

// TestPreferredChains: with three intermediates and two more roots, the chain that
// is asked for is the one published; one that is not there costs a warning.
func TestPreferredChains(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{AlwaysValid: true, AlternateRoots: 2, ChainLength: 3})
	roots := parseAll(t, ca.IssuerRootsPEM())
	sum := sha256.Sum256(roots[2].Raw)
	for _, tt := range []struct {
		name, wish, top string // top is the common name of the topmost issuer
		warning         bool
	}{
		{"nothing", "", roots[0].Subject.CommonName, false},
		{"a common name", roots[1].Subject.CommonName, roots[1].Subject.CommonName, false},
		{"a fingerprint of a root in ca-bundle", hex.EncodeToString(sum[:]), roots[2].Subject.CommonName, false},
		{"the smallest", "smallest", "", false},
		{"one that does not exist", "No Such Root", roots[0].Subject.CommonName, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir, bundle := t.TempDir(), filepath.Join(t.TempDir(), "ca.pem")
			configureFault(t, dir, ca)
			write(t, bundle, string(ca.RootsPEM())+string(ca.IssuerRootsPEM()))
			write(t, filepath.Join(dir, "conf", "certd.yaml"), fmt.Sprintf("cas: [{name: pebble, directory: %q, ca-bundle: %q}]\n", ca.URL(), bundle))
			write(t, filepath.Join(dir, "desired", faultName), fmt.Sprintf("request: {preferred-chain: %q}\n", tt.wish))
			var log bytes.Buffer
			report := pass(t, dir, daemon.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			if report.Failed() {
				t.Fatalf("not issued: %+v", report.Results)
			}
			chain := chainOf(t, filepath.Join(dir, "live", faultName, "fullchain"))
			if top := chain[len(chain)-1].Issuer.CommonName; len(chain) != 4 || tt.top != "" && top != tt.top {
				t.Errorf("%d certificates that lead to %q, want 4 and %q", len(chain), top, tt.top)
			}
			if warned := strings.Contains(log.String(), "preferred chain not available"); warned != tt.warning {
				t.Errorf("a warning: %t, want %t; log:\n%s", warned, tt.warning, log.String())
			}
		})
	}
}

// TestLostAnswersOfTwoCAs: an order whose answer one CA did not deliver is looked
// for there later, also if another CA was asked since.
func TestLostAnswersOfTwoCAs(t *testing.T) {
	t.Parallel()
	lost, ok := acmetest.FaultNamed("reset/header/order")
	if !ok {
		t.Fatal("no such fault")
	}
	first, second, dir := acmetest.StartFaulty(t, lost.Nth(1)), acmetest.StartFaulty(t, orderProblem(500, "serverInternal")), t.TempDir()
	configureCAs(t, dir, []caEntry{{"first", first, ""}, {"second", second, ""}}, faultName)
	if res := pass(t, dir, daemon.Options{}).Results[0]; res.Outcome != daemon.Failed {
		t.Fatalf("%s, want both CAs to fail", res.Outcome)
	}
	at := look(t, dir).Snapshot.Attempts[faultName]
	if at.Intent(first.URL()) == nil || at.Intent(second.URL()) == nil {
		t.Fatalf("the attempt kept is %+v, want an intent at each CA", at)
	}
	if res := pass(t, dir, daemon.Options{Force: true}).Results[0]; res.Outcome != daemon.Issued {
		t.Fatalf("%s, %v; want the first CA's order to be found and finished", res.Outcome, res.Err)
	}
	if n := acmetest.Count(first.Requests(), "order"); n != 1 {
		t.Errorf("%d newOrder requests to the first CA, want the one whose answer was lost", n)
	}
	if at := look(t, dir).Snapshot.Attempts[faultName]; at.Ordering != nil && at.Intent(first.URL()) != nil || len(at.Elsewhere) > 0 {
		t.Errorf("after the success: %+v, want no intent at the first CA", at)
	}
}

// TestRateLimitInAllForms: the time that a CA names with a rate limit is kept, within
// a day, in whatever form it comes, and heeded by later runs; also by ones that
// know nothing of the attempt any more.
func TestRateLimitInAllForms(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, header string
		wait         time.Duration
	}{
		{"seconds", "120", 2 * time.Minute},
		{"a date", time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat), 2 * time.Hour},
		{"more than a day", "2592000", 24 * time.Hour},
		{"an absurd number", "99999999999999999999999", 24 * time.Hour},
		{"an absurd date", "Fri, 31 Dec 9999 23:59:59 GMT", 24 * time.Hour},
		{"words", "in a while", time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ca, dir := acmetest.StartFaulty(t, rateLimit(tt.header)), t.TempDir()
			configureFault(t, dir, ca)
			pass(t, dir, daemon.Options{})
			if wait := time.Until(look(t, dir).Snapshot.Attempts[faultName].NextAttempt); wait < tt.wait*9/10-time.Minute || wait > tt.wait*11/10+time.Minute {
				t.Errorf("the next attempt is in %v, want about %v", wait, tt.wait)
			}
			if err := os.Remove(filepath.Join(dir, "attempts", faultName+".json")); err != nil {
				t.Fatal(err)
			}
			ca.ResetRequests()
			res := pass(t, dir, daemon.Options{Force: true}).Results[0]
			if res.Outcome != daemon.Waiting || len(ca.Requests()) > 0 || res.Action.Limit != limit.RateLimited {
				t.Errorf("%s because of %q, %d requests; want to wait for the CA", res.Outcome, res.Action.Limit, len(ca.Requests()))
			}
		})
	}
}

// TestRateLimitWithoutTime: a CA that limits requests and does not say for how
// long is asked again before a certificate of minutes expires.
func TestRateLimitWithoutTime(t *testing.T) {
	t.Parallel()
	var orders atomic.Int32
	limited := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/order-plz" && orders.Add(1) == 2 {
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(http.StatusTooManyRequests)
				_, _ = w.Write([]byte(`{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many"}`))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	ca, dir := acmetest.StartT(t, acmetest.Options{AlwaysValid: true, Profiles: map[string]time.Duration{"short": 10 * time.Minute}, Wrap: limited}), t.TempDir()
	configureFault(t, dir, ca)
	if res := pass(t, dir, daemon.Options{}).Results[0]; res.Outcome != daemon.Issued {
		t.Fatalf("%s, %v; want issued", res.Outcome, res.Err)
	}
	if res := pass(t, dir, daemon.Options{Force: true}).Results[0]; res.Outcome != daemon.Failed {
		t.Fatalf("%s, %v; want the CA to refuse", res.Outcome, res.Err)
	}
	if wait := time.Until(look(t, dir).Snapshot.Attempts[faultName].NextAttempt); wait > 2*time.Minute {
		t.Errorf("the next attempt is in %v, want it within a minute or so", wait)
	}
	if err := os.Remove(filepath.Join(dir, "attempts", faultName+".json")); err != nil {
		t.Fatal(err)
	}
	if res := pass(t, dir, daemon.Options{Force: true}).Results[0]; res.Outcome != daemon.Issued {
		t.Errorf("then: %s, %v; want issued", res.Outcome, res.Err)
	}
}
