package acmetest

import (
	"net/http"
	"time"

	"certd/acme"
)

// orderFaults: orders are in states that they should not be in (§7.1.6).
func orderFaults() []Fault {
	fault := func(name, doc string, class acme.Class, change func(doc map[string]any)) Fault {
		return Fault{
			Name: "order/" + name, Doc: doc, Operation: "order-poll", Terminal: true, Class: class, when: finalized,
			change: func(x *exchange) { x.edit(change) },
		}
	}
	status := func(status string) func(map[string]any) {
		return func(doc map[string]any) {
			doc["status"] = status
			delete(doc, "certificate")
		}
	}
	invalid := func(kind string) func(map[string]any) {
		return func(doc map[string]any) {
			status("invalid")(doc)
			doc["error"] = map[string]any{"type": problemType(kind), "detail": "as the script says", "status": http.StatusForbidden}
		}
	}
	early := func(f Fault) Fault {
		f.when, f.lags = unfinalized, true
		return f
	}
	return []Fault{
		fault("processing-forever", "the finalized order is processing for ever", acme.ClassTransient, status("processing")).endless(),
		fault("ready-to-pending", "the finalized order is pending again", acme.ClassTransient, status("pending")).endless(),
		fault("unknown-status", "the finalized order is in a state that does not exist", acme.ClassTransient, status("flying")).endless(),
		fault("no-status", "the finalized order has no state", acme.ClassTransient, status("")).endless(),
		fault("valid-without-certificate", "the valid order has no certificate URL", acme.ClassTransient, status("valid")).endless(),
		fault("invalid", "the finalized order is invalid, by CAA", acme.ClassName, invalid("caa")),
		fault("invalid-silently", "the finalized order is invalid, and nobody knows why", "", status("invalid")),
		early(fault("invalid-early", "the authorized order is invalid", acme.ClassName, invalid("rejectedIdentifier"))),
		early(fault("never-ready", "the authorized order stays pending", acme.ClassTransient, status("pending")).endless()),
		early(fault("unknown-status-early", "the authorized order is in a state that does not exist", acme.ClassTransient, status("flying")).endless()),
		{
			Name: "order/ready-too-early", Doc: "the new order is ready before anything was proven", Operation: "order",
			Optional: true, change: member("status", "ready"),
		},
		{
			Name: "order/invalid-at-once", Doc: "the new order is invalid", Operation: "order", Terminal: true,
			change: func(x *exchange) { x.edit(invalid("rejectedIdentifier")) }, also: []string{"order-poll"},
		},
		slowly("order/retry-after-0", "order-poll", "0", finalized, status("processing")),
		slowly("order/retry-after-past", "order-poll", "Thu, 01 Jan 1970 00:00:00 GMT", finalized, status("processing")),
		slowly("authz/retry-after-past", "authz", "Thu, 01 Jan 1970 00:00:00 GMT", answered, pendingAgain),
		slowly("authz/retry-after-future", "authz", "soon", answered, pendingAgain),
	}
}

// slowly returns a fault that is overcome by looking twice more, not faster
// than the client likes. A retryAfter of "soon" is the date in a second.
func slowly(name, operation, retryAfter string, when func(*exchange) bool, change func(map[string]any)) Fault {
	return Fault{
		Name: name, Doc: "it takes two more looks, at a strange time", Operation: operation, Times: 2, when: when,
		change: func(x *exchange) {
			value := retryAfter
			if value == "soon" {
				value = time.Now().Add(time.Second).UTC().Format(http.TimeFormat)
			}
			x.header.Set("Retry-After", value)
			x.edit(change)
		},
	}
}

// pendingAgain makes an authorization and its challenges look unfinished.
func pendingAgain(doc map[string]any) {
	doc["status"] = "pending"
	challenges, _ := doc["challenges"].([]any)
	for _, c := range challenges {
		if c := c.(map[string]any); c["status"] == "valid" {
			c["status"] = "processing"
		}
	}
}

// authorizationFaults: names are not found valid, for all the reasons there are.
func authorizationFaults() []Fault {
	fault := func(name, doc string, class acme.Class, change func(doc map[string]any)) Fault {
		return Fault{
			Name: "authz/" + name, Doc: doc, Operation: "authz", Terminal: true, Class: class, when: answered,
			change: func(x *exchange) { x.edit(change) },
		}
	}
	status := func(status string) func(map[string]any) {
		return func(doc map[string]any) {
			pendingAgain(doc)
			doc["status"] = status
		}
	}
	faults := []Fault{
		fault("pending-forever", "the authorization is pending for ever", acme.ClassTransient, pendingAgain).endless(),
		fault("unknown-status", "the authorization is in a state that does not exist", acme.ClassTransient, status("flying")).endless(),
		fault("deactivated", "the authorization is deactivated", "", status("deactivated")),
		fault("expired", "the authorization is expired", "", status("expired")),
		fault("revoked", "the authorization is revoked", "", status("revoked")),
		fault("invalid-silently", "the authorization is invalid, and nobody knows why", "", status("invalid")),
	}
	for _, kind := range []string{"dns", "connection", "tls", "unauthorized", "incorrectResponse", "caa"} {
		faults = append(faults, fault("invalid-"+kind, "the challenge failed: "+kind, acme.ClassName, func(doc map[string]any) {
			doc["status"] = "invalid"
			challenges, _ := doc["challenges"].([]any)
			for _, c := range challenges {
				if c := c.(map[string]any); c["status"] == "valid" {
					c["status"] = "invalid"
					c["error"] = map[string]any{"type": problemType(kind), "detail": "192.0.2.1: as the script says", "status": http.StatusForbidden}
				}
			}
		}))
	}
	return faults
}
