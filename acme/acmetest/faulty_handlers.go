package acmetest

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"certd/acme"

	"github.com/go-jose/go-jose/v4"
)

// standardHeaders sets what every answer carries (§6.5, §7.1).
func (ca *FaultyCA) standardHeaders(x *exchange) {
	if x.operation != "directory" {
		x.header.Add("Link", `<`+ca.URL()+`>;rel="index"`)
	}
	if x.operation == "nonce" || x.request.Method == http.MethodPost {
		x.header.Set("Replay-Nonce", ca.state.newNonce())
	}
	x.header.Set("Cache-Control", "no-store")
}

// handle carries out x as a correct CA does. ca.mu is held.
func (ca *FaultyCA) handle(x *exchange, body []byte) {
	ca.standardHeaders(x)
	if x.operation == "directory" || x.operation == "nonce" {
		ca.handleUnsigned(x)
		return
	}
	if x.operation == "ari" {
		ca.handleRenewalInfo(x)
		return
	}
	if x.request.Method != http.MethodPost {
		x.problem(http.StatusMethodNotAllowed, "malformed", "POST is wanted")
		return
	}
	key, why := ca.verify(x, body)
	if why != nil {
		x.problem(why.status, why.kind, why.detail)
		return
	}
	switch x.operation {
	case "account":
		ca.handleAccount(x, key)
	case "order":
		ca.handleNewOrder(x)
	case "orders-list":
		ca.handleOrders(x)
	case "order-poll", "finalize", "cert", "authz", "challenge":
		ca.handleObject(x)
	case "revoke":
		ca.handleRevoke(x, key)
	case "keychange":
		ca.handleKeyChange(x)
	default:
		x.problem(http.StatusNotImplemented, "serverInternal", "this CA cannot do that")
	}
}

// handleUnsigned answers directory and newNonce (§7.1.1, §7.2).
func (ca *FaultyCA) handleUnsigned(x *exchange) {
	if x.request.Method != http.MethodGet && x.request.Method != http.MethodHead {
		x.problem(http.StatusMethodNotAllowed, "malformed", "GET is wanted")
		return
	}
	if x.operation == "nonce" {
		if x.request.Method == http.MethodGet {
			x.status = http.StatusNoContent
		}
		return
	}
	doc := map[string]any{
		"newNonce":   ca.main.url("/new-nonce"),
		"newAccount": ca.main.url("/new-account"),
		"newOrder":   ca.main.url("/new-order"),
		"revokeCert": ca.main.url("/revoke"),
		"keyChange":  ca.main.url("/key-change"),
		"meta":       map[string]any{"termsOfService": ca.main.url("/terms"), "website": ca.main.url("/")},
	}
	if ca.renewal != nil {
		doc["renewalInfo"] = ca.main.url("/renewal-info")
	}
	x.json(http.StatusOK, doc)
}

// handleAccount answers newAccount and account URLs (§7.3).
func (ca *FaultyCA) handleAccount(x *exchange, key *jose.JSONWebKey) {
	var in struct {
		Contact              []string
		TermsOfServiceAgreed bool
		OnlyReturnExisting   bool
		Status               string
	}
	if len(x.payload) > 0 && json.Unmarshal(x.payload, &in) != nil {
		x.problem(http.StatusBadRequest, "malformed", "no account object")
		return
	}
	status := http.StatusOK
	if x.request.URL.Path == "/new-account" {
		i := slices.IndexFunc(ca.state.accounts, func(a *account) bool { return thumbprint(a.key) == thumbprint(key) })
		switch {
		case i >= 0 && ca.state.accounts[i].status != "valid":
			x.problem(http.StatusForbidden, "unauthorized", "the account is "+ca.state.accounts[i].status)
			return
		case i >= 0:
			x.account = ca.state.accounts[i]
		case in.OnlyReturnExisting:
			x.problem(http.StatusBadRequest, "accountDoesNotExist", "no account has this key")
			return
		case !in.TermsOfServiceAgreed && !ca.state.noTerms:
			x.problem(http.StatusForbidden, "userActionRequired", "the terms of service must be agreed to")
			return
		default:
			x.account = &account{id: ca.state.nextID(), key: key, status: "valid", contacts: in.Contact}
			ca.state.accounts = append(ca.state.accounts, x.account)
			status = http.StatusCreated
		}
		x.header.Set("Location", ca.main.url("/account/"+x.account.id))
	} else if x.id != x.account.id {
		x.problem(http.StatusForbidden, "unauthorized", "the account is somebody else's")
		return
	} else if in.Status == "deactivated" {
		x.account.status = in.Status
	} else if in.Contact != nil {
		x.account.contacts = in.Contact
	}
	x.json(status, map[string]any{
		"status":  x.account.status,
		"contact": slices.Concat([]string{}, x.account.contacts),
		"orders":  ca.main.url("/orders/" + x.account.id),
	})
}

