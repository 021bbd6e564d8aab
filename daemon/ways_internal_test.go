package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"certd/config"
	"certd/hooks"
	"certd/state"
)

// How a target is proven, in which order, and why not otherwise.
func TestWays(t *testing.T) {
	t.Parallel()
	settings := config.ChallengeSettings{HTTPPort: 80, TLSPort: 443, ProxyPort: 402}
	for _, tt := range []struct {
		about  string
		conf   config.Challenge
		names  string
		taker  taker
		failed string
		says   string
		refuse string // in the error that spares the order
	}{
		{about: "without a method", names: "a.test",
			says: "http-01 by files, :402 or :80, then tls-alpn-01 on :443"},
		{about: "a hook that names the event comes last", names: "a.test", taker: likely,
			says: "http-01 by files, :402 or :80, then tls-alpn-01 on :443, then dns-01 by hooks"},
		{about: "a hook that does not is not asked", names: "a.test", taker: maybe,
			says: "http-01 by files, :402 or :80, then tls-alpn-01 on :443"},
		{about: "a provider comes last", names: "a.test", conf: config.Challenge{DNSProvider: "gandi"},
			says: "http-01 by files, :402 or :80, then tls-alpn-01 on :443, then dns-01 by gandi, then dns-account-01"},
		{about: "what failed comes last", names: "a.test", conf: config.Challenge{Method: "listen"}, failed: "http-01",
			says: "tls-alpn-01 on :443, then http-01 on :80 (failed before)"},
		{about: "all failed: the one that did so longest ago comes first", names: "a.test", conf: config.Challenge{Method: "listen"}, failed: "tls-alpn-01 http-01",
			says: "tls-alpn-01 on :443 (failed before), then http-01 on :80 (failed before)"},
		{about: "a failed type that is not in use any more is forgotten", names: "a.test", conf: config.Challenge{Method: "webroot"}, failed: "dns-01",
			says: "webroot"},
		{about: "ports of one's own", names: "a.test", conf: config.Challenge{Method: "listen", HTTPPorts: []string{"192.0.2.1:80"}, TLSPorts: []string{"[::1]:8443"}},
			says: "http-01 on 192.0.2.1:80, then tls-alpn-01 on [::1]:8443"},
		{about: "the method hook", names: "a.test", conf: config.Challenge{Method: "hook"}, says: "http-01 by hooks"},
		{about: "a wildcard beside its name", names: "a.test *.a.test", conf: config.Challenge{Method: "webroot", DNSProvider: "gandi"},
			says: "a.test: webroot, then dns-01 by gandi, then dns-account-01; *.a.test: dns-01 by gandi, then dns-account-01"},
		{about: "a wildcard and any hook", names: "*.a.test", conf: config.Challenge{Method: "proxy"}, taker: maybe, says: "dns-01 by hooks"},
		{about: "an address beside names", names: "a.test b.test c.test 192.0.2.1", conf: config.Challenge{Method: "webroot", DNSProvider: "gandi"},
			says: "a.test and others: webroot, then dns-01 by gandi, then dns-account-01; 192.0.2.1: webroot"},
		{about: "a wildcard without a way", names: "*.a.test", conf: config.Challenge{Method: "webroot"},
			says:   "no way: http-01: it cannot prove a wildcard; tls-alpn-01: it cannot prove a wildcard; dns-01: no provider set (request.challenge.dns-provider) and no challenge-dns-start hook; dns-persist-01: its TXT record is not there (certd doctor shows it)",
			refuse: "no way to prove it: http-01: it cannot prove a wildcard; tls-alpn-01: it cannot prove a wildcard; dns-01: no provider set"},
		{about: "an address by DNS", names: "2001:db8::1", conf: config.Challenge{Method: "dns", DNSProvider: "gandi"},
			says:   "no way: http-01: the method is dns; tls-alpn-01: the method is dns; dns-01: it cannot prove an IP address",
			refuse: "dns-01: it cannot prove an IP address"},
		{about: "the method dns and nobody", names: "a.test", conf: config.Challenge{Method: "dns"},
			says:   "no way: http-01: the method is dns; tls-alpn-01: the method is dns; dns-01: no provider set (request.challenge.dns-provider) and no challenge-dns-start hook; dns-persist-01: its TXT record is not there (certd doctor shows it)",
			refuse: "dns-01: no provider set"},
	} {
		target := &config.Target{File: "x", RequestNames: strings.Fields(tt.names), Challenge: tt.conf}
		v := &View{Settings: &config.Settings{Challenge: settings}, Snapshot: &state.Snapshot{Attempts: map[string]state.Attempt{
			"x": {Target: "x", Digest: target.Digest(), Challenges: tt.failed},
		}}}
		w := v.ways(target, tt.taker)
		if got := w.Say(target.RequestNames); got != tt.says {
			t.Errorf("%s: certd says\n%q, want\n%q", tt.about, got, tt.says)
		}
		err := w.check(target.RequestNames, func(string) bool { return false })
		if (err != nil) != (tt.refuse != "") || err != nil && !strings.Contains(err.Error(), tt.refuse) {
			t.Errorf("%s: before an order the error is %v, want %q", tt.about, err, tt.refuse)
		}
	}
}

