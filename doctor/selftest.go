package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"certd/acme"
	"certd/challenge"
	"certd/hooks"

	"golang.org/x/sync/errgroup"
)

// selfTest presents a random token as reconcile would, fetches it from every
// address, and removes it again whatever happened.
func (r *run) selfTest(ctx context.Context, s subject, addrs []netip.Addr, add func(string, Result, string, string)) {
	const check = "http-01"
	ca := r.firstCA(s)
	if s.target.Challenge.Method == challenge.MethodStateless && ca.thumbprint == "" {
		add(check, Warning, "not tested: the web server has to know the account key, and there is no account yet", "certd quickstart registers one and shows what the web server needs")
		return
	}
	cfg := r.challengeConfig(s, ca.thumbprint)
	h, err := challenge.New(cfg)
	if err != nil {
		add("method", Failure, oneLine(err), "correct "+s.file())
		return
	}
	h.SelfTest.Limit = r.Limit
	id, ch := acme.NewIdentifier(s.name), acme.Challenge{Type: challenge.TypeHTTP01, Token: token()}
	thumbprint := ca.thumbprint
	if thumbprint == "" {
		thumbprint = token() // there is no account yet, and any will do
	}
	ch.KeyAuthorization = ch.Token + "." + thumbprint
	add, done := r.orALPN(ctx, s, ca.thumbprint, r.unlessBlind(ctx, cfg, id, ch, add))
	defer done()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
		defer cancel()
		if err := h.CleanUp(ctx, id, ch); err != nil {
			add(check, Warning, oneLine(err), "remove the file or the answer by hand; it proves nothing to anybody")
		}
	}()
	if err := h.Present(ctx, id, ch); err != nil {
		result, detail, remedy := r.judgePresent(err)
		add(check, result, detail, remedy)
		return
	}
	families := r.look(ctx, h, id, ch, addrs)
	right := families[0].right+families[1].right > 0
	for _, f := range families {
		if f.tried == 0 {
			continue
		}
		result, detail, remedy := f.judge(right)
		if result != OK {
			detail += r.held()
		}
		if result == Failure && !s.target.Challenge.SelfTest {
			result, detail = Warning, detail+"; http-self-test is off, so it may be that only this machine cannot reach the name"
		}
		add(check+" "+f.name, result, detail, remedy)
	}
}

// unlessBlind is add, but for failures where certd run has the port and this user
// may not write where it would answer from: they may be this examination's own.
func (r *run) unlessBlind(ctx context.Context, cfg challenge.Config, id acme.Identifier, ch acme.Challenge, add func(string, Result, string, string)) func(string, Result, string, string) {
	if cfg.Beside == "" || !slices.ContainsFunc([]int{r.port(), cfg.ProxyPort, 402, 4402}, r.holders.Certd) {
		return add
	}
	lent := &challenge.Webroot{Dirs: []string{cfg.Beside}}
	err := lent.Present(ctx, id, ch)
	if _ = lent.CleanUp(ctx, id, ch); err == nil { // it is presented once more with the rest
		return add
	}
	return func(check string, result Result, detail, remedy string) {
		if result == Failure {
			result, detail, remedy = Warning, "not tested: "+detail, "certd run has the port and answers there itself; run certd doctor as root to test from here"
		}
		add(check, result, detail, remedy)
	}
}

// firstCA is who would be asked for the subject.
func (r *run) firstCA(s subject) *authority {
	if all := r.casOf(s.target); len(all) > 0 {
		return r.cas[all[0].Directory]
	}
	return &authority{}
}

func (s subject) file() string {
	if s.wanted {
		return "desired/" + s.target.File
	}
	return "conf/target"
}

// challengeConfig is reconcile's, with the self-test always on.
func (r *run) challengeConfig(s subject, thumbprint string) challenge.Config {
	t, c := s.target, r.settings.Challenge
	cfg := challenge.Config{
		Target: t.File, Method: t.Challenge.Method, Webroots: t.Challenge.WebrootPaths, HTTPPorts: t.Challenge.HTTPPorts,
		HTTPPort: c.HTTPPort, TLSPort: c.TLSPort, TLSPorts: t.Challenge.TLSPorts, ProxyPort: c.ProxyPort, Resolver: c.Resolver, SelfTest: true,
		Responder: r.responder, Thumbprint: thumbprint, Env: t.Challenge.Env, StandardWebroot: r.Webroot,
	}
	if _, ok := r.store.Daemon(); ok {
		cfg.Beside = cmp.Or(r.Webroot, challenge.StandardWebroot) // it serves that, too, and the lock is not ours
	}
	if r.Hooks != nil {
		cfg.Hook = r.hook
	}
	return cfg
}

