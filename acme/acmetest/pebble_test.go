package acmetest_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"certd/acme/acmetest"

	"github.com/miekg/dns"
	"golang.org/x/crypto/acme"
)

// newClient returns a raw x/crypto client for a CA's listener.
func newClient(t testing.TB, directory string, roots []byte) *acme.Client {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots) {
		t.Fatalf("the listener's roots are no PEM: %q", roots)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &acme.Client{
		Key:          newKey(t),
		DirectoryURL: directory,
		HTTPClient:   &http.Client{Transport: transport},
		UserAgent:    "acmetest",
		RetryBackoff: func(n int, _ *http.Request, _ *http.Response) time.Duration {
			if n > 20 {
				return 0
			}
			return 10 * time.Millisecond
		},
	}
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue registers and obtains a certificate for names with client. present is
// called with each http-01 challenge before it is answered, unless nil.
func issue(ctx context.Context, t testing.TB, client *acme.Client, present func(*acme.Challenge), names ...string) ([][]byte, error) {
	t.Helper()
	return issueFor(ctx, newKey(t), client, present, names...)
}

// issueFor is issue with a given certificate key.
func issueFor(ctx context.Context, key crypto.Signer, client *acme.Client, present func(*acme.Challenge), names ...string) ([][]byte, error) {
	if _, err := client.Register(ctx, &acme.Account{}, acme.AcceptTOS); err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(names...))
	if err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	for _, url := range order.AuthzURLs {
		authz, err := client.GetAuthorization(ctx, url)
		if err != nil {
			return nil, fmt.Errorf("authorization: %w", err)
		}
		for _, challenge := range authz.Challenges {
			if challenge.Type != "http-01" {
				continue
			}
			if present != nil {
				present(challenge)
			}
			if _, err := client.Accept(ctx, challenge); err != nil {
				return nil, fmt.Errorf("accept: %w", err)
			}
		}
		if _, err := client.WaitAuthorization(ctx, url); err != nil {
			return nil, fmt.Errorf("wait for the authorization: %w", err)
		}
	}
	order, err = client.WaitOrder(ctx, order.URI)
	if err != nil {
		return nil, fmt.Errorf("wait for the order: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	if err != nil {
		return nil, err
	}
	chain, _, err := client.CreateCertFromOrder(ctx, order, csr, true)
	if err != nil {
		return nil, fmt.Errorf("finalize: %w", err)
	}
	return chain, nil
}

// checkChain verifies a chain, leaf first, against roots for names.
func checkChain(t testing.TB, chain [][]byte, roots []byte, names ...string) *x509.Certificate {
	t.Helper()
	if len(chain) < 2 {
		t.Fatalf("the chain has %d certificates, want a leaf and its issuer", len(chain))
	}
	pool, between := x509.NewCertPool(), x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, der := range chain[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		between.AddCert(cert)
	}
	for _, name := range names {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, DNSName: name}); err != nil {
			t.Errorf("the chain does not verify for %s: %v", name, err)
		}
	}
	return leaf
}

// serveHTTP01 answers http-01 challenges of client at port and returns how to add one.
func serveHTTP01(t testing.TB, client *acme.Client, port int) func(*acme.Challenge) {
	t.Helper()
	listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		t.Fatalf("listening on the reserved port: %v", err)
	}
	mux := http.NewServeMux()
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return func(challenge *acme.Challenge) {
		text, err := client.HTTP01ChallengeResponse(challenge.Token)
		if err != nil {
			t.Errorf("key authorization: %v", err)
		}
		mux.HandleFunc(client.HTTP01ChallengePath(challenge.Token), func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, text)
		})
	}
}

