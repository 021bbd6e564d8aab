package issue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"certd/acme"
)

// maxAlternates bounds the chains that are looked at; Let's Encrypt has offered three.
const maxAlternates = 20

// Smallest is the Request.Chain that asks for the chain of the fewest bytes.
const Smallest = "smallest"

// An offer is a chain that the CA has for a certificate, accepted.
type offer struct {
	*Accepted
	der [][]byte // as downloaded, perhaps with its root
}

// A match tells how well a chain is what was asked for.
type match int

const (
	noMatch  match = iota
	inChain        // an issuer in the chain is the one
	topMatch       // the topmost issuer is the one
)

// prefer chooses among first and the alternate chains (RFC 8555 §7.4.2) the one
// that Request.Chain asks for: by the common name of its topmost issuer, else of
// any issuer in it; by the SHA-256 fingerprint, in hex, of a certificate above
// the leaf or of the root it leads to; or by its size. Alternates are downloaded
// only if first does not settle it, and must be accepted as first was. If none
// will do, it is first, and notice says so.
func (r *run) prefer(ctx context.Context, first offer, alternates []string, want Wanted) (best *Accepted, notice string, err error) {
	wish := r.req.Chain
	if wish == "" || wish != Smallest && first.matches(wish, want.roots()) == topMatch {
		return first.Accepted, "", nil
	}
	offers := []offer{first}
	var failed []error
	for _, url := range alternates[:min(len(alternates), maxAlternates)] {
		o, err := r.alternate(ctx, url, first.Leaf, want)
		if err != nil && ctx.Err() != nil {
			return nil, "", err // the next run goes on here
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		offers = append(offers, o)
	}
	if wish == Smallest {
		return slices.MinFunc(offers, func(a, b offer) int { return len(a.ChainPEM) - len(b.ChainPEM) }).Accepted, "", nil
	}
	for _, least := range []match{topMatch, inChain} {
		for _, o := range offers {
			if o.matches(wish, want.roots()) >= least {
				return o.Accepted, "", nil
			}
		}
	}
	return first.Accepted, r.noSuchChain(offers, failed), nil
}

// roots are those that a chain may lead to as far as they are known; nil means the
// system's.
func (w Wanted) roots() *x509.CertPool {
	if w.Roots == nil {
		return w.Anchors
	}
	return w.Roots
}

// alternate downloads another chain for the certificate leaf.
func (r *run) alternate(ctx context.Context, url string, leaf *x509.Certificate, want Wanted) (offer, error) {
	chain, err := r.Client.Certificate(ctx, url)
	if err != nil {
		return offer{}, err
	}
	accepted, err := Accept(chain.DER, want)
	if err == nil && !accepted.Leaf.Equal(leaf) {
		err = errors.New("it is for another certificate")
	}
	if err != nil {
		return offer{}, fmt.Errorf("alternate chain %s is not accepted: %w", acme.Sanitize(url), err)
	}
	return offer{Accepted: accepted, der: chain.DER}, nil
}

// accept judges chain as Accept does. If the certificate is as it should be, and only
// its issuers are not, such as one that has expired, the first alternate chain will
// do that is accepted, and notice says so.
func (r *run) accept(ctx context.Context, chain *acme.CertificateChain, want Wanted) (first offer, notice string, err error) {
	accepted, err := Accept(chain.DER, want)
	if err == nil {
		return offer{Accepted: accepted, der: chain.DER}, "", nil
	}
	leaf := soundLeaf(chain.DER, want)
	if leaf == nil {
		return offer{}, "", err
	}
	for _, url := range chain.Alternates[:min(len(chain.Alternates), maxAlternates)] {
		o, failed := r.alternate(ctx, url, leaf, want)
		if failed == nil {
			return o, "the CA's first chain is not accepted, another that it offers is used: " + err.Error(), nil
		}
		if ctx.Err() != nil {
			return offer{}, "", failed // the next run goes on here
		}
	}
	return offer{}, "", err
}

// soundLeaf returns the certificate in chain that is wanted, whatever is wrong with
// its issuers; nil if there is none.
func soundLeaf(chain [][]byte, want Wanted) *x509.Certificate {
	if want.Now.IsZero() {
		want.Now = time.Now()
	}
	certs, err := parseChain(chain)
	if err != nil {
		return nil
	}
	leaf, err := findLeaf(certs, want.Key)
	if err != nil || checkLeaf(leaf, want) != nil {
		return nil
	}
	return leaf
}

// noSuchChain says what was asked for, what there is, and what could not be read.
func (r *run) noSuchChain(offers []offer, failed []error) string {
	var have []string
	for _, o := range offers {
		have = append(have, quote(o.certs[len(o.certs)-1].Issuer.CommonName))
	}
	notice := fmt.Sprintf("the CA offers no chain %q, its first is used; the topmost issuers of those it offers: %s",
		r.req.Chain, strings.Join(slices.Compact(have), ", "))
	if len(failed) > 0 {
		notice += "; not looked at: " + acme.Sanitize(errors.Join(failed...).Error())
	}
	return notice
}

// matches tells whether the chain is the wanted one.
func (o offer) matches(wish string, roots *x509.CertPool) match {
	if sum, ok := fingerprint(wish); ok {
		if o.holds(sum) || o.leadsTo(sum, roots) {
			return topMatch
		}
		return noMatch
	}
	for i := len(o.certs) - 1; i >= 0; i-- {
		if o.certs[i].Issuer.CommonName != wish {
			continue
		}
		if i == len(o.certs)-1 {
			return topMatch
		}
		return inChain
	}
	return noMatch
}

// fingerprint reads a SHA-256 fingerprint, with or without colons.
func fingerprint(s string) ([]byte, bool) {
	sum, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	return sum, err == nil && len(sum) == sha256.Size
}

// holds reports whether a certificate above the leaf has this fingerprint; the
// root is among them if the CA sent it.
func (o offer) holds(sum []byte) bool {
	return slices.ContainsFunc(o.der, func(der []byte) bool {
		have := sha256.Sum256(der)
		return bytes.Equal(have[:], sum) && !bytes.Equal(der, o.Leaf.Raw)
	})
}

// leadsTo reports whether a root with this fingerprint, of roots or else of the
// system's, signed the topmost certificate.
func (o offer) leadsTo(sum []byte, roots *x509.CertPool) bool {
	middle := x509.NewCertPool()
	for _, cert := range o.certs[1:] {
		middle.AddCert(cert)
	}
	paths, err := o.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle, CurrentTime: o.Leaf.NotBefore})
	n := len(o.certs)
	return err == nil && slices.ContainsFunc(paths, func(path []*x509.Certificate) bool {
		if len(path) != n+1 || !slices.EqualFunc(path[:n], o.certs, (*x509.Certificate).Equal) {
			return false
		}
		have := sha256.Sum256(path[n].Raw)
		return bytes.Equal(have[:], sum)
	})
}
