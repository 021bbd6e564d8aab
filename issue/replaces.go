package issue

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"certd/acme"
)

// What becomes of an order that replaces a certificate.
const (
	ReplaceOK      = "ok"      // the CA's order says so
	ReplaceMute    = "mute"    // the CA took the order and says nothing of it
	ReplaceRefused = "refused" // the CA did not take the order, and it was sent again without
)

// sendOrder sends newOrder. If the CA will not replace the certificate that it is
// to replace, the account's list is searched for the order that did, and then it
// is sent once more as one that replaces nothing: never twice with the same.
func (r *run) sendOrder(ctx context.Context) (*acme.Order, error) {
	spec := acme.OrderSpec{Profile: r.open.Profile, Replaces: r.open.Replaces}
	for _, name := range r.open.Names {
		spec.Identifiers = append(spec.Identifiers, acme.NewIdentifier(name))
	}
	order, err := r.Client.NewOrder(ctx, spec)
	if spec.Replaces == "" || !r.offersRenewal(ctx) {
		return order, err
	}
	if err == nil {
		if order.Replaces == spec.Replaces {
			r.replaced(ReplaceOK, "")
		} else {
			r.replaced(ReplaceMute, "")
		}
		return order, nil
	}
	problem, _ := errors.AsType[*acme.Problem](err)
	if !unreplaceable(problem) {
		return nil, err
	}
	if problem.Type == "alreadyReplaced" && !r.req.Adopt {
		if order, err := r.adopt(ctx); err == nil && order != nil {
			return order, nil
		}
	}
	r.replaced(ReplaceRefused, problem.Error())
	r.open.Replaces, spec.Replaces = "", ""
	if r.req.Admit != nil {
		if err := r.req.Admit(); err != nil {
			return nil, err
		}
	}
	return r.Client.NewOrder(ctx, spec)
}

// offersRenewal reports whether the CA hears of what an order replaces.
func (r *run) offersRenewal(ctx context.Context) bool {
	d, err := r.Client.Directory(ctx)
	return err == nil && d.RenewalInfo != ""
}

func (r *run) replaced(outcome, why string) {
	if r.Replaced != nil {
		r.Replaced(outcome, why)
	}
}

// unreplaceable reports whether a newOrder may have been refused because of what
// it replaces: every refusal but those that say when to come again, and a failure
// of the CA whose words are about it. A CA that redirects, or gave no answer, has
// not refused anything.
func unreplaceable(p *acme.Problem) bool {
	switch {
	case p == nil || p.Class == acme.ClassWait || p.Type == "badNonce" || p.Operation != "order":
		return false
	case p.Type == "alreadyReplaced":
		return true
	case p.Status >= http.StatusInternalServerError && p.Type != "":
		words := strings.ToLower(p.Type + " " + p.Detail)
		for _, about := range []string{"replac", "renewal", "certid", "ari ", "given certificate", "existing order", "predecessor"} {
			if strings.Contains(words, about) {
				return true
			}
		}
		return false
	}
	return p.Status >= 400 && p.Status < 500
}