// hook runs a challenge event; it is handled if one hook exits with 0.
func (r *run) hook(ctx context.Context, event string, args []string, stdin []byte, env map[string]string, hold *os.File) (handled bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	results, err := r.Hooks.Run(ctx, hooks.Event{Name: event, Args: args, Stdin: stdin, Env: env, Hold: hold}, nil)
	errs := []error{err}
	for _, one := range results {
		handled = handled || one.Outcome == hooks.OK
		if one.Outcome != hooks.OK && one.Outcome != hooks.Skipped {
			errs = append(errs, one.Err) // it names the hook
		}
	}
	return handled, errors.Join(errs...)
}

// judgePresent says why nothing could be presented. A port that certd itself
// holds is the daemon's, which answers from there.
func (r *run) judgePresent(err error) (result Result, detail, remedy string) {
	detail = oneLine(err)
	if holder := r.holders[r.port()]; holder == "" || !strings.Contains(detail, holder) {
		detail += r.held()
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && r.holders.Certd(r.port()):
		return Warning, "not tested: " + detail, "the running certd answers there itself; stop it to test from here"
	case errors.Is(err, syscall.EADDRINUSE):
		return Failure, detail, "stop what holds the port, or let it answer: request.challenge.method proxy, webroot or redirector"
	case errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM):
		return Failure, detail, "run certd doctor as the user that certd runs as; that user needs the rights it names"
	}
	return Failure, detail, "do as it says, or choose another request.challenge.method; see docs/challenges.md"
}

// A family is what the addresses of one IP version answered.
type family struct {
	name      string
	tried     int
	right     int
	wrong     []string // reached, but without the right answer
	unreached []string
	noRoute   bool // this machine cannot reach any address of the family
}

// look fetches the answer from all addresses, v6 and v4 apart.
func (r *run) look(ctx context.Context, h *challenge.HTTP01, id acme.Identifier, ch acme.Challenge, addrs []netip.Addr) [2]family {
	errs := make([]error, len(addrs))
	reached := make([]bool, len(addrs))
	var g errgroup.Group
	g.SetLimit(4)
	for i, addr := range addrs {
		g.Go(func() error {
			reached[i], errs[i] = h.WaitAddr(ctx, id, ch, addr)
			return nil
		})
	}
	_ = g.Wait() // always nil: every failure is in errs
	out := [2]family{{name: "ipv4"}, {name: "ipv6"}}
	for i, addr := range addrs {
		f := &out[0]
		if addr.Is6() {
			f = &out[1]
		}
		f.tried++
		switch err := errs[i]; {
		case err == nil:
			f.right++
		case reached[i]:
			f.wrong = append(f.wrong, oneLine(err))
		default:
			f.unreached = append(f.unreached, oneLine(err))
			f.noRoute = f.noRoute || errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EAFNOSUPPORT)
		}
	}
	return out
}

// judge is what a CA would make of a family; right is whether any address of
// either gave the right answer, since a CA goes on to the next when it cannot connect.
func (f family) judge(right bool) (result Result, detail, remedy string) {
	switch {
	case len(f.wrong) > 0 && f.name == "ipv6" && right && f.right == 0:
		return Failure, "IPv6 leads elsewhere: " + strings.Join(f.wrong, "; "), "make AAAA records point to the server that has the A records' addresses, or remove them: CAs try IPv6 first"
	case len(f.wrong) > 0:
		return Failure, strings.Join(f.wrong, "; "), "make the server behind this address answer as it says; a CA takes the first answer it gets, so each address must be right"
	case len(f.unreached) == 0:
		return OK, fmt.Sprintf("addresses that gave the right answer: %d", f.right), ""
	case f.noRoute && right:
		return Warning, strings.Join(f.unreached, "; "), "this machine cannot reach such addresses, so look from elsewhere; if nobody can, remove the record"
	case right:
		return Warning, strings.Join(f.unreached, "; "), "open the port there as well, or remove the record: CAs lose time on it, and some do not go on to the next"
	}
	return Failure, strings.Join(f.unreached, "; "),
		"see that a server listens on that port and that firewall and router let it through; if only this machine cannot reach the name, set request.challenge.http-self-test: false"
}
