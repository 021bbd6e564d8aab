package challenge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"certd/acme"
	"certd/challenge"
	"certd/challenge/challengetest"
	"certd/test/ports"

	"github.com/miekg/dns"
)

// A zone is a DNS server of records "name type value"; a name without records
// does not exist.
type zone struct {
	mu      sync.Mutex
	records map[string][]dns.RR
	rcode   map[string]int // by name, instead of an answer
	asked   []string
}

func (z *zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := new(dns.Msg)
	m.SetReply(q)
	name := q.Question[0].Name
	z.asked = append(z.asked, name)
	switch records, ok := z.records[name]; {
	case z.rcode[name] != 0:
		m.Rcode = z.rcode[name]
	case !ok:
		m.Rcode = dns.RcodeNameError
	default:
		for _, rr := range records {
			if t := rr.Header().Rrtype; t == q.Question[0].Qtype || t == dns.TypeCNAME {
				m.Answer = append(m.Answer, rr)
			}
		}
	}
	_ = w.WriteMsg(m)
}

// serveDNS returns the address of a server for records in zone file syntax.
func serveDNS(t *testing.T, records ...string) (*zone, string) {
	t.Helper()
	z := &zone{records: map[string][]dns.RR{}, rcode: map[string]int{}}
	for _, record := range records {
		rr, err := dns.NewRR(record)
		must(t, err)
		z.records[rr.Header().Name] = append(z.records[rr.Header().Name], rr)
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	return z, startDNS(t, &dns.Server{PacketConn: pc, Handler: z}, pc.LocalAddr())
}

func startDNS(t *testing.T, s *dns.Server, addr net.Addr) string {
	done := make(chan error, 1)
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	go func() { done <- s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		_ = s.Shutdown()
		<-done
	})
	return addr.String()
}

// serveAt serves h on addr and the port, which it returns; port 0 is any.
func serveAt(t *testing.T, addr string, port int, h http.HandlerFunc) int {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(addr, fmt.Sprint(port)))
	if err != nil {
		t.Skipf("this machine has no %s: %v", addr, err)
	}
	s := httptest.NewUnstartedServer(h)
	_ = s.Listener.Close()
	s.Listener = ln
	s.Start()
	t.Cleanup(s.Close)
	return ln.Addr().(*net.TCPAddr).Port
}

func answer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", strings.ReplaceAll(to, "PATH", r.URL.Path))
		w.WriteHeader(http.StatusFound)
	}
}

func www() acme.Identifier { return acme.NewIdentifier("www.example.com") }

// short is a limit for tests that expect failure: one try.
const short = time.Nanosecond

func TestSelfTestAnswers(t *testing.T) {
	t.Parallel()
	ch := challengetest.Challenge(token)
	thumbprint := challengetest.Thumbprint()
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		want string // part of the error; empty for success
	}{
		{"right", answer(ch.KeyAuthorization), ""},
		{"white space after it", answer(ch.KeyAuthorization + " \r\n\n"), ""},
		{"white space before it", answer(" " + ch.KeyAuthorization), `200, body "(key authorization)"`},
		{"something after it", answer(ch.KeyAuthorization + "x"), `200, body "(key authorization)x"`},
		{"right, but 404", status(404, ch.KeyAuthorization), `404, body "(key authorization)"`},
		{"right, but 201", status(201, ch.KeyAuthorization), `201, body`},
		{"not found", status(404, "<html>nginx</html>"), `: 404, body "<html>nginx</html>"`},
		{"no content", status(204, ""), `: 204, empty body`},
		{"empty", answer(""), `: 200, empty body`},
		{"token only", answer(token), `: 200, body "(token)"`},
		{"thumbprint only", answer(thumbprint), `: 200, body "(thumbprint)"`},
		{"other account", answer(token + ".nP1qzpXGymHBrUEepNY9HCsQk7K8KhOypzEt62jcerQ"), `200, but with the thumbprint of another account key`},
		{"control characters", status(500, "a\x1b[31m\r\nb\x00"), `: 500, body "a`},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat("A", 1<<10)); err != nil {
					return
				}
			}
		}, `: 200, body "AAAA`},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, `: EOF`},
		{"hangs up in the body", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "part")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, `: 200, then the body ended early`},
		{"huge header", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("A", 64<<10)) }, `header`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			port := serveAt(t, "127.0.0.1", 0, c.h)
			_, server := serveDNS(t, "www.example.com. A 127.0.0.1")
			s := &challenge.SelfTest{Port: port, Resolver: server, Limit: short}
			if c.want == "" {
				s.Limit = time.Minute
			}
			checkError(t, s.Check(t.Context(), www(), ch), c.want, ch)
		})
	}
}

// checkError compares an error with what it must say, and with what none may say.
func checkError(t *testing.T, err error, want string, ch acme.Challenge) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("got the error %v, want none", err)
		}
		return
	}
	if err == nil {
		t.Fatalf("got no error, want one with %q", want)
	}
	text := err.Error()
	if !strings.Contains(text, want) {
		t.Errorf("got the error %q, want one with %q", text, want)
	}
	_, thumbprint, _ := strings.Cut(ch.KeyAuthorization, ".")
	if strings.Contains(text, thumbprint) || strings.ContainsAny(text, "\n\r\x00\x1b") || len(text) > 2048 {
		t.Errorf("the error is not one short line without the key authorization: %q", text)
	}
}

