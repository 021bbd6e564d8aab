package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"certd/acme/acmetest"
)

// A slowPath is a way to a primary BIND on which the answers to the first updates
// that add a record come late: when hold returns.
type slowPath struct {
	to    string
	hold  func()        // called for each answer to such an update
	adds  chan struct{} // gets one of each update that adds, as far as there is room
	first int

	mu   sync.Mutex
	seen int
}

// addr serves the path at a port of 127.0.0.1 and returns that.
func (p *slowPath) addr(t *testing.T) string {
	t.Helper()
	here, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			packet := make([]byte, 64<<10)
			n, from, err := here.ReadFrom(packet)
			if err != nil {
				return
			}
			all.Go(func() { p.pass(packet[:n], func(answer []byte) { _, _ = here.WriteTo(answer, from) }) })
		}
	})
	t.Cleanup(func() { _ = here.Close(); all.Wait() })
	return here.LocalAddr().String()
}

// pass hands a packet on, and its answer back.
func (p *slowPath) pass(packet []byte, reply func([]byte)) {
	conn, err := net.Dial("udp4", p.to)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write(packet); err != nil {
		return
	}
	answer := make([]byte, 64<<10)
	n, err := conn.Read(answer)
	if err != nil {
		return
	}
	if p.adding(packet) {
		p.hold()
	}
	reply(answer[:n])
}

// adding reports whether a packet is one of the first updates that add a record.
func (p *slowPath) adding(packet []byte) bool {
	m := new(dns.Msg)
	if m.Unpack(packet) != nil || m.Opcode != dns.OpcodeUpdate || len(m.Ns) == 0 || m.Ns[0].Header().Class != dns.ClassINET {
		return false
	}
	select {
	case p.adds <- struct{}{}:
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen++
	return p.seen <= p.first
}

// What certd-dns of a killed run does late does not undo what the next run, with
// the same challenge, has set: that waits until it is done.
func TestDNSKilledLate(t *testing.T) {
	t.Parallel()
	needHelper(t)
	b := startBIND(t, "")
	ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
	s := dnsSite(t, b, ca, "")
	env := b.envFile(s)
	path := &slowPath{to: b.addr(), first: 1, adds: make(chan struct{}, 8)}
	killed := make(chan struct{})
	kill := sync.OnceFunc(func() { close(killed) })
	path.hold = func() { // the next run sets the record as well, or waits
		<-path.adds // this one
		<-killed
		timer := time.NewTimer(5 * time.Second)
		defer timer.Stop()
		select {
		case <-path.adds:
		case <-timer.C:
		}
	}
	s.setEnv(env, "RFC2136_NAMESERVER", path.addr(t))
	t.Cleanup(kill) // before that of the path, which waits for hold
	s.setEnv(env, "RFC2136_DNS_TIMEOUT", "170")
	s.write("acme/conf/target", fmt.Sprintf("request: {challenge: {method: dns, dns-provider: rfc2136, dns-env-file: %q}}\n", env))
	const name = "www.example.com"
	s.killWhen("the record", func() bool { return len(b.texts("_acme-challenge."+name)) > 0 }, "want", name)
	kill()
	s.must(0, "reconcile")
	s.leaf(name)
	wantNoRecord(t, b, s, "_acme-challenge."+name)
	path.mu.Lock()
	defer path.mu.Unlock()
	if path.seen != 2 {
		t.Errorf("the record was set %d times, want once by the run that was killed and once by the next", path.seen)
	}
}

// Neither does what a hook of a killed run does late: the next run, which nothing
// is left for but the journal, waits for it.
func TestDNSHookKilledLate(t *testing.T) {
	t.Parallel()
	b := startBIND(t, "")
	ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
	s := dnsSite(t, b, ca, "")
	s.script("hooks/dns.hook", b.nsupdate()+fmt.Sprintf(`
case $1 in
challenge-dns-start) touch %[1]s/begun; sleep 3; nsupdate_ "update add _acme-challenge.$2. 1 TXT $4"; touch %[1]s/done ;;
challenge-dns-stop) nsupdate_ "update delete _acme-challenge.$2. TXT $4" ;;
*) exit 42 ;;
esac
`, s.dir))
	there := func(name string) bool {
		_, err := os.Stat(filepath.Join(s.dir, name))
		return err == nil
	}
	const name = "www.example.com"
	s.killWhen("the hook has begun", func() bool { return there("begun") }, "want", name)
	_ = os.Remove(filepath.Join(s.state, "desired", name))
	_ = os.RemoveAll(filepath.Join(s.state, "orders"))
	s.must(0, "reconcile")
	waitFor(t, "the hook has ended", func() bool { return there("done") })
	wantNoRecord(t, b, s, "_acme-challenge."+name)
}
