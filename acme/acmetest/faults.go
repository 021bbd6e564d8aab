package acmetest

import (
	"net/http"
	"slices"
)

// Faults returns the table of misbehaviours, by group: listener, stalls and
// broken connections, bodies, URLs, redirects, nonces, refusals, states,
// challenges, certificates.
func Faults() []Fault {
	return slices.Concat(
		listenerFaults(),
		stallFaults(),
		connectionFaults(),
		bodyFaults(),
		objectFaults(),
		urlFaults(),
		redirectFaults(),
		nonceFaults(),
		statusFaults(),
		retryAfterFaults(),
		problemFaults(),
		problemTextFaults(),
		orderFaults(),
		authorizationFaults(),
		challengeFaults(),
		leafFaults(),
		chainFaults(),
	)
}

// A step is one of the requests of an issuance.
type step struct {
	name      string
	operation string
	when      func(x *exchange) bool // nil means all of the operation
}

// steps returns the steps of an issuance in their order.
func steps() []step {
	return []step{
		{name: "directory", operation: "directory"},
		{name: "nonce", operation: "nonce"},
		{name: "account", operation: "account"},
		{name: "order", operation: "order"},
		{name: "authz", operation: "authz", when: unanswered},
		{name: "challenge", operation: "challenge"},
		{name: "authz-poll", operation: "authz", when: answered},
		{name: "order-poll", operation: "order-poll", when: unfinalized},
		{name: "finalize", operation: "finalize"},
		{name: "order-wait", operation: "order-poll", when: finalized},
		{name: "cert", operation: "cert"},
	}
}

// stepsBut returns all steps but those named.
func stepsBut(names ...string) []step {
	return slices.DeleteFunc(steps(), func(s step) bool { return slices.Contains(names, s.name) })
}

// stepsOf returns the steps named.
func stepsOf(names ...string) []step {
	return slices.DeleteFunc(steps(), func(s step) bool { return !slices.Contains(names, s.name) })
}

// fault returns the beginning of a terminal fault at s.
func (s step) fault(name, doc string) Fault {
	return Fault{
		Name:      name + "/" + s.name,
		Doc:       doc,
		Operation: s.operation,
		Terminal:  true,
		when:      s.when,
		lags:      s.name == "order-poll",
	}
}

// answered reports whether a challenge of the authorization has been answered.
func answered(x *exchange) bool {
	return x.authz != nil && slices.ContainsFunc(x.authz.challenges, func(c *challenge) bool { return c.status != "pending" })
}

func unanswered(x *exchange) bool { return !answered(x) }

// finalized reports whether the order has got its CSR.
func finalized(x *exchange) bool { return x.order != nil && x.order.leaf != nil }

func unfinalized(x *exchange) bool { return !finalized(x) }

// optional returns f as one that may be overcome, or not.
func (f Fault) optional() Fault {
	f.Terminal, f.Optional = false, true
	return f
}

// overcome returns f as one that the client has to overcome.
func (f Fault) overcome() Fault {
	f.Terminal, f.Optional, f.Class = false, false, ""
	return f
}

// endless returns f as one that never ends by itself.
func (f Fault) endless() Fault {
	f.Endless = true
	return f
}

// member returns a change of one member of a JSON answer; a nil value removes it.
func member(name string, value any) func(*exchange) {
	return func(x *exchange) {
		x.edit(func(doc map[string]any) {
			if value == nil {
				delete(doc, name)
				return
			}
			doc[name] = value
		})
	}
}

// setBody returns a change of a whole successful answer.
func setBody(contentType, body string) func(*exchange) {
	return func(x *exchange) {
		x.header.Set("Content-Type", contentType)
		x.status, x.body = http.StatusOK, []byte(body)
	}
}
