package acme

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	xacme "golang.org/x/crypto/acme"
)

const maxOrderPages = 100 // of one account's list of orders

// OrderSpec says what to order.
type OrderSpec struct {
	Identifiers []Identifier // at least one, none twice
	Profile     string       // one of Directory.Profiles; empty means the CA's default
	// Replaces is the certID (RFC 9773 §4.1) of the certificate that this one
	// succeeds; empty means none. It is left out for CAs without renewal information.
	Replaces string
}

// wireOrder is RFC 8555 §7.1.3, with the members of draft-ietf-acme-profiles and
// RFC 9773 §5.
type wireOrder struct {
	Status         Status           `json:"status"`
	Expires        time.Time        `json:"expires"`
	Identifiers    []wireIdentifier `json:"identifiers"`
	Authorizations []string         `json:"authorizations"`
	Finalize       string           `json:"finalize"`
	Certificate    string           `json:"certificate"`
	Profile        text             `json:"profile"`
	Replaces       text             `json:"replaces"`
	Error          *wireProblem     `json:"error"`
}

// NewOrder asks for a certificate (RFC 8555 §7.4). It is sent once: after a
// failure of the network or the CA there may be an order nevertheless, which
// OpenOrders finds.
func (c *Client) NewOrder(ctx context.Context, spec OrderSpec) (*Order, error) {
	r := request{name: "newOrder", op: "order"}
	want, err := cleanAll(spec.Identifiers)
	if err != nil {
		return nil, c.problem(r, nil, &Problem{Class: ClassName, Detail: "cannot order: " + err.Error()})
	}
	if err := c.prepare(ctx, r); err != nil {
		return nil, err
	}
	d, err := c.loadDirectory(ctx)
	if err != nil {
		return nil, err
	}
	var options []xacme.OrderOption
	if spec.Profile != "" {
		if err := d.CheckProfile(spec.Profile); err != nil {
			return nil, c.problem(r, nil, err)
		}
		options = append(options, xacme.WithOrderIssuanceProfile(xacme.ProfileName(spec.Profile)))
	}
	if d.RenewalInfo != "" && spec.Replaces != "" {
		r.members = map[string]any{"replaces": spec.Replaces} // RFC 9773 §5
	}
	ids := make([]xacme.AuthzID, len(want))
	for i, id := range want {
		ids[i] = xacme.AuthzID{Type: id.Type, Value: id.Value}
	}
	var order *Order
	err = c.do(ctx, r, func(ctx context.Context, x *xacme.Client) error {
		_, err := x.AuthorizeOrder(ctx, ids, options...)
		return err
	}, func(a *answer) error {
		url, err := c.origin.resolve("order URL", a.url, a.header.Get("Location"))
		if err != nil {
			return err
		}
		if order, err = c.parseOrder(a, url); err != nil {
			return err
		}
		return sameIdentifiers(order.Identifiers, want)
	})
	if err != nil {
		return nil, err
	}
	return order, nil
}

// CheckProfile returns a *Problem of ClassOperator and type invalidProfile, which
// lists the profiles there are, unless the CA has this one.
func (d *Directory) CheckProfile(profile string) error {
	if _, ok := d.Profiles[profile]; ok {
		return nil
	}
	offer := "it has none"
	if len(d.Profiles) > 0 {
		offer = "it has " + strings.Join(slices.Sorted(maps.Keys(d.Profiles)), ", ")
	}
	return &Problem{Type: "invalidProfile", Class: ClassOperator, Detail: Sanitize(fmt.Sprintf("the CA has no profile %q; %s", profile, offer))}
}

// Order reads the order at url (RFC 8555 §7.1.3). An invalid order is no error
// here; see Order.Problem.
func (c *Client) Order(ctx context.Context, url string) (*Order, error) {
	o, _, err := c.order(ctx, url)
	return o, err
}

