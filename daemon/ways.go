package daemon

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"certd/acme"
	"certd/challenge"
	"certd/config"
	"certd/hooks"
	"certd/issue"
	"certd/state"
)

// Ways are the types of challenges by which a target can be proven on this
// machine, whatever the CA offers.
type Ways struct {
	Types    []string          // best first; what failed before comes last, as in issue.Request.Avoid
	How      map[string]string // by type, in words: "webroot", "tls-alpn-01 on :443"
	Unusable map[string]string // by type, why it is not used: "no provider set"
	failed   []string
}

// Ways returns what says how a target can be proven. runner has the hooks, which
// are looked through once; nil means that there are none.
func (v *View) Ways(runner HookRunner) func(*config.Target) Ways {
	taker := dnsHooks(runner)
	return func(t *config.Target) Ways { return v.ways(t, taker) }
}

func (v *View) ways(t *config.Target, taker taker) Ways {
	w := Ways{How: make(map[string]string), Unusable: make(map[string]string), failed: failedBefore(v.Snapshot, t)}
	c, settings := &t.Challenge, v.Settings.Challenge
	switch c.Method {
	case challenge.MethodDNS:
		w.Unusable[challenge.TypeHTTP01] = "the method is dns"
		w.Unusable[challenge.TypeTLSALPN01] = "the method is dns"
	case challenge.MethodAny, challenge.MethodListen:
		w.How[challenge.TypeHTTP01] = howHTTP(c, settings)
		w.How[challenge.TypeTLSALPN01] = "tls-alpn-01 on " + ports(c.TLSPorts, settings.TLSPort)
	default:
		w.How[challenge.TypeHTTP01] = howHTTP(c, settings)
		w.Unusable[challenge.TypeTLSALPN01] = fmt.Sprintf("the method %s leaves port %d alone", c.Method, settings.TLSPort)
	}
	w.How[challenge.TypeDNS01], w.Unusable[challenge.TypeDNS01] = howDNS(t, taker)
	if c.DNSProvider != "" { // hooks only know dns-01
		w.How[challenge.TypeDNSAccount01] = "dns-account-01"
	}
	w.Unusable[challenge.TypeDNSPersist01] = "its TXT record is not there (certd doctor shows it)"
	for _, kind := range issue.Preference() {
		if w.How[kind] == "" {
			delete(w.How, kind)
		} else {
			w.Types = append(w.Types, kind)
		}
		if w.Unusable[kind] == "" {
			delete(w.Unusable, kind)
		}
	}
	again := func(kind string) bool { return slices.Contains(w.failed, kind) }
	fresh := slices.DeleteFunc(slices.Clone(w.Types), again)
	w.failed = slices.DeleteFunc(w.failed, func(kind string) bool { return !slices.Contains(w.Types, kind) })
	w.Types = slices.Concat(fresh, w.failed)
	return w
}

func howHTTP(c *config.Challenge, settings config.ChallengeSettings) string {
	switch c.Method {
	case challenge.MethodAny:
		return fmt.Sprintf("http-01 by files, :%d or :%d", settings.ProxyPort, settings.HTTPPort)
	case challenge.MethodListen:
		return "http-01 on " + ports(c.HTTPPorts, settings.HTTPPort)
	case challenge.MethodHook:
		return "http-01 by hooks"
	}
	return c.Method
}

func ports(addrs []string, port int) string {
	if len(addrs) > 0 {
		return strings.Join(addrs, " ")
	}
	return ":" + strconv.Itoa(port)
}

// howDNS is how dns-01 is used for t, or why it is not: without a provider it
// takes the method dns, or a wildcard, and hooks; without any method hooks that
// name the event.
func howDNS(t *config.Target, taker taker) (how, unusable string) {
	const none = "no provider set (request.challenge.dns-provider)"
	c := &t.Challenge
	wanted := c.Method == challenge.MethodDNS || hasWildcard(t.RequestNames)
	switch {
	case c.DNSProvider != "":
		return "dns-01 by " + c.DNSProvider, ""
	case wanted && taker > nobody, c.Method == challenge.MethodAny && taker == likely:
		return "dns-01 by hooks", ""
	case wanted && taker == nobody, c.Method == challenge.MethodAny:
		return "", none + " and no " + challenge.EventDNSStart + " hook"
	}
	return "", none
}

func hasWildcard(names []string) bool { return slices.ContainsFunc(names, isWildcard) }

func isWildcard(name string) bool { return strings.HasPrefix(name, "*.") }

// a taker is who may take the event challenge-dns-start.
type taker int

const (
	nobody taker = iota // there are no hooks but the bundled ones
	maybe               // there are others
	likely              // one of them names the event
)

// dnsHooks looks through the hooks of runner.
func dnsHooks(runner HookRunner) taker {
	if runner == nil {
		return nobody
	}
	all, ok := listHooks(runner)
	if !ok {
		return maybe
	}
	found := nobody
	for _, h := range all {
		switch {
		case h.Refused != "" || h.Managed:
		case h.Mentions("challenge-dns"): // with "-start" behind it, or a pattern
			return likely
		default:
			found = maybe
		}
	}
	return found
}