// handleNewOrder answers newOrder (§7.4).
func (ca *FaultyCA) handleNewOrder(x *exchange) {
	var in struct {
		Identifiers []acme.Identifier
		Replaces    string
	}
	if json.Unmarshal(x.payload, &in) != nil || len(in.Identifiers) == 0 {
		x.problem(http.StatusBadRequest, "malformed", "no order object with identifiers")
		return
	}
	for _, id := range in.Identifiers {
		if id.Type != "dns" && id.Type != "ip" {
			x.problem(http.StatusBadRequest, "unsupportedIdentifier", "dns and ip are what this CA knows")
			return
		}
	}
	if ca.refuses(x, in.Replaces) {
		return
	}
	x.order = ca.reusable(x.account, in.Identifiers)
	if x.order == nil {
		x.order = &order{
			id:          ca.state.nextID(),
			account:     x.account,
			identifiers: in.Identifiers,
			expires:     time.Now().Add(24 * time.Hour),
			replaces:    in.Replaces,
		}
		for _, id := range in.Identifiers {
			x.order.authzs = append(x.order.authzs, ca.state.newAuthorization(x.account, id))
		}
		ca.state.orders = append(ca.state.orders, x.order)
	}
	x.header.Set("Location", ca.main.url("/order/"+x.order.id))
	x.json(http.StatusCreated, ca.orderDoc(x.order))
}

// reusable returns the account's open order for these identifiers if the CA
// reuses orders; else nil.
func (ca *FaultyCA) reusable(a *account, identifiers []acme.Identifier) *order {
	for _, o := range ca.state.orders {
		if ca.reuse && o.account == a && (o.status() == "pending" || o.status() == "ready") && slices.Equal(o.identifiers, identifiers) {
			return o
		}
	}
	return nil
}

// orderDoc returns an order object (§7.1.3).
func (ca *FaultyCA) orderDoc(o *order) map[string]any {
	doc := map[string]any{
		"status":      o.status(),
		"expires":     o.expires.UTC().Format(time.RFC3339),
		"identifiers": o.identifiers,
		"finalize":    ca.main.url("/finalize/" + o.id),
	}
	var urls []string
	for _, z := range o.authzs {
		urls = append(urls, ca.main.url("/authz/"+z.id))
		for _, c := range z.challenges {
			if c.problem != nil && c.status == "invalid" {
				doc["error"] = c.problem
			}
		}
	}
	doc["authorizations"] = urls
	if o.replaces != "" && ca.renewal != nil && !ca.renewal.Mute {
		doc["replaces"] = o.replaces
	}
	if o.status() == "valid" {
		doc["certificate"] = ca.main.url("/cert/" + o.id)
	}
	return doc
}

