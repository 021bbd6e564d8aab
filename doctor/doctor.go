// Package doctor asks whether everything is ready for a certificate: the state
// directory, the hooks, the CA, the clock, the DNS and the way to port 80.
package doctor

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"certd/acme"
	"certd/challenge"
	"certd/config"
	"certd/hooks"
	"certd/state"

	"golang.org/x/sync/errgroup"
)

// Bounds of a run.
const (
	caTime   = 60 * time.Second // for everything asked of one CA
	nameTime = 90 * time.Second // for everything about one name,
	dnsTime  = 4 * time.Minute  // with a DNS record that has to become visible
	atOnce   = 8                // names, and CAs, looked at together
	hookTime = time.Minute      // for one challenge hook
	tidyTime = 30 * time.Second // for cleaning up after an interruption, too
)

// Result is how a check ended.
type Result string

// The results. Only a Failure stands in the way of a certificate.
const (
	OK      Result = "ok"
	Warning Result = "warning"
	Failure Result = "failure"
)

// A Finding is the result of one check.
type Finding struct {
	Check  string // what was looked at, such as "caa" or "http-01 ipv6"
	Name   string // identifier, CA or target it is about; empty if it is about this machine
	Result Result
	Detail string // what was seen, on one line
	Remedy string // what to do about it; empty for OK
}

// Options say what to examine. StateDir must be set; every other field has a
// working zero value.
type Options struct {
	StateDir  string
	Hooks     *hooks.Runner // nil means that there are no hooks
	Names     []string      // validated names, wanted or not; empty means every wanted one
	UserAgent string        // for CAs; empty means acme's
	Webroot   string        // challenge.Config.StandardWebroot
	Timeout   time.Duration // of one request to a CA; zero means 20 s
	Limit     time.Duration // for the tries of one self-test after the first; zero means 10 s, as for reconcile
	Resolvers string        // resolv.conf of the CAA look-up where no resolver is configured; empty means /etc/resolv.conf
}

// A run is one examination.
type run struct {
	Options
	store     *state.Store
	settings  *config.Settings
	targets   *config.Targets
	snapshot  *state.Snapshot
	responder *challenge.Responder
	alpn      *challenge.ALPNResponder
	dns       *challenge.DNS
	holders   challenge.Holders
	cas       map[string]*authority // by directory
	findings  []Finding
}

// Run examines and returns what it found, in the order to read it: this machine,
// the CAs, the names. It writes nothing to the state directory but a journal of
// the DNS records it tries, and neither orders nor registers anything; what it
// presents for a self-test it removes, also when ctx ends. A failed check is no
// error: Run has none.
func Run(ctx context.Context, o Options) []Finding {
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	if o.Resolvers == "" {
		o.Resolvers = "/etc/resolv.conf"
	}
	r := &run{Options: o}
	if r.state() {
		r.configuration()
	}
	r.hooks()
	if r.targets == nil {
		return r.findings
	}
	r.attempts()
	subjects := r.subjects()
	r.authorities(ctx, subjects)
	r.responder = challenge.NewResponder()
	defer r.responder.Close()
	r.alpn = challenge.NewALPNResponder()
	defer r.alpn.Close()
	r.dns = r.newDNS()
	defer r.journal(ctx, subjects)()
	r.ports(subjects)
	found := make([][]Finding, len(subjects))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, s := range subjects {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, s.limit())
			defer cancel()
			found[i] = r.examine(ctx, s)
			return nil
		})
	}
	_ = g.Wait() // always nil: every failure is a finding
	r.findings = append(r.findings, slices.Concat(found...)...)
	return r.findings
}

func (r *run) add(check, name string, result Result, detail, remedy string) {
	r.findings = append(r.findings, finding(check, name, result, detail, remedy))
}

// finding makes sure that strangers' text is printable.
func finding(check, name string, result Result, detail, remedy string) Finding {
	if result == OK {
		remedy = ""
	}
	return Finding{check, acme.Sanitize(name), result, printable(detail), printable(remedy)}
}