// listHooks are the hooks of runner; ok is false if it cannot name them.
func listHooks(runner HookRunner) (all []hooks.Hook, ok bool) {
	if lively, wrapped := runner.(livelyHooks); wrapped {
		runner = lively.HookRunner
	}
	lister, ok := runner.(interface{ List() ([]hooks.Hook, error) })
	if ok {
		all, _ = lister.List() // what is refused is told when they are run
	}
	return all, ok
}

// of returns those of w that can prove name.
func (w Ways) of(name string) []string {
	var kinds []string
	for _, kind := range w.Types {
		if cannot(kind, name) == "" {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// cannot says why no challenge of this type proves name, empty if it may.
func cannot(kind, name string) string {
	if isWildcard(name) && !inDNS(kind) {
		return "it cannot prove a wildcard"
	}
	if _, err := netip.ParseAddr(name); err == nil && inDNS(kind) {
		return "it cannot prove an IP address"
	}
	return ""
}

func inDNS(kind string) bool { return strings.HasPrefix(kind, "dns-") }

// Say is one line about how names are proven, best first: "webroot, then
// tls-alpn-01 on :443". Wildcards and addresses that are proven otherwise than
// the other names are told apart.
func (w Ways) Say(names []string) string {
	var texts, whose []string
	for _, name := range names {
		text := w.say(name)
		i := slices.Index(texts, text)
		if i < 0 {
			texts, whose = append(texts, text), append(whose, name)
		} else {
			whose[i] += ", " + name
		}
	}
	if len(texts) == 1 {
		return texts[0]
	}
	for i, text := range texts {
		if strings.Count(whose[i], ", ") > 1 {
			whose[i] = strings.SplitN(whose[i], ", ", 2)[0] + " and others"
		}
		texts[i] = whose[i] + ": " + text
	}
	return strings.Join(texts, "; ")
}

func (w Ways) say(name string) string {
	var texts []string
	for _, kind := range w.of(name) {
		text := w.How[kind]
		if slices.Contains(w.failed, kind) {
			text += " (failed before)"
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		return "no way: " + w.reasons(name)
	}
	return strings.Join(texts, ", then ")
}

// reasons says of each type why it does not prove name.
func (w Ways) reasons(name string) string {
	var texts []string
	for _, kind := range issue.Preference() {
		why := cannot(kind, name)
		switch {
		case why == "":
			why = w.Unusable[kind]
		case kind == challenge.TypeDNSAccount01 || kind == challenge.TypeDNSPersist01:
			why = "" // as for dns-01
		}
		if why != "" {
			texts = append(texts, kind+": "+why)
		}
	}
	return strings.Join(texts, "; ")
}

// without returns w without the types in the DNS, as their provider cannot be
// asked: why says what is wrong with it.
func (w Ways) without(why error) Ways {
	w.How, w.Unusable = maps.Clone(w.How), maps.Clone(w.Unusable)
	w.Types = slices.DeleteFunc(slices.Clone(w.Types), inDNS)
	for _, kind := range []string{challenge.TypeDNS01, challenge.TypeDNSAccount01} {
		delete(w.How, kind)
		w.Unusable[kind] = acme.Sanitize(why.Error())
	}
	return w
}

// needDNS reports whether the DNS alone proves one of names.
func (w Ways) needDNS(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		return !slices.ContainsFunc(w.of(name), func(kind string) bool { return !inDNS(kind) })
	})
}

// lookAtOnce is how many names are looked up at once.
const lookAtOnce = 8

// check refuses names that nothing can prove, before an order is spent on them;
// persisted is asked whether dns-persist-01 does, from several goroutines.
func (w Ways) check(names []string, persisted func(name string) bool) error {
	var asked []string
	for _, name := range names {
		if len(w.of(name)) > 0 {
			continue
		}
		if cannot(challenge.TypeDNSPersist01, name) != "" {
			return w.noWay(name)
		}
		asked = append(asked, name)
	}
	found := make([]bool, len(asked))
	var g errgroup.Group
	g.SetLimit(lookAtOnce)
	for i, name := range asked {
		g.Go(func() error {
			found[i] = persisted(name)
			return nil
		})
	}
	_ = g.Wait() // always nil
	if i := slices.Index(found, false); i >= 0 {
		return w.noWay(asked[i])
	}
	return nil
}

func (w Ways) noWay(name string) error {
	return &acme.Problem{Operation: "authz", Class: acme.ClassOperator, Identifier: acme.NewIdentifier(name),
		Detail: "no way to prove it: " + w.reasons(name) + "; see docs/challenges.md"}
}

// failedBefore are the types of challenges by which t could not be proven since
// its last success, the last one last.
func failedBefore(have *state.Snapshot, t *config.Target) []string {
	if last := have.Attempts[t.File]; last.Digest == t.Digest() {
		return strings.Fields(last.Challenges)
	}
	return nil
}