func TestPebbleIssuesOverRealSockets(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{NonceReject: 20, RetryAfterAuthz: 1, RetryAfterOrder: 1})
	client := newClient(t, ca.URL(), ca.RootsPEM())
	names := []string{"a.example.com", "b.example.com"}
	chain, err := issue(t.Context(), t, client, serveHTTP01(t, client, ca.HTTPPort()), names...)
	if err != nil {
		t.Fatalf("issuing failed: %v", err)
	}
	leaf := checkChain(t, chain, ca.IssuerRootsPEM(), names...)
	if got := leaf.NotAfter.Sub(leaf.NotBefore).Round(24 * time.Hour); got != 90*24*time.Hour {
		t.Errorf("the default profile's certificate lives %v, want 90 days", got)
	}
	requests := ca.Requests()
	for operation, least := range map[string]int{
		"directory": 1, "nonce": 1, "account": 1, "order": 1, "order-poll": 1, "authz": 2, "challenge": 2, "finalize": 1, "cert": 1,
	} {
		if got := acmetest.Count(requests, operation); got < least {
			t.Errorf("the journal has %d %s requests, want at least %d: %v", got, operation, least, requests)
		}
	}
	for _, r := range requests {
		if r.Status == 0 || r.Operation == "" || r.Time.IsZero() {
			t.Errorf("the journal knows too little of a request: %+v", r)
		}
	}
	ca.ResetRequests()
	if left := ca.Requests(); len(left) != 0 {
		t.Errorf("after ResetRequests the journal still has %v", left)
	}
}

func TestPebbleKnobsOfParallelCAsDoNotMix(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]acmetest.Options{
		"always valid":   {AlwaysValid: true},
		"other validity": {AlwaysValid: true, Profiles: map[string]time.Duration{"short": 6 * 24 * time.Hour}},
		"long chain":     {AlwaysValid: true, ChainLength: 3, AlternateRoots: 2},
		"blocked":        {AlwaysValid: true, Blocklist: []string{"blocked.example.com"}},
		"nobody answers": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.RetryAfterAuthz, o.RetryAfterOrder = 1, 1
			ca := acmetest.StartT(t, o)
			client := newClient(t, ca.URL(), ca.RootsPEM())
			domain := "www.example.com"
			if len(o.Blocklist) > 0 {
				domain = o.Blocklist[0]
			}
			chain, err := issue(t.Context(), t, client, nil, domain)
			if !o.AlwaysValid || len(o.Blocklist) > 0 {
				if err == nil {
					t.Fatalf("%s was issued", domain)
				}
				return
			}
			if err != nil {
				t.Fatalf("issuing failed: %v", err)
			}
			if want := max(1, o.ChainLength) + 1; len(chain) != want {
				t.Errorf("the chain has %d certificates, want %d", len(chain), want)
			}
			leaf := checkChain(t, chain, ca.IssuerRootsPEM(), domain)
			if validity, ok := o.Profiles["short"]; ok && leaf.NotAfter.Sub(leaf.NotBefore).Round(time.Hour) != validity {
				t.Errorf("the certificate lives %v, want %v", leaf.NotAfter.Sub(leaf.NotBefore), validity)
			}
			if got := strings.Count(string(ca.IssuerRootsPEM()), "BEGIN CERTIFICATE"); got != 1+o.AlternateRoots {
				t.Errorf("there are %d issuer roots, want %d", got, 1+o.AlternateRoots)
			}
		})
	}
}

func TestPebbleLeavesTheEnvironmentAlone(t *testing.T) {
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "33")
	acmetest.StartT(t, acmetest.Options{NonceReject: 7, AlwaysValid: true})
	if got := os.Getenv("PEBBLE_WFE_NONCEREJECT"); got != "33" {
		t.Errorf("PEBBLE_WFE_NONCEREJECT is %q after Start, want the 33 from before", got)
	}
	if got, ok := os.LookupEnv("PEBBLE_VA_ALWAYS_VALID"); ok {
		t.Errorf("PEBBLE_VA_ALWAYS_VALID is %q after Start, want it unset", got)
	}
}

