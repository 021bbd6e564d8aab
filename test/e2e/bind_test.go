package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"certd/test/ports"
)

// A bind is two real BINDs with the zones example.com and acme.example.net: a
// primary that takes signed updates, and a secondary that fetches them late.
// They are at one port of 127.0.0.1 and of ::1, as name servers have one port.
type bind struct {
	t                  testing.TB
	dir                string
	port               int
	primary, secondary string // addresses
}

const tsigSecret = "c2VjcmV0IG9mIHRoZSB0ZXN0cyBvZiBjZXJ0ZCwgMzIgYg=="

const namedConf = `key "certd." { algorithm hmac-sha256; secret "` + tsigSecret + `"; };
options {
	directory "%[1]s";
	pid-file none;
	session-keyfile none;
	listen-on port %[2]d { %[3]s; };
	listen-on-v6 port %[2]d { %[4]s; };
	recursion yes;
	allow-recursion { any; };
	notify no;
	dnssec-validation no;
	allow-transfer { any; };
	allow-query { any; };
	empty-zones-enable no;
};
controls { };
logging { category default { default_stderr; }; };
`

const zoneFile = `$TTL 1
@ SOA ns1 hostmaster.example.com. 1 2 1 1000 1
@ NS ns1
@ NS ns2
ns1 A 127.0.0.1
ns2 AAAA ::1
@ A 127.0.0.1
* A 127.0.0.1
%s
`

// startBIND starts both; extra are more lines of the zone example.com.
func startBIND(t testing.TB, extra string) *bind {
	t.Helper()
	named := needProgram(t, "named")
	if six, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skipf("the second BIND has ::1, which this machine has not: %v", err) // BIND takes no other address of lo
	} else {
		_ = six.Close()
	}
	b := &bind{t: t, dir: t.TempDir()}
	b.primary, b.secondary = "127.0.0.1", "::1"
	b.port = ports.Free(t)
	zones := map[string]string{"example.com": extra, "acme.example.net": ""}
	for _, server := range []string{b.primary, b.secondary} {
		dir, v4, v6 := filepath.Join(b.dir, "primary"), "127.0.0.1", "none"
		if server == b.secondary {
			dir, v4, v6 = filepath.Join(b.dir, "secondary"), "none", "::1"
		}
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		conf := fmt.Sprintf(namedConf, dir, b.port, v4, v6)
		for zone, lines := range zones {
			if server == b.primary {
				conf += fmt.Sprintf("zone %q { type primary; file %q; update-policy { grant certd. zonesub ANY; }; };\n", zone, zone)
				write(t, filepath.Join(dir, zone), fmt.Sprintf(zoneFile, lines))
			} else {
				conf += fmt.Sprintf("zone %q { type secondary; file %q; primaries port %d { %s; }; min-refresh-time 1; max-refresh-time 2; min-retry-time 1; max-retry-time 2; };\n",
					zone, zone, b.port, b.primary)
			}
		}
		write(t, filepath.Join(dir, "named.conf"), conf)
		b.start(named, dir)
	}
	waitFor(t, "both BINDs have the zones", func() bool {
		return len(b.query(b.primary, "ns1.example.com", dns.TypeA)) > 0 && len(b.query(b.secondary, "ns1.acme.example.net", dns.TypeA)) > 0
	})
	return b
}

func (b *bind) start(named, dir string) {
	var log bytes.Buffer
	cmd := exec.Command(named, "-g", "-n", "1", "-U", "1", "-c", filepath.Join(dir, "named.conf"))
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if b.t.Failed() {
			b.t.Logf("named in %s:\n%s", dir, tail(log.String(), 3000))
		}
	})
}

func write(t testing.TB, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o666); err != nil {
		t.Fatal(err)
	}
}

// addr is the address of the primary, which serves as resolver as well: it has
// all zones there are.
func (b *bind) addr() string { return net.JoinHostPort(b.primary, fmt.Sprint(b.port)) }

