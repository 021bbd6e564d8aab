package acme

import (
	"context"
	"crypto/x509"
	"fmt"

	xacme "golang.org/x/crypto/acme"
)

// A CertificateChain is a certificate as downloaded, not yet judged.
type CertificateChain struct {
	DER        [][]byte // the leaf, as the CA has it, then its issuers; one to five
	Alternates []string // URLs of the same certificate with other chains (RFC 8555 §7.4.2)
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
	}, func(a *answer) (err error) {
		if notPEM != nil {
			return notPEM
		}
		for i, der := range chain.DER {
			if _, err := x509.ParseCertificate(der); err != nil {
				return fmt.Errorf("certificate %d of the chain cannot be read: %w", i+1, err)
			}
		}
		chain.Alternates, err = c.resolveAll("alternate certificate", a.url, links(a.header, "alternate"))
		return err
	})
	if err != nil {
		return nil, err
	}
	return chain, nil
}
