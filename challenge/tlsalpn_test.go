package challenge_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"certd/acme"
	"certd/challenge"
	"certd/challenge/challengetest"
)

// A witness is a TLSALPN01 that remembers which name a token was for: the
// CA's handshake has only the name.
type witness struct {
	*challenge.TLSALPN01
	addr string

	mu   sync.Mutex
	seen map[string]presentedTo
}

type presentedTo struct {
	id acme.Identifier
	ch acme.Challenge
}

func (w *witness) Present(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	w.mu.Lock()
	w.seen[ch.Token] = presentedTo{id, ch}
	w.mu.Unlock()
	return w.TLSALPN01.Present(ctx, id, ch)
}

// fetch shakes hands as a CA does; what it sees for another token is not found.
func (w *witness) fetch(token string) (keyAuth string, found bool, err error) {
	w.mu.Lock()
	p, known := w.seen[token]
	w.mu.Unlock()
	if !known {
		return "", false, nil
	}
	state, err := shake(w.addr, sni(p.id), "acme-tls/1")
	if err != nil {
		return "", false, nil
	}
	got, critical := acmeExtension(state.PeerCertificates[0])
	if want := sha256.Sum256([]byte(p.ch.KeyAuthorization)); string(got) != string(want[:]) || !critical {
		return "", false, nil
	}
	return p.ch.KeyAuthorization, true, nil
}

func sni(id acme.Identifier) string {
	if addr, err := netip.ParseAddr(id.Value); err == nil && addr.Is4() {
		b := addr.As4()
		return net.IPv4(b[3], b[2], b[1], b[0]).String() + ".in-addr.arpa"
	}
	return id.Value
}

func shake(addr, name string, protos ...string) (tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{ServerName: name, NextProtos: protos, InsecureSkipVerify: true}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState(), nil
}

func acmeExtension(cert *x509.Certificate) (digest []byte, critical bool) {
	for _, ext := range cert.Extensions {
		if ext.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}) {
			if _, err := asn1.Unmarshal(ext.Value, &digest); err == nil {
				return digest, ext.Critical
			}
		}
	}
	return nil, false
}

func TestContractTLSALPN01(t *testing.T) {
	t.Parallel()
	challengetest.Run(t, challengetest.Harness{Start: func(t *testing.T) challengetest.Subject {
		r := challenge.NewALPNResponder()
		addr := freeAddr(t)
		w := &witness{TLSALPN01: &challenge.TLSALPN01{Responder: r, Addrs: []string{addr, "192.0.2.77:1"}}, addr: addr, seen: map[string]presentedTo{}}
		return challengetest.Subject{Solver: w, Fetch: w.fetch, Left: func() []string {
			left := r.Addrs()
			if c, err := net.Dial("tcp", addr); err == nil {
				_ = c.Close()
				left = append(left, addr)
			}
			return left
		}}
	}})
}

// The certificate is for the name alone (RFC 8737 §3).
func TestALPNCertificateNamesOnlyTheIdentifier(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"www.example.com", "192.0.2.7", "2001:db8::7"} {
		solver, addr := listenALPN(t, nil)
		id, ch := challengetest.New(name)
		if err := solver.Present(t.Context(), id, ch); err != nil {
			t.Fatalf("present %s: %v", name, err)
		}
		server := sni(id)
		if name == "2001:db8::7" {
			server = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
		}
		state, err := shake(addr, strings.ToUpper(server), "acme-tls/1")
		if err != nil {
			t.Fatalf("handshake for %s: %v", server, err)
		}
		cert := state.PeerCertificates[0]
		names := cert.DNSNames
		for _, ip := range cert.IPAddresses {
			names = append(names, ip.String())
		}
		if len(names) != 1 || names[0] != name || cert.IsCA {
			t.Errorf("%s: the certificate names %v (CA %v), want only the identifier", name, names, cert.IsCA)
		}
	}
}

