package acmetest

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"certd/acme"
)

// problemAt returns a refusal with a problem document.
func problemAt(status int, kind string) func(*exchange) {
	return func(x *exchange) { x.problem(status, kind, "as the script says") }
}

// statusFaults: every step fails with a status of its own.
func statusFaults() []Fault {
	var faults []Fault
	add := func(f Fault, class acme.Class, refuse func(*exchange)) {
		f.Class, f.refuse = class, refuse
		faults = append(faults, f)
	}
	busy := func(s step, name, doc string) Fault {
		f := s.fault(name, doc)
		if s.name == "authz-poll" { // while it validates, it may be looked at again until it answers
			return f.endless()
		}
		return f
	}
	for _, s := range steps() {
		add(busy(s, "429", "refuses by a rate limit"), acme.ClassWait, problemAt(http.StatusTooManyRequests, "rateLimited"))
		add(s.fault("500/problem", "fails with a problem document"), acme.ClassTransient, problemAt(http.StatusInternalServerError, "serverInternal"))
		add(s.fault("502/html", "is hidden by a proxy that answers 502 with HTML"), acme.ClassTransient, func(x *exchange) {
			setBody("text/html", "<h1>Bad Gateway</h1>")(x)
			x.status = http.StatusBadGateway
		})
		add(s.fault("500/empty", "fails without a body"), acme.ClassTransient, func(x *exchange) { x.status = http.StatusInternalServerError })
		add(busy(s, "503", "is in maintenance, for two minutes"), acme.ClassWait, func(x *exchange) {
			x.problem(http.StatusServiceUnavailable, "serverInternal", "maintenance")
			x.header.Set("Retry-After", "120")
		})
		once := s.fault("500/once", "fails once")
		once.Times = 1
		switch s.name {
		case "order": // a second newOrder could be a second order
		case "directory", "nonce", "challenge", "finalize":
			once = once.optional()
		default:
			once = once.overcome()
		}
		add(once, once.Class, problemAt(http.StatusInternalServerError, "serverInternal"))
	}
	for _, s := range stepsOf("authz-poll", "order-wait", "cert") {
		add(s.fault("404", "has forgotten what it handed out").endless(), "", problemAt(http.StatusNotFound, "malformed"))
	}
	return faults
}

// retryAfterFaults: a rate limit or an outage names a strange time.
func retryAfterFaults() []Fault {
	values := []struct {
		name   string
		values func() []string
	}{
		{"none", func() []string { return nil }},
		{"0", func() []string { return []string{"0"} }},
		{"minus-5", func() []string { return []string{"-5"} }},
		{"1.5", func() []string { return []string{"1.5"} }},
		{"99999999999", func() []string { return []string{"99999999999"} }},
		{"int64-max", func() []string { return []string{"9223372036854775807"} }},
		{"beyond-int64", func() []string { return []string{strings.Repeat("9", 40)} }},
		{"date-past", func() []string { return []string{"Thu, 01 Jan 1970 00:00:00 GMT"} }},
		{"date-future", func() []string { return []string{time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat)} }},
		{"date-9999", func() []string { return []string{"Fri, 31 Dec 9999 23:59:59 GMT"} }},
		{"date-rfc850", func() []string {
			return []string{time.Now().Add(time.Hour).UTC().Format("Monday, 02-Jan-06 15:04:05 GMT")}
		}},
		{"garbage", func() []string { return []string{"soon"} }},
		{"empty", func() []string { return []string{""} }},
		{"two", func() []string { return []string{"60", "7200"} }},
	}
	var faults []Fault
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		for _, v := range values {
			f := stepsOf("order")[0].fault(fmt.Sprintf("retry-after/%d/%s", status, v.name), "names a strange time to come back")
			f.Class = acme.ClassWait
			if status == http.StatusServiceUnavailable {
				f.Class = "" // whether such a header counts is the client's to say
				if v.name == "none" {
					f.Class = acme.ClassTransient
				}
			}
			f.refuse = func(x *exchange) {
				kind := "rateLimited"
				if status == http.StatusServiceUnavailable {
					kind = "serverInternal"
				}
				x.problem(status, kind, "too many orders, or too few servers")
				if v.values() != nil {
					x.header["Retry-After"] = v.values()
				}
			}
			faults = append(faults, f)
		}
	}
	return faults
}

