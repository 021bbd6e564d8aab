package acmetest

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"strings"
)

// chainFaults: what surrounds the leaf is wrong, or no certificates come at all.
func chainFaults() []Fault {
	return append(chainOrderFaults(), chainBodyFaults()...)
}

// chainOrderFaults: the right leaf in the wrong company.
func chainOrderFaults() []Fault {
	fault := func(name, doc string, chain func(x *exchange, leaf, middle []byte) ([][]byte, error)) Fault {
		f := certificateFault(name, doc, func(x *exchange) error {
			ders, err := chain(x, x.order.leaf, x.ca.issuer.intermediate.cert.Raw)
			x.body = pemCert(ders...)
			return err
		})
		f.Acceptance = true
		return f
	}
	return []Fault{
		fault("leaf-not-first", "the intermediate comes before the leaf", func(_ *exchange, leaf, middle []byte) ([][]byte, error) {
			return [][]byte{middle, leaf}, nil
		}).optional(),
		fault("missing-intermediate", "the leaf comes alone", func(_ *exchange, leaf, _ []byte) ([][]byte, error) {
			return [][]byte{leaf}, nil
		}),
		fault("unrelated-chain", "the leaf comes with somebody else's intermediate", func(_ *exchange, leaf, _ []byte) ([][]byte, error) {
			stranger, err := newRoot("acmetest stranger")
			if err != nil {
				return nil, err
			}
			return [][]byte{leaf, stranger.cert.Raw}, nil
		}),
		fault("same-name-chain", "the intermediate has the right name and another key", func(_ *exchange, leaf, _ []byte) ([][]byte, error) {
			stranger, err := newRoot("acmetest intermediate")
			if err != nil {
				return nil, err
			}
			return [][]byte{leaf, stranger.cert.Raw}, nil
		}),
		fault("two-leaves", "a second leaf follows the first", func(x *exchange, leaf, middle []byte) ([][]byte, error) {
			second, err := x.ca.issuer.issue([]string{"other.example.net"}, x.order.request.PublicKey, nil)
			return [][]byte{leaf, second, middle}, err
		}),
		fault("loop", "the intermediate is there twice", func(_ *exchange, leaf, middle []byte) ([][]byte, error) {
			return [][]byte{leaf, middle, middle}, nil
		}).optional(),
		fault("root-included", "the root is there, too", func(x *exchange, leaf, middle []byte) ([][]byte, error) {
			return [][]byte{leaf, middle, x.ca.issuer.root.cert.Raw}, nil
		}).optional(),
		fault("leaf-twice", "the leaf is there twice", func(_ *exchange, leaf, middle []byte) ([][]byte, error) {
			return [][]byte{leaf, leaf, middle}, nil
		}).optional(),
		fault("root-only", "the root comes instead of the leaf", func(x *exchange, _, _ []byte) ([][]byte, error) {
			return [][]byte{x.ca.issuer.root.cert.Raw}, nil
		}),
	}
}

// chainBodyFaults: the body is not the PEM of a few certificates.
func chainBodyFaults() []Fault {
	fault := func(name, doc string, change func(x *exchange)) Fault {
		f := certificateFault(name, doc, func(x *exchange) error {
			change(x)
			return nil
		})
		f.Class = "" // nonsense, or somebody's to look at: the client's to say
		return f
	}
	return []Fault{
		fault("junk", "the body is text", func(x *exchange) { x.body = []byte("not a certificate\n") }),
		fault("empty", "the body is empty", func(x *exchange) { x.body = nil }),
		fault("der", "the body is DER", func(x *exchange) { x.body = x.order.leaf }),
		fault("junk-der", "the PEM block has no certificate in it", func(x *exchange) { x.body = pemCert([]byte("junk")) }),
		fault("cut", "the PEM ends in the middle of the leaf", func(x *exchange) { x.body = pemCert(x.order.leaf)[:100] }),
		fault("private-key", "a private key is among the certificates", func(x *exchange) {
			x.body = append(x.body, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("junk")})...)
		}),
		fault("50-certificates", "there are 50 certificates", func(x *exchange) {
			x.body = append(x.body, bytes.Repeat(x.ca.issuer.root.pem(), 48)...)
		}),
		fault("300KiB", "the chain has 300 KiB", func(x *exchange) {
			x.body = append(x.body, bytes.Repeat([]byte("# padding\n"), 30<<10)...)
		}),
		fault("text-before", "text surrounds the PEM", func(x *exchange) { x.body = append([]byte("Your certificate:\n"), x.body...) }).optional(),
		fault("crlf", "the PEM has CRLF line ends", func(x *exchange) {
			x.body = bytes.ReplaceAll(x.body, []byte("\n"), []byte("\r\n"))
		}).overcome(),
		fault("content-type", "the chain claims to be HTML", func(x *exchange) { x.header.Set("Content-Type", "text/html") }).optional(),
		fault("1000-alternates", "there are 1,000 alternate chains", func(x *exchange) {
			for i := range 1000 {
				x.header.Add("Link", fmt.Sprintf(`<%s>;rel="alternate"`, x.ca.main.url(fmt.Sprintf("/cert/%s/alternate?n=%d", x.order.id, i))))
			}
		}).optional(),
		fault("garbled-links", "the Link headers make no sense", func(x *exchange) {
			x.header["Link"] = []string{"<", ">;rel=alternate", `<>;rel="alternate"`, strings.Repeat("<", 10000), ";;,,;rel=up"}
		}).optional(),
	}
}
