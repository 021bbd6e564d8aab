package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"certd/acme/acmetest"
)

const (
	killSites    = 4
	killsPerSite = 50 // 200 kills in all
)

// TestSIGKILLAtRandomMoments kills the real binary at 200 random moments of an
// issuance. After each kill live/ holds only complete, matching pairs; the next
// reconcile converges; and the CA never saw a second order for a live one.
func TestSIGKILLAtRandomMoments(t *testing.T) {
	t.Parallel()
	orders := &orderCounter{byName: make(map[string]int)}
	ca := acmetest.StartT(t, acmetest.Options{Wrap: orders.wrap})
	webroot := serveWebroot(t, ca.HTTPPort())
	t.Run("sites", func(t *testing.T) { // returns when all of them are done
		for i := range killSites {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				seed := uint64(time.Now().UnixNano())
				t.Logf("seed %d", seed)
				killLoop(t, webrootSite(t, ca, webroot), orders, i, rand.New(rand.NewPCG(seed, 0)))
			})
		}
	})
	if rest, err := os.ReadDir(webroot); err != nil || len(rest) != 0 {
		t.Errorf("the webroot after convergence: %v, %v; want it empty", rest, err)
	}
}

func killLoop(t *testing.T, s *site, orders *orderCounter, site int, random *rand.Rand) {
	start := time.Now()
	s.must(0, "want", fmt.Sprintf("warm%d.example.test", site))
	span := time.Since(start)
	killed := 0
	for i := range killsPerSite {
		name := fmt.Sprintf("kill%d-%d.example.test", site, i)
		s.write("acme/desired/"+name, "")
		if s.runAndKill(time.Duration(random.Int64N(int64(span)))) {
			killed++
		}
		s.checkLive()
		s.must(0, "reconcile")
		s.checkLive()
		s.leaf(name)
		if n := orders.count(name); n != 1 {
			t.Errorf("%s: the CA accepted %d new orders, want 1", name, n)
		}
	}
	t.Logf("%d of %d runs were killed before they ended", killed, killsPerSite)
	if killed < killsPerSite/4 {
		t.Errorf("only %d of %d runs were killed before they ended: the test does not test", killed, killsPerSite)
	}
	if rest, err := os.ReadDir(filepath.Join(s.state, "orders")); err != nil || len(rest) != 0 {
		t.Errorf("orders/ after convergence: %v, %v; want it empty", rest, err)
	}
	if rest, err := os.ReadDir(filepath.Join(s.state, "tmp")); err != nil || len(rest) != 0 {
		t.Errorf("tmp/ after convergence: %v, %v; want it empty", rest, err)
	}
}

// runAndKill starts a reconcile, kills it after the delay, and reports whether
// it was still running then.
func (s *site) runAndKill(delay time.Duration) bool {
	s.t.Helper()
	cmd := s.command(context.Background(), "reconcile")
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	time.Sleep(delay)
	_ = cmd.Process.Kill()
	return cmd.Wait() != nil && cmd.ProcessState.ExitCode() == -1
}

// checkLive reads every name of live/ as a server would, through the directory
// opened once, and expects a complete pair.
func (s *site) checkLive() {
	s.t.Helper()
	links, err := os.ReadDir(filepath.Join(s.state, "live"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, link := range links {
		root, err := os.OpenRoot(filepath.Join(s.state, "live", link.Name()))
		if err != nil {
			s.t.Errorf("live/%s: %v", link.Name(), err)
			continue
		}
		target, err := os.Readlink(filepath.Join(s.state, "live", link.Name()))
		if err != nil {
			s.t.Errorf("live/%s: %v", link.Name(), err)
		}
		full, fullErr := root.ReadFile("fullchain")
		root.Close()
		key, keyErr := os.ReadFile(filepath.Join(s.state, "live", target, "privkey"))
		if fullErr != nil || keyErr != nil {
			s.t.Errorf("live/%s: %v, %v", link.Name(), fullErr, keyErr)
			continue
		}
		if _, err := tls.X509KeyPair(full, key); err != nil {
			s.t.Errorf("live/%s: certificate and key do not belong together: %v", link.Name(), err)
		}
	}
}

// An orderCounter counts the newOrder requests a CA accepted, by name.
type orderCounter struct {
	mu     sync.Mutex // guards byName
	byName map[string]int
}

func (c *orderCounter) count(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byName[name]
}

// wrap watches a CA: Pebble's path for newOrder is "/order-plz".
func (c *orderCounter) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/order-plz") {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		watched := &statusKeeper{ResponseWriter: w}
		next.ServeHTTP(watched, r)
		if watched.status == http.StatusCreated {
			c.add(body)
		}
	})
}

func (c *orderCounter) add(body []byte) {
	var jws struct{ Payload string }
	var order struct{ Identifiers []struct{ Value string } }
	if json.Unmarshal(body, &jws) != nil {
		return
	}
	payload, err := base64.RawURLEncoding.DecodeString(jws.Payload)
	if err != nil || json.Unmarshal(payload, &order) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range order.Identifiers {
		c.byName[id.Value]++
	}
}

type statusKeeper struct {
	http.ResponseWriter
	status int
}

func (k *statusKeeper) WriteHeader(status int) {
	k.status = status
	k.ResponseWriter.WriteHeader(status)
}