// order is Order, and the answer it came with.
func (c *Client) order(ctx context.Context, url string) (order *Order, raw *answer, err error) {
	err = c.postAsGet(ctx, request{name: "order", op: "order"}, url, func(a *answer) (err error) {
		raw = a
		order, err = c.parseOrder(a, url)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return order, raw, nil
}

// Finalize sends the CSR (DER) for the ready order o (RFC 8555 §7.4) in exactly
// one request, and returns the order as it is then: processing or valid.
// WaitOrder waits for the certificate.
func (c *Client) Finalize(ctx context.Context, o *Order, csr []byte) (*Order, error) {
	r := request{name: "finalize", op: "finalize", once: true}
	var order *Order
	err := c.signed(ctx, r, o.Finalize, func(ctx context.Context, x *xacme.Client) error {
		_, _, err := x.CreateCertFromOrder(ctx, &xacme.Order{URI: o.URL, FinalizeURL: o.Finalize}, csr, true)
		return err
	}, func(a *answer) (err error) {
		if order, err = c.parseOrder(a, o.URL); err != nil {
			return err
		}
		if order.Status == StatusProcessing {
			order.PollAt = c.lookAt(a)
		}
		switch order.Status {
		case StatusProcessing, StatusValid:
			return sameIdentifiers(order.Identifiers, o.Identifiers)
		case StatusInvalid:
			return order.failure()
		}
		return fmt.Errorf("the order is %s after it was finalized", order.Status)
	})
	if err != nil {
		return nil, err
	}
	return order, nil
}

// OpenOrders returns the URLs in the account's list of orders (RFC 8555
// §7.1.2.1), which are those not yet finished and, at some CAs, others: at most
// 1000. ordersURL is Account.OrdersURL; without one there is nothing to list.
func (c *Client) OpenOrders(ctx context.Context, ordersURL string) ([]string, error) {
	var urls []string
	for page := 0; ordersURL != "" && page < maxOrderPages && len(urls) < maxList; page++ {
		next := ""
		err := c.postAsGet(ctx, request{name: "orders", op: "order"}, ordersURL, func(a *answer) error {
			var w struct {
				Orders []string `json:"orders"`
			}
			if err := decode(a.body, &w); err != nil {
				return err
			}
			if w.Orders == nil {
				return errors.New("the list of orders is missing")
			}
			list, err := c.resolveAll("order URL", a.url, w.Orders[:min(len(w.Orders), maxList-len(urls))])
			if err != nil {
				return err
			}
			urls = append(urls, list...)
			if targets := links(a.header, "next"); len(targets) > 0 {
				next, err = c.origin.resolve("next page of orders", a.url, targets[0])
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		ordersURL = next
	}
	return urls, nil
}

// resolveAll resolves a list of URLs found in the answer of base; repetitions
// are left out.
func (c *Client) resolveAll(what, base string, refs []string) ([]string, error) {
	if len(refs) > maxList {
		return nil, fmt.Errorf("%d times %s, more than %d", len(refs), what, maxList)
	}
	var urls []string
	seen := make(map[string]bool, len(refs))
	for _, ref := range refs {
		url, err := c.origin.resolve(what, base, ref)
		if err != nil {
			return nil, err
		}
		if !seen[url] {
			seen[url] = true
			urls = append(urls, url)
		}
	}
	return urls, nil
}

// parseOrder checks and converts an order object.
func (c *Client) parseOrder(a *answer, url string) (*Order, error) {
	var w wireOrder
	if err := decode(a.body, &w); err != nil {
		return nil, err
	}
	switch w.Status {
	case StatusPending, StatusReady, StatusProcessing, StatusValid, StatusInvalid:
	default:
		return nil, fmt.Errorf("unknown order status %q", clip(string(w.Status), 50))
	}
	o := &Order{URL: url, Status: w.Status, Expires: w.Expires.UTC(), Profile: string(w.Profile),
		Replaces: string(w.Replaces), Problem: w.Error.embedded(), PollAt: a.pollAt()}
	ids := make([]Identifier, len(w.Identifiers))
	for i, id := range w.Identifiers {
		ids[i] = Identifier{Type: string(id.Type), Value: string(id.Value)}
	}
	var err error
	if o.Identifiers, err = cleanAll(ids); err != nil {
		return nil, err
	}
	if o.Authorizations, err = c.resolveAll("authorization URL", a.url, w.Authorizations); err != nil {
		return nil, err
	}
	if len(o.Authorizations) == 0 && o.Status == StatusPending {
		return nil, errors.New("a pending order without authorizations")
	}
	if w.Finalize != "" || o.Status == StatusPending || o.Status == StatusReady {
		if o.Finalize, err = c.origin.resolve("finalize URL", a.url, w.Finalize); err != nil {
			return nil, err
		}
	}
	if o.Status == StatusValid && w.Certificate == "" {
		return nil, errors.New("a valid order without a certificate URL")
	}
	if w.Certificate != "" {
		if o.Certificate, err = c.origin.resolve("certificate URL", a.url, w.Certificate); err != nil {
			return nil, err
		}
	}
	if o.Problem != nil {
		o.Problem.CA, o.Problem.Operation = c.name, "order"
	}
	return o, nil
}

// failure is why the order became invalid.
func (o *Order) failure() *Problem {
	p := Problem{Class: ClassName, Detail: "the order is invalid; the CA does not say why"}
	if o.Problem != nil {
		p = *o.Problem
	}
	p.Status = cmp.Or(p.Status, http.StatusOK)
	return &p
}
