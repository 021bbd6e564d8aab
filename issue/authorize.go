package issue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"certd/acme"
)

// A proof is one authorization of an order on its way to valid.
type proof struct {
	name       acme.Identifier // as wanted, with "*."
	authz      *acme.Authorization
	ch         acme.Challenge
	solver     Solver    // of ch; nil if the CA is at another challenge already
	ways       []way     // what else can be tried if ch cannot be presented or seen, best first
	pending    bool      // ch has to be answered
	unprepared []string  // ways that were passed over, and why
	err        error     // of the answer
	pollAt     time.Time // when the CA wants to be asked for its verdict; may be zero
}

// A way is one challenge of an authorization that can be answered.
type way struct {
	ch     acme.Challenge
	solver Solver
}

// Preference is the order in which challenge types are chosen.
func Preference() []string {
	return []string{"http-01", "tls-alpn-01", "dns-01", "dns-account-01", "dns-persist-01"}
}

// preference is Preference with what has failed before at the end, so that each
// gets its turn.
func (r *run) preference() []string {
	fresh := slices.DeleteFunc(Preference(), func(kind string) bool { return slices.Contains(r.req.Avoid, kind) })
	return slices.Concat(fresh, r.req.Avoid)
}

// authorize proves every identifier of order and returns it as ready.
func (r *run) authorize(ctx context.Context, order *acme.Order) (*acme.Order, error) {
	r.at = "authz"
	settled := make(map[string]bool) // authorizations that need no deactivation
	proofs, err := r.authorizations(ctx, order, settled)
	if err == nil {
		err = r.prove(ctx, proofs)
	}
	if err != nil {
		return nil, r.settle(ctx, order, settled, err)
	}
	// With all of them valid the order is ready (RFC 8555 §7.1.6). A CA that lags
	// behind says so when it is finalized.
	ready := *order
	ready.Status = acme.StatusReady
	return &ready, nil
}

// wait polls order until done, and decides what becomes of it if that never is.
func (r *run) wait(ctx context.Context, order *acme.Order, done func(*acme.Order) bool) (*acme.Order, error) {
	r.at = "order"
	var now *acme.Order
	err := pause(ctx, time.Until(order.PollAt))
	if err == nil {
		now, err = r.Client.WaitOrder(ctx, order.URL, done)
	}
	if err != nil {
		return nil, r.settle(ctx, order, nil, err)
	}
	return now, nil
}