func TestPebbleRefusesNonsenseOptions(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]acmetest.Options{
		"percentage":    {NonceReject: 101},
		"negative":      {ChainLength: -1},
		"key algorithm": {KeyAlg: "dsa"},
		"EAB key":       {RequireEAB: map[string]string{"kid": "not base64url!"}},
		"address taken": {Listen: "127.0.0.1:not-a-port"},
		"block list":    {Blocklist: []string{""}},
	} {
		if ca, err := acmetest.Start(o); err == nil {
			t.Errorf("%s: Start accepted %+v", name, o)
			_ = ca.Close()
		}
	}
}

func TestPebbleWrapSeesRequestsAfterTheJournal(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{Wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	}})
	client := newClient(t, ca.URL(), ca.RootsPEM())
	if _, err := client.Discover(t.Context()); err == nil {
		t.Error("the wrapped CA answered as if it were not wrapped")
	}
	if got := ca.Requests(); len(got) != 1 || got[0].Status != http.StatusTeapot || got[0].Operation != "directory" {
		t.Errorf("the journal is %+v, want one directory request with status 418", got)
	}
}

func TestPebbleManagementHasTheIssuerRoot(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	client := newClient(t, ca.URL(), ca.RootsPEM())
	answer, err := client.HTTPClient.Get(ca.Management() + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if root, err := io.ReadAll(answer.Body); err != nil || string(root) != string(ca.IssuerRootsPEM()) {
		t.Errorf("/roots/0 is %q (%v), want IssuerRootsPEM", root, err)
	}
}

func TestEveryCAHasItsOwnDNS(t *testing.T) {
	t.Parallel()
	one, two := acmetest.StartT(t, acmetest.Options{}), acmetest.StartT(t, acmetest.Options{})
	one.DNS().AddDNSARecord("www.example.com", []string{"192.0.2.1"})
	two.DNS().AddDNSServFailRecord("www.example.com")
	one.DNS().AddDNSTXTRecord("_acme-challenge.example.com", strings.Repeat("x", 300))
	one.DNS().AddDNSCNAMERecord("alias.example.com", "www.example.com")
	for _, c := range []struct {
		ca       *acmetest.CA
		net      string
		name     string
		question uint16
		want     string
	}{
		{one, "udp", "www.example.com.", dns.TypeA, "NOERROR 192.0.2.1"},
		{one, "tcp", "WWW.example.com.", dns.TypeA, "NOERROR 192.0.2.1"},
		{one, "tcp", "other.example.com.", dns.TypeA, "NOERROR 127.0.0.1"},
		{one, "udp", "other.example.com.", dns.TypeAAAA, "NOERROR"},
		{one, "udp", "alias.example.com.", dns.TypeA, "NOERROR www.example.com. 192.0.2.1"},
		{one, "tcp", "_acme-challenge.example.com.", dns.TypeTXT, "NOERROR " + strings.Repeat("x", 300)},
		{one, "udp", "www.example.com.", dns.TypeCAA, "NOERROR"},
		{two, "udp", "www.example.com.", dns.TypeA, "SERVFAIL"},
		{two, "tcp", "www.example.com.", dns.TypeA, "SERVFAIL"},
	} {
		client := &dns.Client{Net: c.net}
		answer, _, err := client.Exchange(new(dns.Msg).SetQuestion(c.name, c.question), c.ca.Resolver())
		if err != nil {
			t.Errorf("%s over %s: %v", c.name, c.net, err)
			continue
		}
		if got := answerText(answer); got != c.want {
			t.Errorf("%s %s over %s: %q, want %q", c.name, dns.TypeToString[c.question], c.net, got, c.want)
		}
	}
}

// answerText returns the code and data of an answer on one line.
func answerText(m *dns.Msg) string {
	words := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			words = append(words, rr.A.String())
		case *dns.CNAME:
			words = append(words, rr.Target)
		case *dns.TXT:
			words = append(words, strings.Join(rr.Txt, ""))
		}
	}
	return strings.Join(words, " ")
}
