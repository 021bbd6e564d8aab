package acmetest

import (
	"net"
	"net/http"
	"strings"

	"certd/acme"
)

// urlFaults: each URL that a CA hands out, wrong in each way.
func urlFaults() []Fault {
	var faults []Fault
	for _, field := range urlFields() {
		for _, m := range urlMutations() {
			f := Fault{
				Name:      "url/" + field.name + "/" + m.name,
				Doc:       field.name + " " + m.doc,
				Operation: field.operation,
				Class:     acme.ClassOperator,
				Terminal:  true,
				also:      field.also,
				change:    func(x *exchange) { field.change(x, m.mutate) },
			}
			if field.optional || m.optional {
				f = f.optional()
				f.Class = ""
			}
			faults = append(faults, f)
		}
	}
	return faults
}

// A urlField is a place where a CA puts a URL.
type urlField struct {
	name      string
	operation string
	also      []string
	optional  bool // a client need not look at it
	change    func(x *exchange, mutate func(x *exchange, url string) string)
}

// urlFields returns the places of URLs in an issuance.
func urlFields() []urlField {
	inMember := func(name string) func(*exchange, func(*exchange, string) string) {
		return func(x *exchange, mutate func(*exchange, string) string) {
			x.edit(func(doc map[string]any) {
				if url, ok := doc[name].(string); ok {
					doc[name] = mutate(x, url)
				}
			})
		}
	}
	inHeader := func(x *exchange, mutate func(*exchange, string) string) {
		if url := x.header.Get("Location"); url != "" {
			x.header.Set("Location", mutate(x, url))
		}
	}
	return []urlField{
		{name: "directory.newNonce", operation: "directory", change: inMember("newNonce")},
		{name: "directory.newAccount", operation: "directory", change: inMember("newAccount")},
		{name: "directory.newOrder", operation: "directory", change: inMember("newOrder")},
		{name: "directory.revokeCert", operation: "directory", change: inMember("revokeCert")},
		{name: "directory.keyChange", operation: "directory", change: inMember("keyChange")},
		{name: "account.location", operation: "account", change: inHeader},
		{name: "account.orders", operation: "account", optional: true, change: inMember("orders")},
		{name: "order.location", operation: "order", change: inHeader},
		{name: "order.authorizations", operation: "order", change: inAuthorizations},
		{name: "order.finalize", operation: "order", also: []string{"order-poll"}, change: inMember("finalize")},
		{name: "order.certificate", operation: "order-poll", also: []string{"finalize"}, change: inMember("certificate")},
		{name: "challenge.url", operation: "authz", change: inChallenges},
		{name: "certificate.alternate", operation: "cert", optional: true, change: inAlternate},
	}
}

// inAuthorizations changes the URLs of an order's authorizations.
func inAuthorizations(x *exchange, mutate func(*exchange, string) string) {
	x.edit(func(doc map[string]any) {
		urls, _ := doc["authorizations"].([]any)
		for i := range urls {
			urls[i] = mutate(x, urls[i].(string))
		}
	})
}

// inChallenges changes the URLs of an authorization's challenges.
func inChallenges(x *exchange, mutate func(*exchange, string) string) {
	editChallenges(x, func(c map[string]any) { c["url"] = mutate(x, c["url"].(string)) })
}

// inAlternate changes the Link to another chain.
func inAlternate(x *exchange, mutate func(*exchange, string) string) {
	links := x.header["Link"]
	for i, link := range links {
		url, relation, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
		if ok && strings.Contains(relation, `"alternate"`) {
			links[i] = "<" + mutate(x, url) + ">" + relation
		}
	}
}

// A urlMutation is a way for a URL to be wrong.
type urlMutation struct {
	name, doc string
	optional  bool // a client may take it
	mutate    func(x *exchange, url string) string
}

// urlMutations returns the ways. What they lead to, the CA counts as strays.
func urlMutations() []urlMutation {
	return []urlMutation{
		{name: "http", doc: "is http instead of https", mutate: func(_ *exchange, url string) string {
			return "http" + strings.TrimPrefix(url, "https")
		}},
		{name: "foreign", doc: "is on another host", mutate: func(x *exchange, url string) string {
			return strings.Replace(url, x.ca.main.addr, x.ca.foreign(), 1)
		}},
		{name: "port", doc: "is on another port", mutate: func(x *exchange, url string) string {
			return strings.Replace(url, x.ca.main.addr, x.ca.other.addr, 1)
		}},
		{name: "userinfo", doc: "has a user and a password", mutate: func(_ *exchange, url string) string {
			return strings.Replace(url, "https://", "https://user:secret@", 1)
		}},
		{name: "protocol-relative", doc: "is without scheme, on another host", mutate: func(x *exchange, url string) string {
			return strings.Replace(strings.TrimPrefix(url, "https:"), x.ca.main.addr, x.ca.foreign(), 1)
		}},
		{name: "fragment", doc: "has a fragment", mutate: func(_ *exchange, url string) string { return url + "#here" }},
		{name: "64kB", doc: "is 64 kB long", mutate: func(_ *exchange, url string) string {
			return url + "?" + strings.Repeat("a", 64<<10)
		}},
		{name: "file", doc: "is a file URL", mutate: func(*exchange, string) string { return "file:///etc/passwd" }},
		{name: "relative", doc: "is a path only", optional: true, mutate: func(x *exchange, url string) string {
			return strings.TrimPrefix(url, "https://"+x.ca.main.addr)
		}},
	}
}

// foreign returns host and port of this CA under another name.
func (ca *FaultyCA) foreign() string {
	_, port, err := net.SplitHostPort(ca.main.addr)
	if err != nil {
		return "localhost"
	}
	return net.JoinHostPort("localhost", port)
}

// redirectFaults: the CA sends the client elsewhere, where only strays arrive.
func redirectFaults() []Fault {
	targets := []struct {
		name, doc string
		location  func(x *exchange) string
	}{
		{"here", "to another path", func(x *exchange) string { return x.ca.main.url("/elsewhere") }},
		{"foreign", "to another host", func(x *exchange) string { return "https://" + x.ca.foreign() + x.request.URL.Path }},
		{"http", "to the same without TLS", func(x *exchange) string { return "http://" + x.ca.main.addr + x.request.URL.Path }},
		{"loop", "to itself", func(x *exchange) string { return x.ca.main.url(x.request.URL.Path) }},
	}
	var faults []Fault
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, s := range stepsOf("directory", "nonce", "order", "cert") {
			for _, target := range targets {
				if target.name != "here" && status != http.StatusMovedPermanently && status != http.StatusPermanentRedirect {
					continue
				}
				f := s.fault("redirect/"+http.StatusText(status)+"/"+target.name, "redirects "+target.doc)
				f.Name = strings.ReplaceAll(f.Name, " ", "-")
				f.refuse = func(x *exchange) {
					x.status = status
					x.header.Set("Location", target.location(x))
				}
				faults = append(faults, f)
			}
		}
	}
	return faults
}
