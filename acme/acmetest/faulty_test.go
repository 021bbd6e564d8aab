package acmetest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	certd "certd/acme"
	"certd/acme/acmetest"

	"golang.org/x/crypto/acme"
)

func TestFaultyCAWithoutFaultsIssues(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartFaulty(t)
	client := newClient(t, ca.URL(), ca.RootsPEM())
	names := []string{"a.example.com", "b.example.com"}
	chain, err := issue(t.Context(), t, client, nil, names...)
	if err != nil {
		t.Fatalf("issuing failed: %v", err)
	}
	checkChain(t, chain, ca.IssuerRootsPEM(), names...)
	for operation, want := range map[string]int{
		"directory": 1, "nonce": 1, "account": 1, "order": 1, "order-poll": 2, "authz": 4, "challenge": 2, "finalize": 1, "cert": 1,
	} {
		if got := acmetest.Count(ca.Requests(), operation); got != want {
			t.Errorf("the journal has %d %s requests, want %d", got, operation, want)
		}
	}
	if strays := ca.Strays(); len(strays) != 0 {
		t.Errorf("a correct run has strays: %v", strays)
	}
	if ca.Hits() != 0 {
		t.Errorf("a CA without faults has changed %d answers", ca.Hits())
	}
	ca.ResetRequests()
	if left := ca.Requests(); len(left) != 0 {
		t.Errorf("after ResetRequests the journal still has %v", left)
	}
}

func TestFaultyCAOffersAnAlternateChain(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartFaulty(t)
	client := newClient(t, ca.URL(), ca.RootsPEM())
	if _, err := issue(t.Context(), t, client, nil, "www.example.com"); err != nil {
		t.Fatalf("issuing failed: %v", err)
	}
	url := strings.TrimSuffix(ca.URL(), "/directory") + "/cert/2"
	alternates, err := client.ListCertAlternates(t.Context(), url)
	if err != nil || len(alternates) != 1 {
		t.Fatalf("the alternates of %s are %v (%v), want one", url, alternates, err)
	}
	chain, err := client.FetchCert(t.Context(), alternates[0], true)
	if err != nil {
		t.Fatal(err)
	}
	_, other, _ := strings.Cut(string(ca.IssuerRootsPEM()), "-----END CERTIFICATE-----\n")
	checkChain(t, chain, []byte(other), "www.example.com")
}

func TestFaultyCAKeepsAccounts(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartFaulty(t)
	client := newClient(t, ca.URL(), ca.RootsPEM())
	if _, err := client.GetReg(t.Context(), ""); !errors.Is(err, acme.ErrNoAccount) {
		t.Errorf("an unknown key has an account: %v", err)
	}
	account, err := client.Register(t.Context(), &acme.Account{Contact: []string{"mailto:a@example.com"}}, acme.AcceptTOS)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Register(t.Context(), &acme.Account{}, acme.AcceptTOS); !errors.Is(err, acme.ErrAccountAlreadyExists) {
		t.Errorf("registering a known key again: %v", err)
	}
	account.Contact = []string{"mailto:b@example.com"}
	if _, err := client.UpdateReg(t.Context(), account); err != nil {
		t.Errorf("updating the account: %v", err)
	}
	if account, err = client.GetReg(t.Context(), ""); err != nil || !slices.Equal(account.Contact, []string{"mailto:b@example.com"}) {
		t.Errorf("the updated account is %+v (%v)", account, err)
	}
	if err := client.DeactivateReg(t.Context()); err != nil {
		t.Errorf("deactivating the account: %v", err)
	}
	if _, err := client.AuthorizeOrder(t.Context(), acme.DomainIDs("www.example.com")); err == nil {
		t.Error("a deactivated account may order")
	}
}

func TestFaultyCADeactivatesAuthorizations(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartFaulty(t)
	client := newClient(t, ca.URL(), ca.RootsPEM())
	if _, err := client.Register(t.Context(), &acme.Account{}, acme.AcceptTOS); err != nil {
		t.Fatal(err)
	}
	order, err := client.AuthorizeOrder(t.Context(), acme.DomainIDs("*.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	authz, err := client.GetAuthorization(t.Context(), order.AuthzURLs[0])
	if err != nil || !authz.Wildcard || authz.Identifier.Value != "example.com" || len(authz.Challenges) != 1 {
		t.Errorf("the wildcard's authorization is %+v (%v), want one dns-01 challenge for example.com", authz, err)
	}
	if err := client.RevokeAuthorization(t.Context(), order.AuthzURLs[0]); err != nil {
		t.Errorf("deactivating the authorization: %v", err)
	}
	if order, err = client.GetOrder(t.Context(), order.URI); err != nil || order.Status != acme.StatusInvalid {
		t.Errorf("the order is %+v (%v), want invalid", order, err)
	}
}

func TestFaultyCARefusesWhatIsNotSigned(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartFaulty(t)
	client := newClient(t, ca.URL(), ca.RootsPEM())
	if _, err := client.Register(t.Context(), &acme.Account{}, acme.AcceptTOS); err != nil {
		t.Fatal(err)
	}
	base := strings.TrimSuffix(ca.URL(), "/directory")
	transport := client.HTTPClient.Transport
	for _, c := range []struct {
		name string
		edit func(jws map[string]string, r *http.Request)
		want string
	}{
		{"a flipped signature", func(jws map[string]string, _ *http.Request) {
			jws["signature"] = strings.Repeat("A", len(jws["signature"]))
		}, "malformed"},
		{"another payload", func(jws map[string]string, _ *http.Request) { jws["payload"] = "e30" }, "malformed"},
		{"another URL", func(_ map[string]string, r *http.Request) { r.URL.Path = "/order/1" }, "unauthorized"},
		{"a plain content type", func(_ map[string]string, r *http.Request) { r.Header.Set("Content-Type", "application/json") }, "malformed"},
	} {
		client.HTTPClient.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodPost {
				return transport.RoundTrip(r)
			}
			var jws map[string]string
			if err := json.NewDecoder(r.Body).Decode(&jws); err != nil {
				t.Errorf("%s: reading the request: %v", c.name, err)
			}
			forged := r.Clone(r.Context())
			c.edit(jws, forged)
			text, err := json.Marshal(jws)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			forged.Body, forged.ContentLength = io.NopCloser(strings.NewReader(string(text))), int64(len(text))
			return transport.RoundTrip(forged)
		})
		_, err := client.AuthorizeOrder(t.Context(), acme.DomainIDs("www.example.com"))
		if p, ok := errors.AsType[*acme.Error](err); !ok || !strings.HasSuffix(p.ProblemType, c.want) {
			t.Errorf("%s is answered by %v, want %s", c.name, err, c.want)
		}
	}
	answer, err := (&http.Client{Transport: transport}).Post(base+"/new-order", "application/jose+json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusBadRequest {
		t.Errorf("an unsigned request is answered %d, want 400", answer.StatusCode)
	}
}

