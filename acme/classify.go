package acme

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	maxSubproblems = 100       // kept of one problem document
	defaultWait    = time.Hour // of a rate limit that names no time
	minWait        = time.Second
	maxWait        = 24 * time.Hour

	// validation stands for the request where an error is part of an order or
	// an authorization: it is about the names.
	validation = "validation"
)

// wireProblem is a problem document (RFC 7807, RFC 8555 §6.7). Every member is
// optional, so that the rest of a document with one bad member is still read.
type wireProblem struct {
	Type        text             `json:"type"`
	Detail      detail           `json:"detail"`
	Status      json.RawMessage  `json:"status"`
	Instance    text             `json:"instance"`
	Identifier  wireIdentifier   `json:"identifier"`
	Subproblems []wireSubproblem `json:"subproblems"`
}

type wireSubproblem struct {
	Type       text           `json:"type"`
	Detail     text           `json:"detail"`
	Identifier wireIdentifier `json:"identifier"`
}

// text is a JSON string for people to read: sanitised, and empty if it is
// something other than a string.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(data []byte) error {
	var s string
	if json.Unmarshal(data, &s) == nil {
		*t = text(Sanitize(s))
	}
	return nil
}

// errorType shortens the URN of an ACME error to its name. Old CAs leave out
// "ietf:params:"; types of other namespaces stay as they are.
func errorType(t string) string {
	for _, prefix := range []string{"urn:ietf:params:acme:error:", "urn:acme:error:"} {
		if len(t) > len(prefix) && strings.EqualFold(t[:len(prefix)], prefix) {
			return t[len(prefix):]
		}
	}
	if t == "about:blank" {
		return ""
	}
	return t
}

// problem converts the document; about is the request that it answers, or
// validation. retry reports whether the answer carried a Retry-After.
func (w *wireProblem) problem(about string, status int, retry bool) *Problem {
	p := &Problem{
		Type:     errorType(string(w.Type)),
		Detail:   w.Detail.text,
		Status:   status,
		Instance: string(w.Instance),
	}
	p.Identifier, _ = w.Identifier.clean()
	for _, s := range w.Subproblems[:min(len(w.Subproblems), maxSubproblems)] {
		id, _ := s.Identifier.clean()
		p.Subproblems = append(p.Subproblems, Subproblem{
			Type: errorType(string(s.Type)), Detail: string(s.Detail), Identifier: id,
		})
	}
	if p.Identifier == (Identifier{}) && len(p.Subproblems) == 1 {
		p.Identifier = p.Subproblems[0].Identifier
	}
	p.Class = classify(p, about, retry)
	if p.Class == ClassWait {
		p.RetryAt, p.RetryGuess = time.Now().Add(defaultWait).UTC(), true
	}
	if p.Type == "rateLimited" && saysPaused(w) {
		p.Paused, p.Unpause = true, cmp.Or(w.Detail.url, webURL(p.Instance))
		p.RetryAt, p.RetryGuess = time.Now().Add(maxWait).UTC(), false
	}
	return p
}

// embedded converts the error inside of an order or a challenge; nil stays nil.
func (w *wireProblem) embedded() *Problem {
	if w == nil {
		return nil
	}
	var status int
	if json.Unmarshal(w.Status, &status) != nil || status < 400 || status > 599 {
		status = 0
	}
	return w.problem(validation, status, false)
}

// answerProblem reads the problem document in a, which has a status of 400 or
// more. An answer that is no problem document is quoted.
func answerProblem(a *answer, about string) *Problem {
	var w wireProblem
	_ = decode(a.body, &w) // what cannot be read stays empty
	wait, given := retryAfter(a.header, a.date())
	p := w.problem(about, a.status, given)
	if p.Type == "" && p.Detail == "" {
		p.Detail = "no problem document; " + quote(a.body)
	}
	if given && !p.Paused { // somebody must act: to look once a day is enough
		p.RetryAt, p.RetryGuess = a.at.Add(min(max(wait, minWait), maxWait)).UTC(), false
	}
	return p
}

// classify says what can be done about p. retry reports whether the answer
// carried a Retry-After.
func classify(p *Problem, about string, retry bool) Class {
	switch {
	case p.Status == http.StatusTooManyRequests, p.Status == http.StatusServiceUnavailable && retry:
		return ClassWait
	case p.Type == "compound" || p.Type == "" && len(p.Subproblems) > 0:
		if c := compoundClass(p.Subproblems, about); c != "" {
			return c
		}
	}
	named := p.Identifier != (Identifier{}) || len(p.Subproblems) > 0
	if c := typeClass(p.Type, about, named); c != "" {
		return c
	}
	if p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden {
		return ClassOperator
	}
	return ClassTransient
}

// typeClass is the class of an error type of RFC 8555 §6.7, empty for types that
// say too little. named reports whether the problem names an identifier.
func typeClass(typ, about string, named bool) Class {
	switch typ {
	case "rateLimited":
		return ClassWait
	case "rejectedIdentifier", "unsupportedIdentifier", "dns", "connection", "tls", "incorrectResponse", "caa":
		return ClassName
	case "unauthorized":
		if named || about == validation {
			return ClassName
		}
		return ClassOperator
	case "malformed":
		if named || about == "newOrder" || about == validation {
			return ClassName
		}
	case "userActionRequired", "externalAccountRequired", "accountDoesNotExist", "badCSR", "badPublicKey",
		"badSignatureAlgorithm", "unsupportedContact", "invalidContact", "invalidProfile":
		return ClassOperator
	case "badNonce", "serverInternal", "orderNotReady":
		return ClassTransient
	}
	return ""
}

// compoundClass is the most patient class among the subproblems.
func compoundClass(subs []Subproblem, about string) Class {
	var classes []Class
	for _, s := range subs {
		classes = append(classes, typeClass(s.Type, about, true))
	}
	for _, c := range []Class{ClassWait, ClassOperator, ClassName, ClassTransient} {
		if slices.Contains(classes, c) {
			return c
		}
	}
	return ""
}