// problemFaults: a step is refused with an error type of RFC 8555 §6.7.
func problemFaults() []Fault {
	table := []struct {
		step   string
		status int
		kind   string
		class  acme.Class
	}{
		{"account", 403, "externalAccountRequired", acme.ClassOperator},
		{"account", 403, "userActionRequired", acme.ClassOperator},
		{"account", 400, "badPublicKey", acme.ClassOperator},
		{"account", 400, "badSignatureAlgorithm", acme.ClassOperator},
		{"account", 400, "unsupportedContact", acme.ClassOperator},
		{"account", 400, "invalidContact", acme.ClassOperator},
		{"order", 400, "accountDoesNotExist", acme.ClassOperator},
		{"order", 403, "userActionRequired", acme.ClassOperator},
		{"order", 401, "unauthorized", acme.ClassOperator},
		{"order", 403, "unauthorized", acme.ClassOperator},
		{"order", 400, "rejectedIdentifier", acme.ClassName},
		{"order", 400, "unsupportedIdentifier", acme.ClassName},
		{"order", 403, "caa", acme.ClassName},
		{"order", 400, "malformed", ""},
		{"order", 400, "neverHeardOf", ""},
		{"finalize", 403, "orderNotReady", acme.ClassTransient},
		{"finalize", 400, "badCSR", acme.ClassOperator},
		{"finalize", 403, "caa", acme.ClassName},
	}
	var faults []Fault
	for _, row := range table {
		f := stepsOf(row.step)[0].fault(fmt.Sprintf("problem/%s-%d", row.kind, row.status), "refuses with "+row.kind)
		f.Class, f.refuse = row.class, problemAt(row.status, row.kind)
		faults = append(faults, f)
	}
	return faults
}

// problemTextFaults: problem documents full of things that must not get
// further than an error's text.
func problemTextFaults() []Fault {
	fault := func(name, doc string, class acme.Class, change func(doc map[string]any)) Fault {
		f := stepsOf("order")[0].fault("text/"+name, doc)
		f.Class = class
		f.refuse = func(x *exchange) {
			problem := map[string]any{"type": problemType("rejectedIdentifier"), "detail": "refused", "status": 403}
			change(problem)
			x.problemDoc(http.StatusForbidden, problem)
			x.body = bytes.ReplaceAll(x.body, []byte("HALF"), []byte(`\ud800`)) // which Go would not encode
		}
		return f
	}
	detail := func(text string) func(map[string]any) {
		return func(doc map[string]any) { doc["detail"] = text }
	}
	sub := func(kind, name string) map[string]any {
		return map[string]any{"type": problemType(kind), "detail": "sub", "identifier": map[string]any{"type": "dns", "value": name}}
	}
	return []Fault{
		fault("control", "the detail has control characters and terminal escapes", acme.ClassName,
			detail("\x00\x07\x1b[2J\x1b]0;owned\x07\r\nOct 1 00:00:00 host sshd: accepted\u0085\u202e\ufeff")),
		fault("shell", "the detail is shell code", acme.ClassName, detail("$(touch /tmp/owned); `id` && rm -rf / #'\"")),
		fault("html", "the detail is HTML", acme.ClassName, detail("<script>alert(1)</script><img src=x onerror=alert(2)>")),
		fault("60KiB", "the detail has 60 KiB", acme.ClassName, detail(strings.Repeat("a", 60<<10))),
		fault("1MiB", "the detail has 1 MiB", "", detail(strings.Repeat("a", 1<<20))),
		fault("surrogate", "the detail has half of a surrogate pair", acme.ClassName, detail("a HALF pair")),
		fault("odd-types", "type and detail are no strings", "", func(doc map[string]any) {
			doc["type"], doc["detail"], doc["status"] = 7, []string{"a"}, "no number"
		}),
		fault("no-type", "the problem has no type", acme.ClassOperator, func(doc map[string]any) { delete(doc, "type") }),
		fault("instance", "the instance is a script URL", acme.ClassName, func(doc map[string]any) { doc["instance"] = "javascript:alert(1)" }),
		fault("foreign-subproblems", "subproblems are about names that were not ordered", acme.ClassName, func(doc map[string]any) {
			doc["subproblems"] = []any{sub("rejectedIdentifier", "other.example.net"), sub("caa", "../../etc/passwd\n")}
		}),
		fault("1000-subproblems", "there are 1,000 subproblems", "", func(doc map[string]any) {
			var subs []any
			for i := range 1000 {
				subs = append(subs, sub("rejectedIdentifier", fmt.Sprintf("n%d.example.net", i)))
			}
			doc["subproblems"] = subs
		}),
		fault("compound-rate-limit", "a rate limit hides in a subproblem", acme.ClassWait, func(doc map[string]any) {
			doc["type"] = problemType("compound")
			doc["subproblems"] = []any{sub("rateLimited", "www.example.com")}
		}),
	}
}
