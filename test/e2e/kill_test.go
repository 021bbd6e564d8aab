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

// killLoop kills as many runs as it has to: in turn first issuances of a new name
// and forced renewals of one that is live.
func killLoop(t *testing.T, s *site, orders *orderCounter, site int, random *rand.Rand) {
	const hook = "#!/bin/sh\n[ \"$1\" = live-updated ] || exit 42\n" +
		"while read -r name; do echo \"$name $(readlink \"$ACME_STATE_DIR/live/$name\")\" >>\"$ACME_STATE_DIR/../heard\"; done\n"
	s.write("hooks/hear", hook)
	if err := os.Chmod(filepath.Join(s.hooks, "hear"), 0o755); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	warm := fmt.Sprintf("warm%d.example.test", site)
	s.must(0, "want", warm)
	span := time.Since(start)
	runs, killed := 0, 0
	for ; killed < killsPerSite && runs < 8*killsPerSite; runs++ {
		name, args := warm, []string{"reconcile", "--force", warm}
		if runs%2 == 0 {
			name, args = fmt.Sprintf("kill%d-%d.example.test", site, runs), []string{"reconcile"}
			s.write("acme/desired/"+name, "")
		}
		before := orders.count(name)
		if s.runAndKill(time.Duration(random.Int64N(int64(span))), args...) {
			killed++
		} else {
			span -= span / 10 // it was quicker than the first run
		}
		s.checkLive()
		s.must(0, "reconcile")
		s.checkLive()
		s.checkHeard(name)
		if n := orders.count(name) - before; n > 1 || (name != warm && n != 1) {
			t.Errorf("%s: the CA accepted %d new orders, want one", name, n)
		}
	}
	t.Logf("%d of %d runs were killed before they ended", killed, runs)
	if killed < killsPerSite {
		t.Errorf("only %d runs were killed before they ended, want %d", killed, killsPerSite)
	}
	for _, dir := range []string{"orders", "pending", "tmp"} {
		if rest, err := os.ReadDir(filepath.Join(s.state, dir)); err != nil || len(rest) != 0 {
			t.Errorf("%s/ after convergence: %v, %v; want it empty", dir, rest, err)
		}
	}
}

// checkHeard expects that the last thing a hook was told of a name is the
// certificate that is live.
func (s *site) checkHeard(name string) {
	s.t.Helper()
	live, err := os.Readlink(filepath.Join(s.state, "live", name))
	if err != nil {
		s.t.Error(err)
	}
	last := ""
	for line := range strings.Lines(s.read("heard")) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			last = strings.TrimSpace(rest)
		}
	}
	if last != live {
		s.t.Errorf("%s: hooks last heard of %q, live is %q", name, last, live)
	}
}

// runAndKill starts certd, kills it after the delay, and reports whether
// it was still running then.
func (s *site) runAndKill(delay time.Duration, args ...string) bool {
	s.t.Helper()
	cmd := s.command(context.Background(), args...)
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
