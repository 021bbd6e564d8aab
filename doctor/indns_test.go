package doctor_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/letsencrypt/challtestsrv"
	"github.com/miekg/dns"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/doctor"
	"certd/hooks"
	"certd/state"
)

// A zone is a name server and resolver for example.test on loopback. Its TXT
// records are the lines of a file, name and value, which a hook may write.
type zone struct {
	aliases map[string]string // canonical
	texts   string            // path
	bogus   string            // a name below which signatures are not valid
	signed  string            // and one where they are
}

func (z *zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative, m.RecursionAvailable = true, true
	name := dns.CanonicalName(q.Question[0].Name)
	line := func(format string, args ...any) {
		rr, err := dns.NewRR(fmt.Sprintf(format, args...))
		if err == nil {
			m.Answer = append(m.Answer, rr)
		}
	}
	soa, _ := dns.NewRR("example.test. 1 SOA ns.example.test. hostmaster.example.test. 1 1 1 1 1")
	m.AuthenticatedData = z.signed != "" && strings.HasSuffix(name, z.signed)
	alias, isAlias := z.aliases[name]
	refused := func(name string) bool {
		return z.bogus != "" && strings.HasSuffix(name, z.bogus) && !q.CheckingDisabled
	}
	switch qtype := q.Question[0].Qtype; {
	case refused(name), refused(alias) && qtype != dns.TypeCNAME:
		m.Rcode = dns.RcodeServerFailure
	case isAlias:
		line("%s 1 CNAME %s", name, alias)
	case qtype == dns.TypeSOA && name == "example.test.":
		m.Answer = append(m.Answer, soa)
	case qtype == dns.TypeNS && name == "example.test.":
		line("example.test. 1 NS ns.example.test.")
	case qtype == dns.TypeA:
		line("%s 1 A 127.0.0.1", name)
	case qtype == dns.TypeTXT:
		data, _ := os.ReadFile(z.texts)
		for text := range strings.Lines(string(data)) {
			if f := strings.Fields(text); len(f) == 2 && dns.CanonicalName(f[0]) == name {
				line("%s 1 TXT %q", name, f[1])
			}
		}
	}
	if len(m.Answer) == 0 && m.Rcode == dns.RcodeSuccess {
		m.Ns = append(m.Ns, soa)
	}
	_ = w.WriteMsg(m)
}

// serve starts z at a port of 127.0.0.1 and returns that.
func (z *zone) serve(t *testing.T) int {
	t.Helper()
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: packets, Handler: z}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = packets.Close(); <-done })
	return packets.LocalAddr().(*net.UDPAddr).Port
}

