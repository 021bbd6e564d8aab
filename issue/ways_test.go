package issue

import (
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/letsencrypt/challtestsrv"

	"certd/acme"
	"certd/acme/acmetest"
)

// A txt answers dns-01 in the CA's own DNS.
type txt struct {
	data *challtestsrv.ChallSrv

	mu    sync.Mutex
	shown map[string]int // Presents less CleanUps, by identifier
}

func (s *txt) Present(_ context.Context, id acme.Identifier, ch acme.Challenge) error {
	sum := sha256.Sum256([]byte(ch.KeyAuthorization))
	s.data.AddDNSTXTRecord("_acme-challenge."+id.Value+".", base64.RawURLEncoding.EncodeToString(sum[:]))
	s.count(id, 1)
	return nil
}

func (s *txt) CleanUp(_ context.Context, id acme.Identifier, _ acme.Challenge) error {
	s.data.DeleteDNSTXTRecord("_acme-challenge." + id.Value + ".")
	s.count(id, -1)
	return nil
}

func (s *txt) count(id acme.Identifier, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown[id.Value] += n
}

func (s *txt) used(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, used := s.shown[name]
	return used
}

// What cannot be presented, or seen from here, is proven in the next way, before
// the CA has heard of the first.
func TestAnotherWayWithoutTheCAsHelp(t *testing.T) {
	t.Parallel()
	refuse := errors.New("port 80 in use")
	for _, tt := range []struct {
		about string
		spoil func(*solver)
	}{
		{"it cannot be presented", func(s *solver) { s.present = func(acme.Identifier) error { return refuse } }},
		{"it cannot be seen", func(s *solver) { s.wait = func(context.Context, string) error { return refuse } }},
	} {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			ca := acmetest.StartT(t, acmetest.Options{})
			b := &bench{t: t, ca: ca, account: ecKey(t, elliptic.P256()), solver: newSolver(), disk: newDisk()}
			b.solver.serve(t, ca.HTTPPort())
			b.register()
			tt.spoil(b.solver)
			records := &txt{data: ca.DNS(), shown: map[string]int{}}
			i := b.issuer()
			i.Solvers["dns-01"] = records
			if _, err := i.Issue(t.Context(), b.request("a.example.com", "b.example.com")); err != nil {
				t.Fatalf("issue: %v", err)
			}
			if !records.used("a.example.com") || !records.used("b.example.com") {
				t.Error("dns-01 was not used for both names")
			}
			if got := b.count("challenge"); got != 2 {
				t.Errorf("the CA was told to look %d times, want 2", got)
			}
			for name, n := range records.shown {
				if n > 0 {
					t.Errorf("the record of %s is left behind", name)
				}
			}
			if left := b.solver.left(); len(left) > 0 {
				t.Errorf("http-01 left answers behind: %v", left)
			}
		})
	}
}

// With no way left, the error has the reason of each.
func TestNoWayLeftTellsEveryReason(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	b.solver.present = func(acme.Identifier) error { return errors.New("port 80 in use by nginx (pid 812)") }
	i := b.issuer()
	second := newSolver()
	second.present = func(acme.Identifier) error { return errors.New("port 443 in use by haproxy (pid 813)") }
	i.Solvers["tls-alpn-01"] = second
	i.Unusable = map[string]string{"dns-01": "no provider set", "http-01": "never said, as it was tried"}
	_, err := i.Issue(t.Context(), b.request("a.example.com"))
	for _, want := range []string{"present http-01: port 80 in use by nginx (pid 812)", "present tls-alpn-01: port 443 in use by haproxy (pid 813); dns-01: no provider set", "a.example.com"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want it to say %q", err, want)
		}
	}
	i = b.issuer()
	i.Solvers = map[string]Solver{"dns-01": second}
	i.Unusable = map[string]string{"http-01": "the method is dns", "device-attest-01": "never heard of"}
	_, err = i.Issue(t.Context(), b.request("192.0.2.1"))
	if err == nil || !strings.Contains(err.Error(), "; http-01: the method is dns") || strings.Contains(err.Error(), "device-attest") || acme.ClassOf(err) != acme.ClassOperator {
		t.Errorf("the error is %v (%s), want the reason why http-01 is not used, and an operator", err, acme.ClassOf(err))
	}
}

// What failed at the CA comes last the next time, and the error says which it was.
func TestWhatFailedIsAvoided(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	b := &bench{t: t, ca: ca, account: ecKey(t, elliptic.P256()), solver: newSolver(), disk: newDisk()}
	b.solver.serve(t, ca.HTTPPort())
	b.register()
	b.solver.wrong = map[string]bool{"a.example.com": true}
	records := &txt{data: ca.DNS(), shown: map[string]int{}}
	i := b.issuer()
	i.Solvers["dns-01"] = records
	req := b.request("a.example.com")
	_, err := i.Issue(t.Context(), req)
	problem, ok := errors.AsType[*acme.Problem](err)
	if !ok || problem.Challenge != "http-01" || problem.Class != acme.ClassName {
		t.Fatalf("the error is %v, want a problem of http-01", err)
	}
	req.Avoid = []string{problem.Challenge}
	if _, err := i.Issue(t.Context(), req); err != nil {
		t.Errorf("avoiding http-01: %v", err)
	}
	if !records.used("a.example.com") {
		t.Error("dns-01 was not used")
	}
}
