package acmetest

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"certd/acme"
)

// handleAuthorization answers for an authorization, or deactivates it (§7.5).
func (ca *FaultyCA) handleAuthorization(x *exchange) {
	if len(x.payload) > 0 {
		var in struct{ Status string }
		if json.Unmarshal(x.payload, &in) != nil || in.Status != "deactivated" {
			x.problem(http.StatusBadRequest, "malformed", "deactivated is the only status to ask for")
			return
		}
		x.authz.status = in.Status
	}
	var challenges []map[string]any
	for _, c := range x.authz.challenges {
		challenges = append(challenges, ca.challengeDoc(x.authz, c))
	}
	doc := map[string]any{
		"status":     x.authz.status,
		"expires":    x.authz.expires.UTC().Format(time.RFC3339),
		"identifier": x.authz.identifier,
		"challenges": challenges,
	}
	if x.authz.wildcard {
		doc["wildcard"] = true
	}
	x.json(http.StatusOK, doc)
}

// challengeDoc returns a challenge object (§7.1.5, §8).
func (ca *FaultyCA) challengeDoc(z *authorization, c *challenge) map[string]any {
	doc := map[string]any{
		"type":   c.kind,
		"url":    ca.main.url("/challenge/" + z.id + "/" + c.kind),
		"token":  c.token,
		"status": c.status,
	}
	if c.problem != nil {
		doc["error"] = c.problem
	}
	return doc
}

// handleChallenge validates a challenge when its client is ready (§7.5.1).
func (ca *FaultyCA) handleChallenge(x *exchange) {
	i := slices.IndexFunc(x.authz.challenges, func(c *challenge) bool { return c.kind == x.id })
	if i < 0 {
		x.problem(http.StatusNotFound, "malformed", "there is no such challenge")
		return
	}
	c := x.authz.challenges[i]
	if len(x.payload) > 0 && c.status == "pending" && x.authz.status == "pending" {
		err := ca.validateUnlocked(x, c)
		switch {
		case err == nil:
			c.status, x.authz.status, c.problem = "valid", "valid", nil
		case ca.again:
			c.status, c.problem = "pending", validationProblem(err)
		default:
			c.status, x.authz.status = "invalid", "invalid"
			c.problem = validationProblem(err)
		}
	}
	x.header.Add("Link", `<`+ca.main.url("/authz/"+x.authz.id)+`>;rel="up"`)
	x.json(http.StatusOK, ca.challengeDoc(x.authz, c))
}

// validateUnlocked asks Validate, if there is one, with ca.mu released: it may
// take its time, and others go on.
func (ca *FaultyCA) validateUnlocked(x *exchange, c *challenge) error {
	if ca.validate == nil {
		return nil
	}
	id, kind, token := x.authz.identifier, c.kind, c.token
	keyAuthorization := token + "." + thumbprint(x.account.key)
	c.status = "processing"
	ca.mu.Unlock()
	defer ca.mu.Lock()
	return ca.validate(x.request.Context(), id, kind, token, keyAuthorization)
}

// validationProblem returns the problem document of a failed validation.
func validationProblem(err error) map[string]any {
	kind, detail := "incorrectResponse", err.Error()
	if p, ok := errors.AsType[*acme.Problem](err); ok {
		detail = p.Detail
		if p.Type != "" {
			kind = p.Type
		}
	}
	return map[string]any{"type": problemType(kind), "detail": detail, "status": http.StatusForbidden}
}
