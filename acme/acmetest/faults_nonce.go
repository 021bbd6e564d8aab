package acmetest

import (
	"net/http"
	"strings"

	"certd/acme"
)

// nonceFaults: nonces are refused, missing, or no nonces (RFC 8555 §6.5).
func nonceFaults() []Fault {
	badNonce := problemAt(http.StatusBadRequest, "badNonce")
	var faults []Fault
	for _, s := range stepsBut("directory", "nonce") {
		f := s.fault("nonce/bad-twice", "refuses the nonce twice").overcome()
		f.Times, f.refuse = 2, badNonce
		faults = append(faults, f)
	}
	for _, s := range stepsOf("account", "order", "finalize", "cert") {
		f := s.fault("nonce/bad-always", "refuses every nonce")
		f.Class, f.refuse = acme.ClassTransient, badNonce
		faults = append(faults, f)
	}
	posts := []string{"order", "order-poll", "authz", "challenge", "finalize", "cert"}
	fresh := func(name, doc string, change func(*exchange)) Fault { // by newNonce only
		return Fault{Name: "nonce/" + name, Doc: doc, Operation: "nonce", Terminal: true, Class: acme.ClassTransient, change: change}
	}
	along := func(name, doc string, change func(*exchange)) Fault { // with every signed request
		return Fault{Name: "nonce/" + name, Doc: doc, Operation: "account", also: posts, change: change}
	}
	set := func(value string) func(*exchange) {
		return func(x *exchange) { x.header.Set("Replay-Nonce", value) }
	}
	return append(faults,
		fresh("none", "newNonce gives no nonce", func(x *exchange) { x.header.Del("Replay-Nonce") }),
		fresh("huge", "newNonce gives a nonce of 64 kB", set(strings.Repeat("a", 64<<10))),
		fresh("charset", "newNonce gives a nonce that is not base64url", set(`"><script>alert(1)</script>`)),
		fresh("empty", "newNonce gives an empty nonce", set("")),
		raw(fresh("fold", "newNonce folds its nonce over two lines", set("abc\r\n def"))),
		raw(fresh("cr", "newNonce's nonce has a carriage return", set("abc\rdef"))),
		raw(fresh("nul", "newNonce's nonce has a NUL", set("abc\x00def"))),
		along("none-along", "only newNonce gives nonces", func(x *exchange) { x.header.Del("Replay-Nonce") }),
		along("huge-along", "every nonce but newNonce's has 64 kB", set(strings.Repeat("a", 64<<10))).optional(),
		along("charset-along", "every nonce but newNonce's is not base64url", set("not base64url!")).optional(),
		along("two-along", "there are two nonces at once", func(x *exchange) { x.header.Add("Replay-Nonce", randomToken()) }).optional(),
		repeatedNonce(fresh("repeated", "the first nonce is given again and again", nil)).and(append(posts, "account")...),
	)
}

// raw returns f with its answer sent past net/http, which would clean it up.
func raw(f Fault) Fault {
	f.wire = func(w http.ResponseWriter, x *exchange) { sendRaw(w, rawAnswer(x)) }
	return f
}

// repeatedNonce returns f with every nonce replaced by the first, which works once.
func repeatedNonce(f Fault) Fault {
	f.change = func(x *exchange) {
		if x.ca.state.firstNonce == "" {
			x.ca.state.firstNonce = x.header.Get("Replay-Nonce")
		}
		x.header.Set("Replay-Nonce", x.ca.state.firstNonce)
	}
	return f
}