func TestSelfTestMessage(t *testing.T) {
	t.Parallel()
	port := serveAt(t, "127.0.0.1", 0, status(404, "<html>"))
	_, server := serveDNS(t, "www.example.com. A 127.0.0.1")
	dir := t.TempDir()
	h, err := challenge.New(challenge.Config{Method: "webroot", Webroots: []string{dir}, StandardWebroot: "/proc/none/x/y", HTTPPort: port, Resolver: server, SelfTest: true})
	must(t, err)
	h.SelfTest.Limit = short
	id, ch := challengetest.New("www.example.com")
	must(t, h.Present(t.Context(), id, ch))
	want := fmt.Sprintf(`self-test of www.example.com: http://www.example.com:%d/.well-known/acme-challenge/… from 127.0.0.1: 404, body "<html>"; `+
		`the web server must serve the files of %s under /.well-known/acme-challenge/; `+
		`did not work: webroot /proc/none/x/y: create directory: /proc/none/x does not exist; create it, or correct request.challenge.webroot-paths: no such file or directory`, port, dir)
	if err := h.Wait(t.Context(), id, ch); err == nil || err.Error() != want {
		t.Errorf("got the error\n%v, want\n%s", err, want)
	}
	must(t, h.CleanUp(t.Context(), id, ch))
	h.SelfTest = nil
	if err := h.Wait(t.Context(), id, ch); err != nil {
		t.Errorf("Wait without a self-test: %v", err)
	}
}

// What a CA makes of several addresses: one wrong answer is wrong, one that
// cannot be reached is not.
func TestSelfTestAddresses(t *testing.T) {
	t.Parallel()
	ch := challengetest.Challenge(token)
	right, wrong := answer(ch.KeyAuthorization), status(404, "no")
	for _, c := range []struct {
		name   string
		v4, v6 http.HandlerFunc // nil: nothing listens
		want   string
	}{
		{"both right", right, right, ""},
		{"v6 only", nil, right, ""},
		{"v4 only", right, nil, ""},
		{"v6 wrong", right, wrong, "from ::1: 404"},
		{"v4 wrong", wrong, right, "from 127.0.0.1: 404"},
		{"neither listens", nil, nil, "; http"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			port := ports.Free(t)
			if c.v4 != nil {
				serveAt(t, "127.0.0.1", port, c.v4)
			}
			if c.v6 != nil {
				serveAt(t, "::1", port, c.v6)
			}
			_, server := serveDNS(t, "www.example.com. A 127.0.0.1", "www.example.com. AAAA ::1")
			s := &challenge.SelfTest{Port: port, Resolver: server, Limit: short}
			if c.want == "" {
				s.Limit = time.Minute
			}
			checkError(t, s.Check(t.Context(), www(), ch), c.want, ch)
		})
	}
}

func TestSelfTestIPIdentifiers(t *testing.T) {
	t.Parallel()
	ch := challengetest.Challenge(token)
	for _, addr := range []string{"127.0.0.1", "::1"} {
		t.Run(addr, func(t *testing.T) {
			t.Parallel()
			var host atomic.Value
			port := serveAt(t, addr, 0, func(w http.ResponseWriter, r *http.Request) {
				host.Store(r.Host)
				_, _ = io.WriteString(w, ch.KeyAuthorization)
			})
			s := &challenge.SelfTest{Port: port, Resolver: "127.0.0.1:1"}
			checkError(t, s.Check(t.Context(), acme.NewIdentifier(addr), ch), "", ch)
			if want := net.JoinHostPort(addr, fmt.Sprint(port)); host.Load() != want {
				t.Errorf("Host was %q, want %q", host.Load(), want)
			}
		})
	}
}

// A file that becomes visible late (a reload, NFS) is waited for.
func TestSelfTestTriesAgain(t *testing.T) {
	t.Parallel()
	ch := challengetest.Challenge(token)
	var tries atomic.Int32
	port := serveAt(t, "127.0.0.1", 0, func(w http.ResponseWriter, r *http.Request) {
		if tries.Add(1) < 3 {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, ch.KeyAuthorization)
	})
	_, server := serveDNS(t, "www.example.com. A 127.0.0.1")
	s := &challenge.SelfTest{Port: port, Resolver: server, Limit: time.Minute}
	checkError(t, s.Check(t.Context(), www(), ch), "", ch)
	if got := tries.Load(); got < 3 { // more if one took too long
		t.Errorf("%d tries, want 3", got)
	}
}

// A server that says nothing does not outlast the context.
func TestSelfTestCancelled(t *testing.T) {
	t.Parallel()
	ch := challengetest.Challenge(token)
	ctx, cancel := context.WithCancel(t.Context())
	port := serveAt(t, "127.0.0.1", 0, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	_, server := serveDNS(t, "www.example.com. A 127.0.0.1")
	err := (&challenge.SelfTest{Port: port, Resolver: server}).Check(ctx, www(), ch)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got the error %v, want context.Canceled", err)
	}
}
