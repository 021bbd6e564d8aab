package issue

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"certd/acme"
)

// finalize sends the CSR of a ready order (RFC 8555 §7.4). The key is durable
// and journaled before; the CSR never goes out with a second key for one order.
func (r *run) finalize(ctx context.Context, order *acme.Order) (*acme.Order, error) {
	r.at = "finalize"
	if err := r.takeKey(); err != nil {
		return nil, err
	}
	csr, err := newCSR(r.key, r.open.Names, r.req.Staple)
	if err != nil {
		return nil, r.giveUp(ctx, order, nil, r.problem(acme.ClassOperator, acme.Identifier{}, err))
	}
	r.step(r.firstName(), "finalize")
	after, err := r.Client.Finalize(ctx, order, csr)
	if err == nil {
		return after, nil
	}
	if notReady(err) && ctx.Err() == nil {
		if order, err = r.wait(ctx, order, func(o *acme.Order) bool { return o.Status != acme.StatusPending }); err != nil {
			return nil, err
		}
		if order.Status != acme.StatusReady {
			return order, nil // the CSR had arrived
		}
		if after, err = r.Client.Finalize(ctx, order, csr); err == nil {
			return after, nil
		}
	}
	if ctx.Err() != nil {
		return nil, err
	}
	// The CSR may have arrived, now or in the run before.
	after, readErr := r.Client.Order(ctx, order.URL)
	if readErr != nil {
		return nil, err
	}
	switch after.Status {
	case acme.StatusProcessing, acme.StatusValid:
		return after, nil
	case acme.StatusInvalid:
		return nil, r.giveUp(ctx, after, nil, err)
	}
	if badRequest(err) { // so it would be next time: the next order gets a new key
		return nil, r.giveUp(ctx, after, nil, err)
	}
	return nil, err
}

// notReady reports whether the CA says that the order is not ready (RFC 8555 §7.4).
func notReady(err error) bool {
	p, ok := errors.AsType[*acme.Problem](err)
	return ok && p.Type == "orderNotReady"
}

// badRequest reports whether the CA can't stand this CSR or key.
func badRequest(err error) bool {
	p, ok := errors.AsType[*acme.Problem](err)
	return ok && (p.Type == "badCSR" || p.Type == "badPublicKey" || p.Type == "badSignatureAlgorithm")
}

// collect waits for the certificate of a finalized order, downloads and accepts it.
func (r *run) collect(ctx context.Context, order *acme.Order) (*Certificate, error) {
	if r.key == nil {
		// Only a finalize that was never ours brings us here.
		return nil, r.giveUp(ctx, order, nil, r.nonsense("the CA's order is "+string(order.Status)+" and was not finalized by us"))
	}
	cert, err := r.download(ctx, order)
	if err != nil && ctx.Err() == nil && r.age() > stuckAfter {
		return nil, r.giveUp(ctx, order, nil, err)
	}
	return cert, err
}

func (r *run) download(ctx context.Context, order *acme.Order) (*Certificate, error) {
	if order.Status != acme.StatusValid {
		var err error
		order, err = r.wait(ctx, order, func(o *acme.Order) bool { return o.Status == acme.StatusValid })
		if err != nil {
			return nil, err
		}
	}
	r.at = "cert"
	r.step(r.firstName(), "download")
	if order.Certificate == "" {
		return nil, r.nonsense("the CA's order is valid and has no certificate")
	}
	chain, err := r.Client.Certificate(ctx, order.Certificate)
	if err != nil {
		return nil, err
	}
	want := Wanted{Names: canonicalNames(r.open.Names), Key: r.key.Public(), Roots: r.req.Roots, Anchors: r.req.Anchors}
	first, notice, err := r.accept(ctx, chain, want)
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	if err != nil {
		clock := ourClock(chain.DER, want, err)
		err = r.problem(acme.ClassOperator, acme.Identifier{}, fmt.Errorf("the certificate of order %s is not accepted: %w", order.URL, err))
		if clock { // once it is right, the certificate is downloaded again
			return nil, err
		}
		return nil, r.giveUp(ctx, order, nil, broken{err})
	}
	accepted, other, err := r.prefer(ctx, first, chain.Alternates, want)
	if err != nil {
		return nil, err
	}
	return &Certificate{
		Open: r.open, KeyID: r.open.KeyID,
		Leaf: accepted.Leaf, CertPEM: accepted.CertPEM, ChainPEM: accepted.ChainPEM,
		Notice: strings.Trim(notice+"; "+other, "; "),
	}, nil
}

// ourClock reports whether chain would have been accepted but for its dates.
func ourClock(chain [][]byte, want Wanted, err error) bool {
	date, ok := errors.AsType[*DateError](err)
	if !ok {
		return false
	}
	want.Now = date.NotBefore
	_, err = Accept(chain, want)
	return err == nil
}

func canonicalNames(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = acme.NewIdentifier(name).Value
	}
	return out
}