// printable makes one line of printable characters, at most 2 KiB and an ellipsis.
func printable(s string) string {
	const most = 2 << 10
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsPrint(r) && r != utf8.RuneError {
			return r
		}
		return '?'
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// A subject is a name together with how it would be proven, and to whom.
type subject struct {
	name   string
	target *config.Target
	wanted bool
}

// subjects are the names to look at, each once for each way to prove it.
func (r *run) subjects() []subject {
	var out []subject
	for _, t := range r.targets.Targets {
		for _, name := range t.RequestNames {
			same := func(s subject) bool { return s.name == name && alike(s.target, t) }
			if (len(r.Names) == 0 || slices.Contains(r.Names, name)) && !slices.ContainsFunc(out, same) {
				out = append(out, subject{name, t, true})
			}
		}
	}
	for _, name := range r.Names {
		if !slices.ContainsFunc(out, func(s subject) bool { return s.name == name }) {
			t := *r.targets.Default
			t.Names, t.RequestNames = []string{name}, []string{name}
			out = append(out, subject{name, &t, false})
		}
	}
	slices.SortStableFunc(out, func(a, b subject) int { return strings.Compare(a.name, b.name) })
	return out
}

// limit bounds what is done about s.
func (s subject) limit() time.Duration {
	if s.inDNS() {
		return dnsTime
	}
	return nameTime
}

// alike reports whether names of both targets are proven in the same way to the same CAs.
func alike(a, b *config.Target) bool {
	return slices.Equal(a.CAs, b.CAs) && a.Challenge.Method == b.Challenge.Method && a.Challenge.SelfTest == b.Challenge.SelfTest &&
		slices.Equal(a.Challenge.WebrootPaths, b.Challenge.WebrootPaths) && slices.Equal(a.Challenge.HTTPPorts, b.Challenge.HTTPPorts) &&
		a.Challenge.DNSProvider == b.Challenge.DNSProvider && a.Challenge.DNSEnvFile == b.Challenge.DNSEnvFile && a.Challenge.Delegate == b.Challenge.Delegate
}

// examine looks at one name: its addresses, who may issue for it, and whether
// an answer to a challenge is seen on each address, or in the DNS.
func (r *run) examine(ctx context.Context, s subject) []Finding {
	var out []Finding
	add := func(check string, result Result, detail, remedy string) {
		out = append(out, finding(check, s.name, result, detail, remedy))
	}
	if !s.wanted && len(r.targets.Unread) > 0 {
		add("wanted", Warning, "no target that can be read wants it; looked at as conf/target says", "mend the files of desired/ named above")
	}
	var addrs []netip.Addr
	if addr, err := netip.ParseAddr(s.name); err == nil {
		addrs = []netip.Addr{addr}
	} else {
		if !s.onlyDNS() {
			addrs = r.resolve(ctx, s.name, add)
		}
		r.checkDNSSEC(ctx, s, add)
		r.checkCAA(ctx, s, add)
		if s.inDNS() {
			r.testDNS(ctx, s, add)
		}
	}
	switch {
	case s.onlyDNS() && len(addrs) > 0:
		add("method", Failure, "an IP address is not proven in the DNS, and the method is dns", "give it a target of its own, with another request.challenge.method")
	case len(addrs) > 0:
		r.selfTest(ctx, s, addrs, add)
	}
	if err := ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
		add("time", Failure, "not finished within "+s.limit().String(), "see which of the checks above were slow; answers must come sooner for a CA")
	}
	return out
}

// resolve asks for both families; a CA does so, too, and goes on with what it got.
func (r *run) resolve(ctx context.Context, name string, add func(string, Result, string, string)) []netip.Addr {
	resolver := r.settings.Challenge.Resolver
	v4, err4 := challenge.Addresses(ctx, resolver, name, false)
	v6, err6 := challenge.Addresses(ctx, resolver, name, true)
	var text []string
	for _, a := range slices.Concat(v4, v6) {
		text = append(text, a.String())
	}
	list := strings.Join(text, ", ")
	const mend = "mend the zone or its name servers: a CA asks them as well"
	switch failed := errors.Join(err4, err6); {
	case list == "" && failed != nil:
		add("dns", Failure, oneLine(failed), mend)
	case list == "":
		add("dns", Failure, "no A or AAAA record", "create one that points to this machine, or wait until it is visible")
	case failed != nil:
		add("dns", Warning, list+"; but "+oneLine(failed), mend)
	default:
		add("dns", OK, list, "")
	}
	return append(v6, v4...)
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// token is a random one, as a CA would send.
func token() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}