// query asks one of the servers.
func (b *bind) query(server, name string, qtype uint16) []dns.RR {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	client := &dns.Client{Timeout: 10 * time.Second}
	answer, _, err := client.Exchange(m, net.JoinHostPort(server, fmt.Sprint(b.port)))
	if err != nil {
		return nil
	}
	return answer.Answer
}

// texts are the TXT records of a name at the primary.
func (b *bind) texts(name string) []string {
	var all []string
	for _, rr := range b.query(b.primary, name, dns.TypeTXT) {
		if txt, ok := rr.(*dns.TXT); ok {
			all = append(all, strings.Join(txt.Txt, ""))
		}
	}
	return all
}

// settings are the lines of certd.yaml for it.
func (b *bind) settings() string {
	return fmt.Sprintf("challenge: {resolver: %q, dns-port: %d, dns-settle: 0s}\n", b.addr(), b.port)
}

// envFile writes the variables of lego's provider rfc2136.
func (b *bind) envFile(s *site) string {
	s.t.Helper()
	s.write("dns.env", "# TSIG\nRFC2136_NAMESERVER="+b.addr()+"\nexport RFC2136_TSIG_KEY=certd.\nRFC2136_TSIG_ALGORITHM='hmac-sha256.'\nRFC2136_TSIG_SECRET=\""+tsigSecret+"\"\nRFC2136_PROPAGATION_TIMEOUT=60\nRFC2136_POLLING_INTERVAL=1\nRFC2136_TTL=1\n")
	path := filepath.Join(s.dir, "dns.env")
	if err := os.Chmod(path, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// setEnv changes a line of such a file, or adds one.
func (s *site) setEnv(path, name, value string) {
	s.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	text := name + "=" + value + "\n"
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, name+"=") {
			text += line
		}
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// needHelper puts certd-dns beside certd, built once. The first time that takes
// minutes, so a plain go test does without it unless it is there already.
func needHelper(t testing.TB) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(certdPath), "certd-dns")
	helperBuild.Lock()
	defer helperBuild.Unlock()
	if _, err := os.Stat(path); err == nil {
		return path
	}
	built, err := filepath.Abs("../../bin/certd-dns")
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("CERTD_TEST_REQUIRE") != "" {
		built = path
		if out, err := exec.Command("../../build/dns.sh", built).CombinedOutput(); err != nil {
			t.Fatalf("build certd-dns: %v\n%s", err, out)
		}
		return path
	}
	if err := os.Link(built, path); err != nil {
		if err = errors.Join(os.Symlink(built, path)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); err != nil {
		_ = os.Remove(path)
		t.Skip("bin/certd-dns is not there; make build makes it")
	}
	return path
}

// tail is the end of a long text.
func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// update adds (or deletes) a TXT record at the primary, as an operator would.
func (b *bind) update(t testing.TB, add bool, name, value string) {
	t.Helper()
	m := new(dns.Msg).SetUpdate("example.com.")
	rr := []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 1}, Txt: []string{value}}}
	if add {
		m.Insert(rr)
	} else {
		m.Remove(rr)
	}
	m.SetTsig("certd.", dns.HmacSHA256, 300, time.Now().Unix())
	client := &dns.Client{Timeout: 30 * time.Second, TsigSecret: map[string]string{"certd.": tsigSecret}}
	if answer, _, err := client.Exchange(m, b.addr()); err != nil || answer.Rcode != dns.RcodeSuccess {
		t.Errorf("update %s: %v %v", name, answer, err)
	}
}

// nsupdate is a shell command that reads one line such as "update add NAME 1 TXT VALUE".
func (b *bind) nsupdate() string {
	needProgram(b.t, "nsupdate")
	return fmt.Sprintf(`nsupdate_() { printf 'server %s %d\n%%s\nsend\n' "$1" | nsupdate -y 'hmac-sha256:certd.:%s'; }`, b.primary, b.port, tsigSecret)
}
