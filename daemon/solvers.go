package daemon

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"sync"
	"time"

	"certd/acme"
	"certd/challenge"
	"certd/config"
	"certd/hooks"
	"certd/issue"
	"certd/state"
)

// lateLooks is for how long the daemon answers challenges that are over: CAs look
// from several places, and not always at once.
const lateLooks = time.Minute

// solvers makes the solvers of each target around the means of the shift.
type solvers struct {
	p *pass
	*means
	taker func() taker // of challenge-dns-start; looked for once
}

// means are what challenges are answered with: one responder for each kind and one
// keeper of DNS records, so that targets worked on at the same time share ports
// and providers.
type means struct {
	responder *challenge.Responder
	own       bool // responder is the shift's
	alpn      *challenge.ALPNResponder
	ownALPN   bool // likewise
	dns       *challenge.DNS
	beside    string // directory for challenges, if another process is certd run
}

func newSolvers(p *pass) *solvers {
	s := &solvers{p: p, means: p.means}
	s.taker = sync.OnceValue(func() taker { return dnsHooks(p.Hooks) })
	if s.means == nil {
		s.means = s.makeMeans()
		p.means = s.means
	}
	return s
}

// lentDir has the challenges of a pass beside the daemon, which has the ports and
// serves them. It is below tmp/, which belongs to who has the lock.
func lentDir(store *state.Store) string { return store.Path("tmp", "acme-challenge") }

func (s *solvers) makeMeans() *means {
	p := s.p
	m := &means{responder: p.Responder, own: p.Responder == nil, alpn: p.ALPN, dns: newDNS(p)}
	if p.Hooks != nil {
		m.dns.Hook = s.hook
	}
	if m.own {
		m.responder = newResponder(p.Metrics)
		if _, ok := p.Store.Daemon(); ok {
			m.beside = lentDir(p.Store)
			_ = p.Store.MakeTempDir(filepath.Base(m.beside)) // if it is not there, who writes to it says so
		}
	}
	if m.ownALPN = m.alpn == nil; m.ownALPN {
		m.alpn = newALPN(p.Metrics)
	}
	return m
}

func (m *means) close() {
	if m.ownALPN {
		m.alpn.Close()
	}
	if m.own {
		m.responder.Close()
	}
}

// ways says how a target can be proven.
func (s *solvers) ways(t *config.Target) Ways { return s.p.view.ways(t, s.taker()) }

// forTarget returns the solvers by challenge type.
func (s *solvers) forTarget(t *config.Target, client *caClient) (map[string]issue.Solver, error) {
	by := map[string]issue.Solver{}
	s.inDNS(t, client, by)
	if t.Challenge.Method == challenge.MethodDNS {
		return s.p.count.solvers(by), nil
	}
	thumbprint, err := client.Thumbprint()
	if err != nil {
		return nil, err
	}
	c := s.p.view.Settings.Challenge
	cfg := challenge.Config{
		Target:          t.File,
		Method:          t.Challenge.Method,
		Webroots:        t.Challenge.WebrootPaths,
		HTTPPorts:       t.Challenge.HTTPPorts,
		HTTPPort:        c.HTTPPort,
		TLSPort:         c.TLSPort,
		TLSPorts:        t.Challenge.TLSPorts,
		ProxyPort:       c.ProxyPort,
		Resolver:        c.Resolver,
		SelfTest:        t.Challenge.SelfTest,
		Responder:       s.responder,
		Thumbprint:      thumbprint,
		Hook:            s.hook,
		Env:             t.Challenge.Env,
		StandardWebroot: s.p.Webroot,
		Beside:          s.beside,
	}
	http01, err := challenge.New(cfg)
	var alpn *challenge.TLSALPN01
	if err == nil {
		alpn, err = challenge.NewTLSALPN01(cfg, s.alpn)
	}
	if err != nil {
		return nil, &acme.Problem{CA: client.name, Class: acme.ClassOperator, Err: fmt.Errorf("challenge method of %s: %w", t.File, err)}
	}
	by[challenge.TypeHTTP01] = http01
	if alpn != nil {
		by[challenge.TypeTLSALPN01] = alpn
	}
	return s.p.count.solvers(by), nil
}

// hook runs a challenge event; it is handled if one hook exits with 0.
func (s *solvers) hook(ctx context.Context, event string, args []string, stdin []byte, env map[string]string, hold *os.File) (bool, error) {
	if s.p.Hooks == nil {
		return false, nil
	}
	results, err := s.p.Hooks.Run(ctx, hooks.Event{Name: event, Args: args, Stdin: stdin, Env: env, Hold: hold}, nil)
	s.p.count.hooks(event, results)
	errs := []error{err}
	handled := false
	for _, r := range results {
		switch r.Outcome {
		case hooks.OK:
			handled = true
		case hooks.Skipped:
		default:
			errs = append(errs, r.Err) // it names the hook
		}
	}
	return handled, errors.Join(errs...)
}

// spread is a number that differs between targets and stays the same for each,
// so that targets that failed together are not tried again together.
func spread(target string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(target))
	return h.Sum64()
}
