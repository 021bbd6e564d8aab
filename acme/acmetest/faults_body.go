package acmetest

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"certd/acme"
)

// bodyFaults: the answer is no JSON object, or a strange one.
func bodyFaults() []Fault {
	type body struct {
		name, doc string
		change    func(*exchange)
		optional  bool
	}
	bodies := []body{
		{"html", "a captive portal answers 200 with HTML", setBody("text/html", "<!doctype html><title>Sign in</title><p>Welcome to the hotel"), false},
		{"garbage", "the body is no JSON", setBody("application/json", "\x00\x01\xff{{{]"), false},
		{"empty", "the body is empty", setBody("application/json", ""), false},
		{"null", "the body is null", setBody("application/json", "null"), false},
		{"array", "the body is an array", setBody("application/json", "[]"), false},
		{"nested", "the body is 100,000 objects deep", func(x *exchange) {
			x.body = []byte(strings.Repeat(`{"a":`, 100000) + "1" + strings.Repeat("}", 100000))
		}, false},
		{"cut", "the JSON ends in the middle", func(x *exchange) { x.body = x.body[:len(x.body)/2] }, false},
		{"2MiB", "the JSON has 2 MiB of padding", member("padding", strings.Repeat("a", 2<<20)), false},
		{"trailing", "a second object follows the first", func(x *exchange) { x.body = append(x.body, `{"status":"invalid"}`...) }, true},
		{"duplicate", "the status is there twice", func(x *exchange) {
			x.body = bytes.Replace(x.body, []byte("{"), []byte(`{"status":"invalid","newNonce":"https://ca.example.net/","status":"pending",`), 1)
		}, true},
		{"content-type", "the JSON claims to be an image", func(x *exchange) { x.header.Set("Content-Type", "image/png") }, true},
		{"no-content-type", "the answer has no Content-Type", func(x *exchange) { x.header["Content-Type"] = nil }, true},
	}
	var faults []Fault
	for _, b := range bodies {
		for _, s := range stepsOf("directory", "account", "order", "authz", "order-wait") {
			f := s.fault("body/"+b.name, b.doc)
			f.Class, f.change = acme.ClassTransient, b.change
			f.Endless = s.name == "order-wait" // a client may try again
			if b.optional || s.name == "account" {
				f = f.optional() // of an account, only the Location matters
			}
			faults = append(faults, f)
		}
	}
	return faults
}

// objectFaults: JSON objects miss something, or have something odd.
func objectFaults() []Fault {
	fault := func(name, operation, doc string, change func(*exchange)) Fault {
		return Fault{Name: "object/" + name, Doc: doc, Operation: operation, Terminal: true, change: change}
	}
	dropLocation := func(x *exchange) { x.header.Del("Location") }
	return []Fault{
		fault("directory-unknown-members", "directory", "the directory has members that nobody knows", func(x *exchange) {
			x.edit(func(doc map[string]any) {
				doc["Adding random entries to the directory"] = "https://community.example.net/t/33417"
				doc["newTea"] = map[string]any{"milk": true}
			})
		}).overcome(),
		fault("directory-no-meta", "directory", "the directory has no meta object", func(x *exchange) {
			x.ca.state.noTerms = true // there is nothing to agree to
			member("meta", nil)(x)
		}).overcome(),
		fault("directory-odd-meta", "directory", "the directory's meta is a list", member("meta", []int{1, 2})).optional(),
		fault("directory-no-new-order", "directory", "the directory has no newOrder", member("newOrder", nil)),
		fault("directory-no-new-nonce", "directory", "the directory has no newNonce", member("newNonce", nil)),
		fault("account-no-location", "account", "the account has no URL", dropLocation),
		fault("order-no-location", "order", "the new order has no URL", dropLocation),
		fault("order-no-finalize", "order", "the order has no finalize URL", member("finalize", nil)).and("order-poll"),
		fault("order-no-authorizations", "order", "the pending order has no authorizations", member("authorizations", []string{})).
			and("order-poll").endless(),
		fault("order-many-authorizations", "order", "the order has 10,000 authorizations", func(x *exchange) {
			var urls []string
			for i := range 10000 {
				urls = append(urls, x.ca.main.url(fmt.Sprintf("/authz/%d", 1000+i)))
			}
			member("authorizations", urls)(x)
		}),
		fault("order-other-identifiers", "order", "the order is for another name", member("identifiers", []acme.Identifier{
			{Type: "dns", Value: "other.example.net"},
		})).and("order-poll", "finalize"),
		fault("order-numeric-status", "order", "the status is a number", member("status", 7)),
		fault("order-odd-expires", "order", "the order expires on a day that is none", member("expires", "2026-13-45T99:00:00Z")).optional(),
		fault("order-expired", "order", "the order expired a year ago", member("expires", "2020-01-01T00:00:00Z")).and("order-poll").optional(),
		fault("order-200", "order", "a problem document comes with status 200", func(x *exchange) {
			x.problem(http.StatusOK, "rejectedIdentifier", "refused, but with the wrong status")
		}),
	}
}

// and returns f for further operations.
func (f Fault) and(operations ...string) Fault {
	f.also = append(f.also, operations...)
	return f
}