// handleOrders answers the orders list, two a page (§7.1.2.1).
func (ca *FaultyCA) handleOrders(x *exchange) {
	if x.id != x.account.id {
		x.problem(http.StatusForbidden, "unauthorized", "the list is somebody else's")
		return
	}
	const page = 2
	urls := []string{}
	for _, o := range ca.state.orders {
		if o.account == x.account && o.status() != "invalid" {
			urls = append(urls, ca.main.url("/order/"+o.id))
		}
	}
	from, err := strconv.Atoi(x.request.URL.Query().Get("from"))
	if err != nil || from < 0 {
		from = 0
	}
	from = min(from, len(urls))
	to := min(from+page, len(urls))
	if to < len(urls) {
		x.header.Add("Link", `<`+ca.main.url("/orders/"+x.id+"?from="+strconv.Itoa(to))+`>;rel="next"`)
	}
	x.json(http.StatusOK, map[string]any{"orders": urls[from:to]})
}

// handleObject answers for one order or authorization of the account's own.
func (ca *FaultyCA) handleObject(x *exchange) {
	switch {
	case x.order != nil && x.order.account != x.account || x.authz != nil && x.authz.account != x.account:
		x.problem(http.StatusForbidden, "unauthorized", "this is somebody else's")
	case x.order == nil && x.authz == nil:
		x.problem(http.StatusNotFound, "malformed", "there is no such thing")
	case x.operation == "order-poll":
		x.order.looked = x.order.status() != "pending"
		x.order.issued = x.order.leaf != nil // so that a client has to look once
		x.json(http.StatusOK, ca.orderDoc(x.order))
	case x.operation == "finalize":
		ca.handleFinalize(x)
	case x.operation == "cert":
		ca.handleCertificate(x)
	case x.operation == "authz":
		ca.handleAuthorization(x)
	case x.operation == "challenge":
		ca.handleChallenge(x)
	}
}

// handleFinalize takes the CSR and lets the client poll once (§7.4).
func (ca *FaultyCA) handleFinalize(x *exchange) {
	lags := slices.ContainsFunc(ca.faults, func(f *fault) bool { return f.lags })
	if x.order.status() != "ready" || lags && !x.order.looked {
		x.problem(http.StatusForbidden, "orderNotReady", "the order is "+x.order.status())
		return
	}
	var in struct{ CSR string }
	if json.Unmarshal(x.payload, &in) != nil {
		x.problem(http.StatusBadRequest, "malformed", "no finalize object")
		return
	}
	der, err := base64.RawURLEncoding.DecodeString(in.CSR)
	if err != nil {
		x.problem(http.StatusBadRequest, "malformed", "the CSR is not base64url")
		return
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil || csr.CheckSignature() != nil {
		x.problem(http.StatusBadRequest, "badCSR", "the CSR cannot be read or is not signed by its key")
		return
	}
	if !slices.Equal(requestNames(csr), x.order.names()) {
		x.problem(http.StatusBadRequest, "badCSR", "the CSR's names are not the order's: "+strings.Join(requestNames(csr), " "))
		return
	}
	leaf, err := ca.issuer.issue(x.order.names(), csr.PublicKey, nil)
	if err != nil {
		x.problem(http.StatusInternalServerError, "serverInternal", err.Error())
		return
	}
	x.order.request, x.order.leaf = csr, leaf
	x.header.Set("Location", ca.main.url("/order/"+x.order.id))
	x.json(http.StatusOK, ca.orderDoc(x.order))
}

// handleCertificate answers with one of the two chains (§7.4.2).
func (ca *FaultyCA) handleCertificate(x *exchange) {
	if !x.order.issued {
		x.problem(http.StatusNotFound, "malformed", "there is no such certificate")
		return
	}
	here, there, middle := "", "/alternate", ca.issuer.intermediate.cert.Raw
	if x.id == "alternate" {
		here, there, middle = there, here, ca.issuer.cross
	}
	x.header.Add("Link", `<`+ca.main.url("/cert/"+x.order.id+there)+`>;rel="alternate"`)
	x.header.Set("Content-Location", ca.main.url("/cert/"+x.order.id+here))
	x.header.Set("Content-Type", "application/pem-certificate-chain")
	x.body = pemCert(x.order.leaf, middle)
}
