package acmetest

import (
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"slices"

	"certd/acme"
)

// A Fault is one misbehaviour of the scripted CA, in an otherwise working
// issuance. The zero value does nothing.
type Fault struct {
	Name      string // unique in the table, such as "redirect/308/order"
	Doc       string // what the CA does wrong, one sentence without a period
	Operation string // as in Request: which requests are answered wrongly; empty for faults of the TLS listener
	After     int    // how many of those requests are answered correctly first
	Times     int    // how many are answered wrongly from then on; 0 means all

	// Class is what a failure has to be classified as; empty if the table leaves
	// that to the client.
	Class acme.Class
	// Terminal says that the run must fail. Otherwise the client should
	// overcome the fault and get its certificate, unless Optional.
	Terminal bool
	// Optional says that both failing and succeeding are right, as long as a
	// success is a certificate that would have been accepted without the fault.
	Optional bool
	// Acceptance says that only who compares the answer with what was ordered
	// can notice: package issue, not package acme.
	Acceptance bool
	// Endless says that the fault never ends by itself: the test must set short
	// deadlines, and the error may be its own context's.
	Endless bool

	// lags says that an order gets ready only when it is looked at, so that a
	// client which finalizes at once has to look.
	lags   bool
	also   []string               // further operations that are answered wrongly
	when   func(x *exchange) bool // narrows the requests down; nil means all
	refuse func(x *exchange)      // answers instead of the CA, which then knows nothing of the request
	change func(x *exchange)      // changes the CA's answer
	wire   func(w http.ResponseWriter, x *exchange)
	listen func(l *listening)
}

// Nth returns f, but only the nth of its requests (from 1) is answered wrongly.
func (f Fault) Nth(n int) Fault {
	f.After, f.Times = n-1, 1
	return f
}

// FaultNamed returns the fault of the table with this name; ok is false if
// there is none.
func FaultNamed(name string) (f Fault, ok bool) {
	faults := Faults()
	i := slices.IndexFunc(faults, func(f Fault) bool { return f.Name == name })
	if i < 0 {
		return Fault{}, false
	}
	return faults[i], true
}

// Respond returns a fault that answers all requests of operation with this
// status, header and body, without telling the CA about them.
func Respond(operation string, status int, header http.Header, body string) Fault {
	return Fault{
		Name:      "respond/" + operation,
		Doc:       "answers with a given status and body",
		Operation: operation,
		Terminal:  true,
		refuse: func(x *exchange) {
			for name, values := range header {
				x.header[http.CanonicalHeaderKey(name)] = values
			}
			x.status, x.body = status, []byte(body)
		},
	}
}

// A listening is how the TLS listener misbehaves.
type listening struct {
	certificate func(*x509.Certificate) // changes its certificate; nil means no change
	unknownRoot bool                    // RootsPEM is of somebody else
	maxVersion  uint16                  // of TLS; 0 means the current one
	plain       bool                    // HTTP is spoken instead of TLS
	hang        bool                    // the handshake is never answered
}

// A fault is a Fault at work. Its fields are guarded by FaultyCA.mu.
type fault struct {
	Fault
	seen int // matching requests so far
	hits int // those answered wrongly
}

// applies counts x if it matches, and reports whether it is to go wrong.
func (f *fault) applies(x *exchange) bool {
	if x.operation != f.Operation && !slices.Contains(f.also, x.operation) || f.when != nil && !f.when(x) {
		return false
	}
	f.seen++
	if f.seen <= f.After || f.Times > 0 && f.seen > f.After+f.Times {
		return false
	}
	f.hits++
	return true
}

// An exchange is one request and the answer it gets.
type exchange struct {
	ca        *FaultyCA
	request   *http.Request
	operation string
	id        string // last element of the path
	order     *order // that it is about, nil if none
	authz     *authorization
	payload   []byte // of the verified JWS
	account   *account

	status int
	header http.Header
	body   []byte
	send   func(w http.ResponseWriter, x *exchange)
}

// serve answers a request: look up, refuse or handle, change, send.
func (ca *FaultyCA) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "the request is too long or broke off", http.StatusBadRequest)
		return
	}
	x := &exchange{
		ca:        ca,
		request:   r,
		operation: operationOf(faultyRoutes(), r.URL.Path),
		header:    http.Header{},
		status:    http.StatusOK,
		send:      sendAnswer,
	}
	ca.answer(x, body)
	x.send(w, x)
}

// answer fills in the answer to x, faults applied.
func (ca *FaultyCA) answer(x *exchange, body []byte) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.lookUp(x)
	var active []*fault
	refused := false
	for _, f := range ca.faults {
		if !f.applies(x) {
			continue
		}
		active = append(active, f)
		if f.refuse != nil && !refused {
			refused = true
			ca.standardHeaders(x)
			f.refuse(x)
		}
	}
	if !refused {
		ca.handle(x, body)
	}
	for _, f := range active {
		if f.change != nil {
			f.change(x)
		}
		if f.wire != nil {
			x.send = f.wire
		}
	}
}

// sendAnswer sends the answer as it is.
func sendAnswer(w http.ResponseWriter, x *exchange) {
	for name, values := range x.header {
		w.Header()[name] = values
	}
	w.WriteHeader(x.status)
	// A client that does not read its answer has its own error.
	_, _ = w.Write(x.body)
}

// json sets a JSON body.
func (x *exchange) json(status int, doc any) {
	body, err := json.Marshal(doc)
	if err != nil {
		x.problem(http.StatusInternalServerError, "serverInternal", err.Error())
		return
	}
	x.header.Set("Content-Type", "application/json")
	x.status, x.body = status, body
}

// problem sets a problem document (RFC 8555 §6.7).
func (x *exchange) problem(status int, kind, detail string) {
	x.problemDoc(status, map[string]any{"type": problemType(kind), "detail": detail, "status": status})
}

// problemDoc sets a problem document of any content.
func (x *exchange) problemDoc(status int, doc map[string]any) {
	x.json(status, doc)
	x.header.Set("Content-Type", "application/problem+json")
}

// problemType returns the URN of an error type.
func problemType(kind string) string { return "urn:ietf:params:acme:error:" + kind }

// edit changes the members of a JSON answer that is no problem document.
func (x *exchange) edit(f func(doc map[string]any)) {
	var doc map[string]any
	if x.status >= http.StatusBadRequest || json.Unmarshal(x.body, &doc) != nil {
		return
	}
	f(doc)
	x.json(x.status, doc)
}
