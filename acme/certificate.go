package acme

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"

	xacme "golang.org/x/crypto/acme"
)

// A CertificateChain is a certificate as downloaded, not yet judged.
type CertificateChain struct {
	DER        [][]byte // the leaf, as the CA has it, then its issuers; one to five
	Alternates []string // URLs of the same certificate with other chains (RFC 8555 §7.4.2); those of a foreign origin are left out
}

// Certificate downloads the certificate at url, Order.Certificate or one of
// CertificateChain.Alternates (RFC 8555 §7.4.2). It has been
// parsed, but it may be for anybody and from anybody.
func (c *Client) Certificate(ctx context.Context, url string) (*CertificateChain, error) {
	chain := &CertificateChain{}
	r := request{name: "certificate", op: "cert", limit: maxCertificate, repeat: true}
	var notPEM error
	err := c.signed(ctx, r, url, func(ctx context.Context, x *xacme.Client) error {
		chain.DER, notPEM = x.FetchCert(ctx, url, true)
		return notPEM
	}, func(a *answer) error {
		if notPEM != nil {
			return notPEM
		}
		for i, der := range chain.DER {
			if _, err := x509.ParseCertificate(der); err != nil {
				return fmt.Errorf("certificate %d of the chain cannot be read: %w", i+1, err)
			}
		}
		chain.Alternates = c.alternates(a)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return chain, nil
}

// alternates returns the URLs of other chains in a, each once. What we could not
// request is left out: the certificate is no worse for it.
func (c *Client) alternates(a *answer) []string {
	var urls []string
	for _, ref := range links(a.header, "alternate") {
		url, err := c.origin.resolve("alternate certificate", a.url, ref)
		if err == nil && !slices.Contains(urls, url) {
			urls = append(urls, url)
		}
	}
	return urls
}
