package acmetest_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"certd/acme/acmetest"
)

// A transcript is what a client saw, told so that two runs of a correct CA
// read alike: addresses, nonces, tokens, times and certificates by their kind.
type transcript struct {
	key     crypto.Signer
	correct []string // of a correct run; nil for that run itself
	changed func()   // called at the first line that is not the correct one

	mu    sync.Mutex
	lines []string
	odd   string // the first line that is not the correct one
}

// transport returns next with a recorder around it.
func (r *transcript) transport(ca *acmetest.FaultyCA, next http.RoundTripper) http.RoundTripper {
	blank := blanker(ca)
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		answer, err := next.RoundTrip(request)
		line := request.Method + " " + blank(request.URL.Path) + " "
		if err != nil {
			r.add(line + "broke")
			return nil, err
		}
		// A reader that stops early still sees what was wrong.
		body, err := io.ReadAll(io.LimitReader(answer.Body, 3<<20))
		_ = answer.Body.Close()
		line += fmt.Sprintf("%d broken=%t length=%d ", answer.StatusCode, err != nil, answer.ContentLength>>16)
		for _, name := range slices.Sorted(maps.Keys(answer.Header)) {
			if name != "Date" && name != "Content-Length" {
				line += blank(fmt.Sprintf("%s=%q ", name, answer.Header[name]))
			}
		}
		r.add(line + blank(r.describe(body)))
		answer.Body = io.NopCloser(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		return answer, nil
	})
}

func (r *transcript) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.lines)
	r.lines = append(r.lines, line)
	if r.odd == "" && (n >= len(r.correct) || r.correct[n] != line) {
		r.odd = line
		r.changed()
	}
}

// blanker returns what replaces the things that differ from run to run.
func blanker(ca *acmetest.FaultyCA) func(string) string {
	address := strings.Split(ca.URL(), "/")[2]
	token := regexp.MustCompile(`[A-Za-z0-9_-]{43}`)
	date := regexp.MustCompile(`\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z`)
	return func(s string) string {
		if len(s) > 20<<10 {
			s = fmt.Sprintf("%d bytes: %.1000s", len(s), s)
		}
		s = strings.ReplaceAll(s, address, "CA")
		s = token.ReplaceAllString(s, "TOKEN")
		return date.ReplaceAllStringFunc(s, func(text string) string {
			at, err := time.Parse(time.RFC3339, text)
			return fmt.Sprintf("DAYS %d %t", time.Until(at).Round(24*time.Hour)/(24*time.Hour), err == nil)
		})
	}
}

// describe returns JSON and junk as they are, and PEM as what is in it.
func (r *transcript) describe(body []byte) string {
	block, rest := pem.Decode(body)
	if block == nil || len(body) > 1<<20 {
		return string(body)
	}
	head, _, _ := bytes.Cut(body, []byte("-----BEGIN"))
	out := fmt.Sprintf("%s CR=%t %s ", head, bytes.Contains(body, []byte("\r")), block.Type)
	if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
		out += fmt.Sprintf("%s by %s %v CA=%t %v %s poison=%v ", cert.Subject, cert.Issuer, cert.DNSNames, cert.IsCA, cert.ExtKeyUsage,
			cert.NotAfter.Sub(cert.NotBefore), cert.UnhandledCriticalExtensions)
		out += fmt.Sprintf("ours=%t ", cert.PublicKey.(*ecdsa.PublicKey).Equal(r.key.Public()))
		out += fmt.Sprintf("days=%d signature=%d ", time.Until(cert.NotAfter).Round(24*time.Hour)/(24*time.Hour), cert.SignatureAlgorithm)
	}
	return out + r.describe(rest)
}

// run makes a full issuance against ca, and stops once done is closed or an
// answer is not the correct one, unless keepGoing.
func run(t *testing.T, ca *acmetest.FaultyCA, correct []string, keepGoing bool, done <-chan struct{}) (*transcript, [][]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		select {
		case <-done:
			cancel()
		case <-ctx.Done():
		}
	}()
	record := &transcript{key: newKey(t), correct: correct, changed: cancel}
	if keepGoing {
		record.changed = func() {}
	}
	client := newClient(t, ca.URL(), ca.RootsPEM())
	client.HTTPClient.Transport = record.transport(ca, client.HTTPClient.Transport)
	chain, err := issueFor(ctx, record.key, client, nil, "a.example.com", "b.example.com")
	return record, chain, err
}

