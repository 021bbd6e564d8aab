package issue

import (
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"sync"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
)

// A single is a DNS provider that keeps one value, whatever the record.
type single struct {
	txt
	queue string

	mu   sync.Mutex
	busy int // records at the moment
	most int
}

func (s *single) Sequence(context.Context) (string, time.Duration) { return s.queue, time.Millisecond }

func (s *single) Present(_ context.Context, id acme.Identifier, ch acme.Challenge) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy++
	s.most = max(s.most, s.busy)
	sum := sha256.Sum256([]byte(ch.KeyAuthorization))
	s.data.DeleteDNSTXTRecord("_acme-challenge." + id.Value + ".")
	s.data.AddDNSTXTRecord("_acme-challenge."+id.Value+".", base64.RawURLEncoding.EncodeToString(sum[:]))
	return nil
}

func (s *single) CleanUp(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
	return s.txt.CleanUp(ctx, id, ch)
}

// A name and its wildcard have one record: a provider that keeps one value has
// them proven one after the other, others together.
func TestOneAfterTheOther(t *testing.T) {
	t.Parallel()
	for queue, most := range map[string]int{"duckdns": 1, "": 3} {
		ca := acmetest.StartT(t, acmetest.Options{})
		b := &bench{t: t, ca: ca, account: ecKey(t, elliptic.P256()), solver: newSolver(), disk: newDisk()}
		b.register()
		i := b.issuer()
		s := &single{txt: txt{data: ca.DNS(), shown: map[string]int{}}, queue: queue}
		i.Solvers = map[string]Solver{"dns-01": s}
		names := []string{"*.example.com", "example.com", "www.example.com"}
		if queue == "" { // the record is overwritten, too, so names differ
			names = []string{"a.example.com", "b.example.com", "c.example.com"}
		}
		if _, err := i.Issue(t.Context(), b.request(names...)); err != nil {
			t.Errorf("with the queue %q: %v", queue, err)
		}
		if s.most != most || s.busy != 0 {
			t.Errorf("with the queue %q: %d records at once, want %d; %d left", queue, s.most, most, s.busy)
		}
	}
}

// A failure ends the rounds; nothing is left, and later names are not touched.
func TestRoundsEnd(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	b := &bench{t: t, ca: ca, account: ecKey(t, elliptic.P256()), solver: newSolver(), disk: newDisk()}
	b.register()
	i := b.issuer()
	s := &single{txt: txt{data: ca.DNS(), shown: map[string]int{}}, queue: "x"}
	i.Solvers = map[string]Solver{"dns-01": unseen{s}}
	if _, err := i.Issue(t.Context(), b.request("a.example.com", "b.example.com")); !errors.Is(err, errUnseen) {
		t.Errorf("got %v, want what Wait said", err)
	}
	if s.most != 1 || s.busy != 0 || s.used("b.example.com") && s.used("a.example.com") {
		t.Errorf("%d records at once, %d left, used: %v", s.most, s.busy, s.shown)
	}
}

var errUnseen = errors.New("nobody shows it")

// An unseen provider's records are never visible; it is asked although the
// request wants no self-test.
type unseen struct{ *single }

func (unseen) Wait(context.Context, acme.Identifier, acme.Challenge) error { return errUnseen }