func TestALPNRefusesEveryOtherHandshake(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	results := map[string]int{}
	solver, addr := listenALPN(t, func(result string) {
		mu.Lock()
		results[result]++
		mu.Unlock()
	})
	id, ch := challengetest.New("www.example.com")
	if err := solver.Present(t.Context(), id, ch); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, name string
		protos     []string
	}{
		{"no ALPN", "www.example.com", nil},
		{"a browser's ALPN", "www.example.com", []string{"h2", "http/1.1"}},
		{"acme-tls/1 among others", "www.example.com", []string{"acme-tls/1", "http/1.1"}},
		{"another name", "other.example.com", []string{"acme-tls/1"}},
		{"no name", "", []string{"acme-tls/1"}},
	} {
		if state, err := shake(addr, c.name, c.protos...); err == nil {
			t.Errorf("%s: the handshake went through (%q, %d certificates), want it refused", c.what, state.NegotiatedProtocol, len(state.PeerCertificates))
		}
	}
	if answer := plainRequest(t, addr); strings.Contains(answer, "200") {
		t.Errorf("plain HTTP got the answer %q", answer)
	}
	if _, err := shake(addr, "www.example.com", "acme-tls/1"); err != nil {
		t.Errorf("the CA's handshake after all that: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if results["served"] != 1 || results["bad_request"] != 3 || results["unknown"] != 2 {
		t.Errorf("counted %v, want 1 served, 3 bad_request, 2 unknown", results)
	}
}

func plainRequest(t *testing.T, addr string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
	answer, _ := io.ReadAll(io.LimitReader(c, 1<<10))
	return string(answer)
}

// Two targets may share the port, but not the name: a handshake does not say
// which challenge it is about.
func TestALPNOneChallengeOfANameAtATime(t *testing.T) {
	t.Parallel()
	r := challenge.NewALPNResponder()
	addr := freeAddr(t)
	first := &challenge.TLSALPN01{Responder: r, Addrs: []string{addr}}
	second := &challenge.TLSALPN01{Responder: r, Addrs: []string{addr}}
	id, ch := challengetest.New("www.example.com")
	if err := first.Present(t.Context(), id, ch); err != nil {
		t.Fatal(err)
	}
	_, other := challengetest.New("www.example.com")
	err := second.Present(t.Context(), id, other)
	if err == nil || !strings.Contains(err.Error(), "one after the other") {
		t.Errorf("a second challenge of the name: got error %v, want that they come one after the other", err)
	}
	if err := second.CleanUp(t.Context(), id, other); err != nil {
		t.Error(err)
	}
	if _, err := shake(addr, "www.example.com", "acme-tls/1"); err != nil {
		t.Errorf("the first challenge after the second was refused: %v", err)
	}
	if err := first.CleanUp(t.Context(), id, ch); err != nil {
		t.Error(err)
	}
	if err := second.Present(t.Context(), id, other); err != nil {
		t.Errorf("the second challenge once the first is over: %v", err)
	}
	if err := second.CleanUp(t.Context(), id, other); err != nil {
		t.Error(err)
	}
}

func TestALPNSelfTest(t *testing.T) {
	t.Parallel()
	id, ch := challengetest.New("127.0.0.1")
	_, foreign := challengetest.New("127.0.0.1")
	for _, c := range []struct {
		what  string
		serve func(t *testing.T, solver *challenge.TLSALPN01)
		want  string // in the error; empty means none
	}{
		{"our answer", func(t *testing.T, s *challenge.TLSALPN01) {
			if err := s.Present(t.Context(), id, ch); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"the answer to another challenge", func(t *testing.T, s *challenge.TLSALPN01) {
			if err := s.Present(t.Context(), id, foreign); err != nil {
				t.Fatal(err)
			}
		}, "another challenge or account"},
		{"a web server", func(t *testing.T, s *challenge.TLSALPN01) { serveTLS(t, s.Addrs[0]) }, "does not speak acme-tls/1"},
		{"nobody", func(*testing.T, *challenge.TLSALPN01) {}, "refused"},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			solver, addr := listenALPN(t, nil)
			_, port, _ := net.SplitHostPort(addr)
			n, _ := strconv.Atoi(port)
			solver.SelfTest = &challenge.SelfTest{TLSPort: n, Limit: time.Millisecond}
			c.serve(t, solver)
			err := solver.Wait(t.Context(), id, ch)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got error %v, want none", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), addr)):
				t.Errorf("got error %v, want one that says %q and names %s", err, c.want, addr)
			}
		})
	}
}

// serveTLS is a web server that has never heard of acme-tls/1.
func serveTLS(t *testing.T, addr string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"www.example.com"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", addr, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	var open atomic.Bool
	open.Store(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for open.Load() {
			if c, err := ln.Accept(); err == nil {
				_ = c.(*tls.Conn).Handshake()
				_ = c.Close()
			}
		}
	}()
	t.Cleanup(func() { open.Store(false); _ = ln.Close(); <-done })
}

func listenALPN(t *testing.T, count func(string)) (solver *challenge.TLSALPN01, addr string) {
	t.Helper()
	r := challenge.NewALPNResponder()
	r.Count = count
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close responder: %v", err)
		}
	})
	addr = freeAddr(t)
	return &challenge.TLSALPN01{Responder: r, Addrs: []string{addr}}, addr
}