// authorizations reads those of order and returns the ones still to be proven,
// each with the challenge to do so. How many there are is the CA's affair (RFC 8555
// §7.1.3), as is one for a domain above a name (RFC 9444); what we have no business
// with is refused.
func (r *run) authorizations(ctx context.Context, order *acme.Order, settled map[string]bool) ([]*proof, error) {
	all := make([]*proof, len(order.Authorizations))
	indexes := make([]int, len(all))
	for i := range indexes {
		indexes[i] = i
	}
	err := each(indexes, func(i int) error {
		authz, err := r.Client.Authorization(ctx, order.Authorizations[i])
		if err != nil {
			return err
		}
		all[i] = &proof{name: nameOf(authz), authz: authz}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, p := range all {
		settled[order.Authorizations[i]] = p.authz.Status != acme.StatusPending
		if !covers(p.authz, r.open.Names) {
			return nil, hopeless{r.nonsense("the CA's order has an authorization for " + quote(p.name.Value) + ", which was not asked for")}
		}
	}
	todo := slices.DeleteFunc(slices.Clone(all), r.proven)
	if err = each(todo, func(p *proof) error { return r.choose(ctx, p) }); err != nil {
		todo = nil
	}
	r.sweep(ctx, others(all, todo))
	return todo, err
}

// proven reports whether p was valid before this order, or run, came.
func (r *run) proven(p *proof) bool {
	if p.authz.Status != acme.StatusValid {
		return false
	}
	way := ""
	for _, ch := range p.authz.Challenges {
		if ch.Status == acme.StatusValid {
			way = ch.Type
		}
	}
	r.authorized(way, "reused")
	return true
}

// choose picks the challenge of p, and refuses an authorization that ended. Its
// errors are hopeless, but for that ctx ended while a Preparer looked.
func (r *run) choose(ctx context.Context, p *proof) error {
	if p.authz.Status != acme.StatusPending {
		return hopeless{r.ended(p)}
	}
	// What the CA was told before a crash is not told again.
	for _, ch := range p.authz.Challenges {
		if ch.Status == acme.StatusProcessing || ch.Status == acme.StatusValid {
			p.ch, p.solver = ch, r.solver(ch)
			return nil
		}
	}
	for _, kind := range r.preference() {
		for _, ch := range p.authz.Challenges {
			if solver := r.solver(ch); solver != nil && ch.Type == kind && ch.Status == acme.StatusPending {
				p.ways = append(p.ways, way{ch, solver})
			}
		}
	}
	if p.next(ctx) {
		return nil
	}
	if ctx.Err() != nil {
		return r.problem(acme.ClassTransient, p.name, ctx.Err())
	}
	return hopeless{r.problem(acme.ClassOperator, p.name, errors.New(r.noWay(p)))}
}

// next takes up the next way that is prepared, and reports whether there is one.
func (p *proof) next(ctx context.Context) bool {
	for len(p.ways) > 0 {
		first := p.ways[0]
		p.ways = p.ways[1:]
		if prepared, ok := first.solver.(Preparer); ok {
			if err := prepared.Prepared(ctx, p.authz.Identifier, first.ch); err != nil {
				p.unprepared = append(p.unprepared, first.ch.Type+": "+acme.Sanitize(err.Error()))
				continue
			}
		}
		p.ch, p.solver, p.pending = first.ch, first.solver, true
		return true
	}
	return false
}

// noWay says why no challenge of p can be answered: what is offered, and why
// each of those that certd knows is not used.
func (r *run) noWay(p *proof) string {
	s := fmt.Sprintf("no way to prove it: the CA offers %s, and certd is set up for %s", offered(p.authz.Challenges), list(r.solvable())) + r.unused(p)
	return strings.Join(append([]string{s}, p.unprepared...), "; ")
}

// unused says of each offered type that certd has no solver for why not: each
// reason after a semicolon. A solver that was not prepared says so itself.
func (r *run) unused(p *proof) string {
	s := ""
	for _, kind := range Preference() {
		why, known := r.Unusable[kind]
		if known && r.Solvers[kind] == nil && slices.ContainsFunc(p.authz.Challenges, func(ch acme.Challenge) bool { return ch.Type == kind }) {
			s += "; " + kind + ": " + why
		}
	}
	return s
}

// solver returns what can present ch, nil if nothing can.
func (r *run) solver(ch acme.Challenge) Solver {
	if ch.KeyAuthorization == "" && len(ch.IssuerDomains) == 0 {
		return nil
	}
	return r.Solvers[ch.Type]
}

func (r *run) solvable() []string {
	return slices.DeleteFunc(Preference(), func(kind string) bool { return r.Solvers[kind] == nil })
}

// offered lists the types of challenges, a few of them.
func offered(challenges []acme.Challenge) string {
	const most = 8
	var kinds []string
	for _, ch := range challenges {
		kinds = append(kinds, acme.Sanitize(ch.Type))
	}
	slices.Sort(kinds)
	if kinds = slices.Compact(kinds); len(kinds) > most {
		kinds = append(kinds[:most], "...")
	}
	return list(kinds)
}

func list(kinds []string) string {
	if len(kinds) == 0 {
		return "no challenge"
	}
	return strings.Join(kinds, ", ")
}

// ended says why an authorization is neither pending nor valid.
func (r *run) ended(p *proof) error {
	class, outcome := acme.ClassTransient, "expired" // a new order gets a new one
	if p.authz.Status == acme.StatusInvalid {
		class, outcome = acme.ClassName, "invalid"
	}
	for _, ch := range p.authz.Challenges {
		if ch.Problem != nil {
			r.authorized(ch.Type, outcome)
			return about(ch.Problem, p)
		}
	}
	r.authorized("", outcome)
	return r.problem(class, p.name, errors.New("the authorization is "+string(p.authz.Status)))
}

// about adds the name of p to a Problem that has none, or none with its "*.".
func about(err error, p *proof) error {
	problem, ok := errors.AsType[*acme.Problem](err)
	if !ok || problem.Identifier != (acme.Identifier{}) && problem.Identifier != p.authz.Identifier && problem.Identifier != p.name {
		return err
	}
	named := *problem
	named.Identifier, named.Challenge = p.name, cmp.Or(named.Challenge, p.ch.Type)
	return &named
}
