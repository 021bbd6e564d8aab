package acmetest

import (
	"fmt"
	"strings"

	"certd/acme"
)

// editChallenges changes each challenge of an authorization.
func editChallenges(x *exchange, change func(c map[string]any)) {
	x.edit(func(doc map[string]any) {
		challenges, _ := doc["challenges"].([]any)
		for _, c := range challenges {
			change(c.(map[string]any))
		}
	})
}

// challengeFault returns a fault of the challenges in an authorization.
func challengeFault(name, doc string, change func(x *exchange)) Fault {
	return Fault{Name: "challenge/" + name, Doc: doc, Operation: "authz", Terminal: true, change: change}
}

// tokenFaults: tokens that would do harm as file names, in shells and in HTTP.
func tokenFaults() []Fault {
	tokens := map[string]string{
		"dots":       "../../x",
		"long-dots":  strings.Repeat("../", 20) + "etc/passwd",
		"shell":      "$(touch owned)`id`;aaaaaaaaaaaaaaaa",
		"newline":    "aaaaaaaaaaaaaaaaaaaaaaaa\nbbbb",
		"nul":        "aaaaaaaaaaaaaaaaaaaaaaaa\x00bbbb",
		"empty":      "",
		"short":      "abc",
		"10kB":       strings.Repeat("a", 10<<10),
		"absolute":   "/etc/passwd/aaaaaaaaaaaaaaaaaaaaaa",
		"space":      "aaaaaaaaaaaa aaaaaaaaaaaaaaa",
		"not-ascii":  "äöüäöüäöüäöüäöüäöüäöüäöü",
		"dot-suffix": "aaaaaaaaaaaaaaaaaaaaaaaa.aaaa",
	}
	var faults []Fault
	for name, token := range tokens {
		faults = append(faults, challengeFault("token-"+name, "the tokens are hostile", func(x *exchange) {
			editChallenges(x, func(c map[string]any) { c["token"] = token })
		}))
	}
	return sorted(faults)
}

// challengeFaults: authorizations that are not what was ordered, or prove nothing.
func challengeFaults() []Fault {
	fault := challengeFault
	acceptance := func(f Fault) Fault {
		f.Acceptance = true
		return f
	}
	return append(tokenFaults(),
		fault("token-missing", "the challenges have no tokens", func(x *exchange) {
			editChallenges(x, func(c map[string]any) { delete(c, "token") })
		}),
		fault("token-number", "the tokens are numbers", func(x *exchange) {
			editChallenges(x, func(c map[string]any) { c["token"] = 1e20 })
		}),
		acceptance(fault("token-duplicated", "all challenges have the same token", func(x *exchange) {
			editChallenges(x, func(c map[string]any) { c["token"] = strings.Repeat("t", 30) })
		})).optional(),
		fault("no-url", "the challenges have no URLs", func(x *exchange) {
			editChallenges(x, func(c map[string]any) { delete(c, "url") })
		}),
		acceptance(fault("other-identifier", "the authorization is for another name", func(x *exchange) {
			member("identifier", acme.Identifier{Type: "dns", Value: "other.example.net"})(x)
		})),
		acceptance(fault("wildcard", "the wildcard flag is the wrong way round", func(x *exchange) {
			x.edit(func(doc map[string]any) { doc["wildcard"] = doc["wildcard"] != true })
		})),
		acceptance(fault("none", "there are no challenges", member("challenges", []any{}))),
		acceptance(fault("unknown-types", "all challenges are of types that nobody knows", func(x *exchange) {
			editChallenges(x, func(c map[string]any) { c["type"] = "pigeon-01" })
		})),
		fault("500", "there are 500 challenges", func(x *exchange) {
			x.edit(func(doc map[string]any) {
				challenges, _ := doc["challenges"].([]any)
				for i := range 500 - len(challenges) {
					challenges = append(challenges, map[string]any{
						"type": fmt.Sprintf("pigeon-%02d", i), "status": "pending",
						"url": x.ca.main.url(fmt.Sprintf("/challenge/%s/pigeon-%d", x.id, i)), "token": randomToken(),
					})
				}
				doc["challenges"] = challenges
			})
		}).optional(),
	)
}