// stalled returns a channel that is closed a while after a fault has hit.
func stalled(t *testing.T, ca *acmetest.FaultyCA) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ca.Hits() == 0 && t.Context().Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(50 * time.Millisecond)
	}()
	return done
}

func TestEveryFaultChangesWhatGoesOverTheWire(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartFaulty(t)
	first, chain, err := run(t, ca, nil, true, nil)
	if err != nil {
		t.Fatalf("a correct run failed: %v", err)
	}
	checkChain(t, chain, ca.IssuerRootsPEM(), "a.example.com", "b.example.com")
	correct := first.lines
	again, _, err := run(t, acmetest.StartFaulty(t), correct, true, nil)
	if err != nil || again.odd != "" || len(again.lines) != len(correct) {
		t.Fatalf("two correct runs differ (%v), so that nothing can be said about faults: %s\n\n%s", err, again.odd, strings.Join(correct, "\n"))
	}
	for _, fault := range acmetest.Faults() {
		if fault.Operation == "" {
			continue // TestListenerFaults
		}
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel()
			ca := acmetest.StartFaulty(t, fault)
			var done <-chan struct{}
			if strings.HasPrefix(fault.Name, "stall/") || strings.HasPrefix(fault.Name, "trickle/") {
				done = stalled(t, ca)
			}
			overcome := !fault.Terminal && !fault.Optional
			record, _, err := run(t, ca, correct, overcome, done)
			if ca.Hits() == 0 {
				t.Errorf("%s (%s): no answer was touched", fault.Name, fault.Doc)
			}
			if record.odd == "" {
				t.Errorf("%s (%s): what went over the wire is what a correct CA sends", fault.Name, fault.Doc)
			}
			if err != nil && overcome {
				t.Errorf("%s (%s): even a plain client should overcome this: %v", fault.Name, fault.Doc, err)
			}
		})
	}
}

func TestFaultTable(t *testing.T) {
	t.Parallel()
	operations := []string{"", "directory", "nonce", "account", "order", "order-poll", "authz", "challenge", "finalize", "cert"}
	seen := map[string]bool{}
	for _, f := range acmetest.Faults() {
		if f.Name == "" || f.Doc == "" || strings.HasSuffix(f.Doc, ".") {
			t.Errorf("%q needs a name and a sentence without a period: %q", f.Name, f.Doc)
		}
		if seen[f.Name] {
			t.Errorf("%s is there twice", f.Name)
		}
		seen[f.Name] = true
		if !slices.Contains(operations, f.Operation) {
			t.Errorf("%s: no request is of operation %q", f.Name, f.Operation)
		}
		if f.Terminal && f.Optional {
			t.Errorf("%s: what must fail is not optional", f.Name)
		}
		if f.Class != "" && !f.Terminal && !f.Optional {
			t.Errorf("%s: a class of a failure that need not happen", f.Name)
		}
	}
	if f, ok := acmetest.FaultNamed("stall/header/order"); !ok || f.Name != "stall/header/order" {
		t.Errorf("FaultNamed finds %+v (%t), want the fault of that name", f, ok)
	}
	if _, ok := acmetest.FaultNamed("no such fault"); ok {
		t.Error("FaultNamed finds what does not exist")
	}
	if len(seen) < 60 {
		t.Errorf("the table has %d faults, want at least 60", len(seen))
	}
	t.Logf("%d faults", len(seen))
}

func TestNthHitsOneRequest(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartFaulty(t, acmetest.Respond("authz", http.StatusNotFound, nil, "").Nth(2))
	client := newClient(t, ca.URL(), ca.RootsPEM())
	_, err := issue(t.Context(), t, client, nil, "a.example.com")
	if err == nil || ca.Hits() != 1 {
		t.Errorf("%d answers were touched, want 1, and the issuance to fail: %v", ca.Hits(), err)
	}
	var statuses []int
	for _, r := range ca.Requests() {
		if r.Operation == "authz" {
			statuses = append(statuses, r.Status)
		}
	}
	if len(statuses) < 2 || statuses[0] != http.StatusOK || statuses[1] != http.StatusNotFound {
		t.Errorf("the authorization's answers are %v, want 200 and then 404", statuses)
	}
}