// roundTripper is an http.RoundTripper of one function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestFaultyCAValidatesIfAsked(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var asked []string
	ca, err := acmetest.NewFaulty(acmetest.FaultyOptions{
		Validate: func(_ context.Context, id certd.Identifier, kind, token, keyAuthorization string) error {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, id.Value+" "+kind)
			if !strings.HasPrefix(keyAuthorization, token+".") || len(token) < 22 {
				return errors.New("the key authorization is not made from the token")
			}
			if id.Value == "bad.example.com" {
				return &certd.Problem{Type: "connection", Detail: "nobody is there"}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ca.Close() })
	client := newClient(t, ca.URL(), ca.RootsPEM())
	if _, err := issue(t.Context(), t, client, nil, "good.example.com"); err != nil {
		t.Errorf("the good name was not issued: %v", err)
	}
	other := newClient(t, ca.URL(), ca.RootsPEM())
	_, err = issue(t.Context(), t, other, nil, "bad.example.com")
	failed, ok := errors.AsType[*acme.AuthorizationError](err)
	if !ok || len(failed.Errors) != 1 || !strings.Contains(failed.Errors[0].Error(), "nobody is there") {
		t.Errorf("the bad name's failure is %v, want the validation's own words", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"good.example.com http-01", "bad.example.com http-01"}; !slices.Equal(asked, want) {
		t.Errorf("Validate was asked for %v, want %v", asked, want)
	}
}

func TestFaultyCACountsStrays(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartFaulty(t)
	address := strings.TrimSuffix(strings.TrimPrefix(ca.URL(), "https://"), "/directory")
	_, port, _ := strings.Cut(address, ":")
	client := newClient(t, ca.URL(), ca.RootsPEM()).HTTPClient
	for i, url := range []string{
		"http://" + address + "/directory",
		"https://user:secret@" + address + "/directory",
		"https://localhost:" + port + "/directory",
		ca.URL() + "?" + strings.Repeat("a", 4096),
		strings.TrimSuffix(ca.URL(), "/directory") + "/elsewhere",
	} {
		answer, err := client.Get(url)
		if err == nil {
			_ = answer.Body.Close()
		}
		if got := len(ca.Strays()); got != i+1 {
			t.Errorf("after %.60s there are %d strays, want %d", url, got, i+1)
		}
	}
}

// TestListenerFaults: the client refuses each listener, and each for the
// reason that the fault is about.
func TestListenerFaults(t *testing.T) {
	t.Parallel()
	wants := map[string]string{
		"tls/expired": "expired", "tls/future": "not yet valid", "tls/wrong-host": "not 127.0.0.1", "tls/unknown-root": "unknown authority",
		"tls/tls-1.1": "protocol version", "tls/plain": "HTTP response to HTTPS client", "tls/stall": "deadline exceeded",
	}
	for _, fault := range acmetest.Faults() {
		if fault.Operation != "" {
			continue
		}
		want, ok := wants[fault.Name]
		if !ok {
			t.Errorf("%s: no expectation for this listener fault", fault.Name)
			continue
		}
		delete(wants, fault.Name)
		ca := acmetest.StartFaulty(t, fault)
		patience := time.Minute
		if fault.Endless {
			patience = 100 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := newClient(t, ca.URL(), ca.RootsPEM()).Discover(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the client says %v, want %q", fault.Name, err, want)
		}
		if fault.Name == "tls/tls-1.1" {
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(ca.RootsPEM())
			conn, err := tls.Dial("tcp", strings.Split(ca.URL(), "/")[2], &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10})
			if err != nil || conn.ConnectionState().Version != tls.VersionTLS11 {
				t.Errorf("an old client does not get TLS 1.1: %v", err)
			}
		}
	}
	for name := range wants {
		t.Errorf("%s is not in the table", name)
	}
}