// hookBench is a bench whose names are proven by a hook in z, and its runner.
func hookBench(t *testing.T, z *zone, start string) (*bench, *hooks.Runner) {
	t.Helper()
	b := newBench(t, acmetest.Options{})
	z.texts = filepath.Join(t.TempDir(), "texts")
	port := z.serve(t)
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, b.ca.RootsPEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	b.write("conf/certd.yaml", fmt.Sprintf("cas:\n  - {name: testca, directory: %q, ca-bundle: %q}\nchallenge: {http-port: %d, tls-port: %d, resolver: \"127.0.0.1:%d\", dns-port: %d, dns-settle: 0s}\n",
		b.ca.URL(), bundle, b.ca.HTTPPort(), b.ca.TLSPort(), port, port))
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\ncase $1 in\nchallenge-dns-start) %s ;;\nchallenge-dns-stop) rm -f %s ;;\n*) exit 42 ;;\nesac\n", strings.ReplaceAll(start, "FILE", z.texts), z.texts)
	if err := os.WriteFile(filepath.Join(dir, "dns"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return b, &hooks.Runner{Dirs: []string{dir}}
}

func examine(t *testing.T, b *bench, runner *hooks.Runner, name string) []doctor.Finding {
	t.Helper()
	return doctor.Run(t.Context(), doctor.Options{StateDir: b.dir, Names: []string{name}, Hooks: runner, Webroot: t.TempDir()})
}

// A random record is set and removed as at an order; what stands in its way is told.
func TestRecordIsTried(t *testing.T) {
	t.Parallel()
	z := &zone{aliases: map[string]string{
		"_acme-challenge.loop.example.test.":  "a.example.test.",
		"a.example.test.":                     "_acme-challenge.loop.example.test.",
		"_acme-challenge.alias.example.test.": "x7.example.test.",
	}}
	b, runner := hookBench(t, z, `echo "$CERTD_DNS_RECORD $4" >>FILE`)
	b.want(examine(t, b, runner, "*.example.test"), "dns-01", doctor.OK, "set by hooks, and seen on every name server")
	if _, err := os.Stat(z.texts); err == nil {
		t.Error("the record was not removed")
	}
	b.write("conf/target", "request: {challenge: {method: dns}}\n")
	found := examine(t, b, runner, "www.example.test")
	b.want(found, "dns-01", doctor.OK, "random record")
	for _, f := range found {
		if strings.HasPrefix(f.Check, "http-01") || strings.HasPrefix(f.Check, "port") {
			t.Errorf("with the method dns the doctor looks at %s: %+v", f.Check, f)
		}
	}
	b.want(examine(t, b, runner, "loop.example.test"), "delegation", doctor.Failure, "is a circle")
	found = examine(t, b, runner, "alias.example.test")
	b.want(found, "delegation", doctor.OK, "x7.example.test, where the record is written")
	b.want(found, "dns-01", doctor.OK, "random record")
	b.write("conf/target", "request: {challenge: {method: dns, delegate: y8.example.test}}\n")
	b.want(examine(t, b, runner, "alias.example.test"), "delegation", doctor.Failure, "_acme-challenge.alias.example.test. CNAME y8.example.test.")
	b.want(examine(t, b, runner, "192.0.2.1"), "method", doctor.Failure, "not proven in the DNS")
	b.write("conf/target", "request: {challenge: {method: dns}}\n")
	b.want(examine(t, b, nil, "www.example.test"), "method", doctor.Failure, "nothing sets DNS records")
	b.write("conf/target", "request: {challenge: {dns-provider: nosuch}}\n")
	b.want(examine(t, b, nil, "www.example.test"), "dns-01", doctor.Failure, "certd-dns")
}

// A hook that fails, and one whose record nobody sees.
func TestRecordThatFails(t *testing.T) {
	t.Parallel()
	b, runner := hookBench(t, &zone{}, "echo no zone for you >&2; exit 1")
	b.want(examine(t, b, runner, "*.example.test"), "dns-01", doctor.Failure, "no zone for you")
}

// What a validating resolver refuses, and has nevertheless, is bogus.
func TestDNSSEC(t *testing.T) {
	t.Parallel()
	z := &zone{bogus: "bogus.example.test.", signed: "signed.example.test."}
	b, runner := hookBench(t, z, "exit 42")
	b.want(examine(t, b, runner, "www.bogus.example.test"), "dnssec", doctor.Failure, "signatures are not valid")
	b.want(examine(t, b, runner, "www.signed.example.test"), "dnssec", doctor.OK, "valid")
	for _, f := range examine(t, b, runner, "www.example.test") {
		if f.Check == "dnssec" {
			t.Errorf("a zone without signatures: %+v", f)
		}
	}
}

// Nor do CAs get a record that is an alias for one in such a zone.
func TestDNSSECOfAlias(t *testing.T) {
	t.Parallel()
	z := &zone{bogus: "elsewhere.", aliases: map[string]string{"_acme-challenge.web.example.test.": "x7.elsewhere."}}
	b, runner := hookBench(t, z, "exit 42")
	b.write("conf/target", "request: {challenge: {method: dns}}\n")
	b.want(examine(t, b, runner, "web.example.test"), "delegation", doctor.Failure, "_acme-challenge.web.example.test is bogus")
}

// The record that stays is printed with the account that is there, and checked;
// and CAA records are judged by the challenges that the name has.
func TestPersistentRecord(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	b.want(b.run("*.example.test"), "dns-persist-01", doctor.Warning, "there is none yet -> certd quickstart registers one")
	account := register(t, b)
	text := "pebble.letsencrypt.org; accounturi=" + account + "; policy=wildcard"
	found := b.run("*.example.test")
	b.want(found, "dns-persist-01", doctor.Warning, `_validation-persist.example.test. TXT "`+text+`"`)
	b.want(found, "method", doctor.Failure, "nothing sets DNS records")
	b.ca.DNS().AddDNSTXTRecord("_validation-persist.example.test.", text)
	b.ca.DNS().AddDNSCAARecord("example.test.", []challtestsrv.CAAPolicy{{Tag: "issue", Value: "pebble.letsencrypt.org; validationmethods=dns-01; accounturi=" + account}})
	found = b.run("*.example.test")
	b.want(found, "dns-persist-01", doctor.OK, "lets testca issue")
	b.want(found, "caa", doctor.OK, "testca")
	b.want(b.run("www.example.test"), "caa", doctor.Failure, "not by http-01 or tls-alpn-01")
	b.write("conf/target", "request: {challenge: {method: webroot}}\n")
	b.want(b.run("www.example.test"), "caa", doctor.Failure, "not by http-01")
}

// register makes an account at the CA of b, known to its state directory.
func register(t *testing.T, b *bench) string {
	t.Helper()
	key := newKey(t)
	client, err := acme.New(acme.Options{Directory: b.ca.URL(), Key: key, RootsPEM: b.ca.RootsPEM()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	made, err := client.Register(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := state.Open(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := store.Lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	if err := store.SaveAccount(&state.Account{Directory: b.ca.URL(), Key: key, URL: made.URL}); err != nil {
		t.Fatal(err)
	}
	return made.URL
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