// The reasons that come with an error of the CA's offer.
func TestUnusable(t *testing.T) {
	t.Parallel()
	v := &View{Settings: &config.Settings{Challenge: config.ChallengeSettings{TLSPort: 443}}, Snapshot: &state.Snapshot{}}
	for method, want := range map[string]string{"webroot": "the method webroot leaves port 443 alone", "dns": "the method is dns", "listen": ""} {
		w := v.ways(&config.Target{Challenge: config.Challenge{Method: method}}, maybe)
		if got := w.Unusable["tls-alpn-01"]; got != want {
			t.Errorf("method %s: tls-alpn-01 is not used because %q, want %q", method, got, want)
		}
	}
}

// Who may take challenge-dns-start is seen from the hooks' files.
func TestDNSHooks(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]taker{
		"":                                nobody,
		"#!/bin/sh\n#!certd-managed!#\n":  nobody,
		"#!/bin/sh\nexec my-program $@\n": maybe,
		"#!/bin/sh\ncase $1 in challenge-dns-start) ;; esac\n": likely,
		"#!/bin/sh\ncase $1 in challenge-dns-*) ;; esac\n":     likely,
	} {
		dir := t.TempDir()
		if text != "" {
			if err := os.WriteFile(filepath.Join(dir, "hook"), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		runner := &hooks.Runner{Dirs: []string{dir}}
		if got := dnsHooks(runner); got != want {
			t.Errorf("with the hook %q the taker is %d, want %d", text, got, want)
		}
		if got := dnsHooks(livelyHooks{HookRunner: runner}); got != want {
			t.Errorf("with the hook %q the daemon's taker is %d, want %d", text, got, want)
		}
	}
	if got := dnsHooks(nil); got != nobody {
		t.Errorf("without hooks the taker is %d", got)
	}
}

// Records that stay are looked up for several names at once, but not for all, and
// the error is about the first name that has none.
func TestPersistedTogether(t *testing.T) {
	t.Parallel()
	w := Ways{Unusable: map[string]string{"dns-01": "no provider set", "dns-persist-01": "it is not there"}}
	var names []string
	for n := range 3 * lookAtOnce {
		names = append(names, fmt.Sprintf("*.n%02d.test", n))
	}
	var mu sync.Mutex
	met := make(chan struct{})
	now, most, asked := 0, 0, 0
	err := w.check(names, func(name string) bool {
		mu.Lock()
		now++
		most = max(most, now)
		if asked++; asked == lookAtOnce {
			close(met)
		}
		mu.Unlock()
		<-met
		mu.Lock()
		defer mu.Unlock()
		now--
		return name != "*.n05.test" && name != "*.n20.test"
	})
	if most != lookAtOnce {
		t.Errorf("%d names were looked up at once, want %d", most, lookAtOnce)
	}
	if problem := problemOf(err); problem == nil || problem.Identifier.Value != "*.n05.test" || !strings.Contains(problem.Detail, "dns-01: no provider set") {
		t.Errorf("the error is %v, want it to be about *.n05.test", err)
	}
	if err := w.check(append(names, "192.0.2.1"), func(string) bool { t.Error("a record was looked up in vain"); return true }); problemOf(err) == nil {
		t.Error("an address was not refused")
	}
}
