package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"certd/acme/acmetest"
)

// doctorSite is a site where the doctor tries a record of www.example.com through
// path, which may be nil.
func doctorSite(t *testing.T, b *bind, ca *acmetest.CA, path *slowPath) *site {
	t.Helper()
	s := dnsSite(t, b, ca, "")
	env := b.envFile(s)
	if path != nil {
		s.setEnv(env, "RFC2136_NAMESERVER", path.addr(t))
	}
	s.write("acme/conf/target", fmt.Sprintf("request: {challenge: {method: dns, dns-provider: rfc2136, dns-env-file: %q}}\n", env))
	return s
}

const doctorRecord = "_acme-challenge.www.example.com"

// A doctor that is killed while its record is there leaves it in the journal, and
// the next doctor or reconcile removes it, be certd-dns still at work or not.
func TestDoctorKilled(t *testing.T) {
	t.Parallel()
	needHelper(t)
	b := startBIND(t, "")
	ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
	late := &slowPath{to: b.addr(), first: 1000, adds: make(chan struct{}), hold: func() { time.Sleep(3 * time.Second) }}
	for _, path := range []*slowPath{nil, late} {
		for _, next := range [][]string{{"reconcile"}, {"doctor", "www.example.com"}} {
			s := doctorSite(t, b, ca, path)
			s.killWhen("the doctor's record", func() bool { return len(b.texts(doctorRecord)) > 0 }, "doctor", "www.example.com")
			left, _ := os.ReadDir(filepath.Join(s.state, "dns")) // none if it was quicker than the kill
			r := s.run(next...)
			wantNoRecord(t, b, s, doctorRecord)
			if next[0] == "doctor" && len(left) > 0 && !strings.Contains(strings.Join(strings.Fields(r.out), " "), "a doctor that was killed had left, and that are removed now: 1") {
				t.Errorf("the next doctor does not say what it has removed: %v", r)
			}
		}
	}
}

// The same at random moments.
func TestDoctorKilledAnywhere(t *testing.T) {
	t.Parallel()
	needHelper(t)
	b := startBIND(t, "")
	ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
	s := doctorSite(t, b, ca, nil)
	for i := range 10 {
		s.runAndKill(time.Duration(rand.IntN(2500))*time.Millisecond, "doctor", "www.example.com")
		if i%3 == 1 {
			s.must(0, "reconcile")
			wantNoRecord(t, b, s, doctorRecord)
		}
	}
	s.run("doctor", "www.example.com")
	wantNoRecord(t, b, s, doctorRecord)
}

// A pass leaves the record of a doctor alone that is at work, and so does another
// doctor.
func TestDoctorBesideOthers(t *testing.T) {
	t.Parallel()
	needHelper(t)
	b := startBIND(t, "")
	ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
	released := make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	path := &slowPath{to: b.addr(), first: 1, adds: make(chan struct{}), hold: func() { <-released }}
	s := doctorSite(t, b, ca, path)
	t.Cleanup(release) // before that of the path, which waits for hold
	s.setEnv(filepath.Join(s.dir, "dns.env"), "RFC2136_DNS_TIMEOUT", "170")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := s.command(ctx, "doctor", "www.example.com")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the doctor's record", func() bool { return len(b.texts(doctorRecord)) > 0 })
	first := b.texts(doctorRecord)
	s.must(0, "want", "one.example.com")
	s.run("doctor", "www.example.com")
	if got := b.texts(doctorRecord); len(got) != 1 || got[0] != first[0] {
		t.Errorf("after a pass and a doctor beside it the record is %q, want %q alone", got, first)
	}
	release()
	_ = cmd.Wait() // its findings are looked at
	if !strings.Contains(out.String(), "a random record was set by rfc2136") || strings.Contains(out.String(), "journal") {
		t.Errorf("the doctor says:\n%s", out.String())
	}
	wantNoRecord(t, b, s, doctorRecord, "_acme-challenge.one.example.com")
}

// What root's doctor leaves in another user's state directory that user's certd
// removes; and a doctor that may not write there says what that means.
func TestDoctorOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	b := startBIND(t, "")
	ca := acmetest.StartT(t, acmetest.Options{Resolver: b.addr()})
	s := dnsSite(t, b, ca, "")
	s.script("hooks/dns.hook", b.nsupdate()+`
case $1 in
challenge-dns-start) nsupdate_ "update add _acme-challenge.$2. 1 TXT $4" ;;
challenge-dns-stop) nsupdate_ "update delete _acme-challenge.$2. TXT $4" ;;
*) exit 42 ;;
esac
`)
	openTo(t, certdPath, s.dir, s.hooks, s.state)
	asNobody := func(args ...string) (out string, err error) {
		cmd := s.command(t.Context(), args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		data, err := cmd.CombinedOutput()
		return strings.Join(strings.Fields(string(data)), " "), err
	}
	s.must(0, "reconcile") // makes the layout
	out, _ := asNobody("doctor", "www.example.com")
	for _, want := range []string{"a random record was set by hooks", "warning dns journal: random records cannot be journaled", "doctor.lock: permission denied"} {
		if !strings.Contains(out, want) {
			t.Errorf("a doctor that may not write does not say %q: %s", want, out)
		}
	}
	wantNoRecord(t, b, s, doctorRecord)
	give(t, s.state, nobody)
	s.killWhen("the doctor's record", func() bool { return len(b.texts(doctorRecord)) > 0 }, "doctor", "www.example.com")
	if out, err := asNobody("reconcile"); err != nil {
		t.Errorf("reconcile: %v, %s", err, out)
	}
	wantNoRecord(t, b, s, doctorRecord)
}
