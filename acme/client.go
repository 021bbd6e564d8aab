package acme

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	xacme "golang.org/x/crypto/acme"
)

const (
	minRSABits   = 2048
	callTimeouts = 3 // a call with its repetitions may last this many request timeouts
)

// A Client talks to one CA as one account. It may be used by many goroutines at
// once. Every error of its methods is a *Problem. It asks for the directory once,
// and looks its account up only if the account URL was not given; make a new one
// now and then, and after a key change. Close it when done.
type Client struct {
	name         string
	directoryURL string
	origin       origin
	key          crypto.Signer // nil: only the directory can be read
	userAgent    string
	observe      func(Exchange) // may be nil
	timeout      time.Duration  // of one HTTP request
	transport    *http.Transport

	directory flight[*directory]
	account   flight[string] // account URL
	nonces    nonces
	pace      pace
}

// New checks o and returns a Client; nothing is sent yet. Its error is a
// *Problem of ClassOperator that names the option to mend.
func New(o Options) (*Client, error) {
	c := &Client{
		name:         Sanitize(o.Name),
		directoryURL: o.Directory,
		key:          o.Key,
		userAgent:    o.UserAgent,
		observe:      o.Observe,
		timeout:      o.Timeout,
	}
	if c.timeout <= 0 {
		c.timeout = requestTimeout
	}
	if c.userAgent == "" {
		c.userAgent = "certd"
	}
	u, err := parseURL(o.Directory)
	if err != nil {
		return nil, c.misconfigured("directory", err)
	}
	if c.name == "" {
		c.name = u.Host
	}
	c.origin = originOf(u)
	if err := checkKey(o.Key); err != nil {
		return nil, c.misconfigured("account key", err)
	}
	if o.KID != "" {
		if err := c.origin.check("account URL", o.KID); err != nil {
			return nil, c.problem(request{op: "account"}, nil, err)
		}
		c.account.set(o.KID)
	}
	roots, err := parseRoots(o.RootsPEM)
	if err != nil {
		return nil, c.misconfigured("ca-bundle", err)
	}
	c.transport = newTransport(roots, c.timeout)
	return c, nil
}

// misconfigured is the error of New about one option.
func (c *Client) misconfigured(option string, err error) error {
	return &Problem{CA: c.name, Operation: option, Class: ClassOperator, Err: err}
}

// checkKey returns an error if requests cannot be signed with key (RFC 8555
// §6.2); no key is fine.
func checkKey(key crypto.Signer) error {
	if key == nil {
		return nil
	}
	switch pub := key.Public().(type) {
	case *rsa.PublicKey:
		if pub.N.BitLen() < minRSABits {
			return fmt.Errorf("an RSA key of %d bits; CAs want %d or more", pub.N.BitLen(), minRSABits)
		}
		return nil
	case *ecdsa.PublicKey:
		if pub.Curve != elliptic.P256() && pub.Curve != elliptic.P384() && pub.Curve != elliptic.P521() {
			return fmt.Errorf("ECDSA on curve %s; use P-256, P-384 or P-521", pub.Params().Name)
		}
		return nil
	default:
		return fmt.Errorf("a key of type %T; use RSA or ECDSA", pub)
	}
}

// parseRoots reads the trusted roots; nil stays nil, the system's.
func parseRoots(pem []byte) (*x509.CertPool, error) {
	if pem == nil {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("it holds no certificate in PEM")
	}
	return pool, nil
}

// library returns golang.org/x/crypto/acme for one call.
func (c *Client) library(k *call) *xacme.Client {
	kid, _ := c.account.peek()
	return &xacme.Client{
		Key:          c.key,
		HTTPClient:   &http.Client{Transport: k},
		DirectoryURL: c.directoryURL,
		RetryBackoff: k.backoff,
		UserAgent:    c.userAgent,
		KID:          xacme.KeyID(kid),
	}
}

// signed makes a call to target that the account signs.
func (c *Client) signed(ctx context.Context, r request, target string, f func(context.Context, *xacme.Client) error, read func(*answer) error) error {
	if err := c.origin.check(r.name, target); err != nil {
		return c.problem(r, nil, err)
	}
	if err := c.prepare(ctx, r); err != nil {
		return err
	}
	return c.do(ctx, r, f, read)
}

// prepare makes sure that the directory and the account URL are there.
func (c *Client) prepare(ctx context.Context, r request) error {
	if c.key == nil {
		return c.problem(r, nil, &Problem{Class: ClassOperator, Detail: "there is no account key to sign with; register an account first"})
	}
	if _, err := c.loadDirectory(ctx); err != nil {
		return err
	}
	_, err := c.account.get(ctx, func(ctx context.Context) (string, error) {
		a, err := c.FindAccount(ctx)
		if err != nil {
			return "", err
		}
		return a.URL, nil
	})
	if _, ok := errors.AsType[*Problem](err); err != nil && !ok {
		return c.problem(r, nil, err)
	}
	return err
}

// postAsGet reads the JSON object at target (RFC 8555 §6.3).
func (c *Client) postAsGet(ctx context.Context, r request, target string, read func(*answer) error) error {
	r.repeat = true
	return c.signed(ctx, r, target, func(ctx context.Context, x *xacme.Client) error {
		_, err := x.GetAuthorization(ctx, target) // the library's plainest POST-as-GET; read decodes the answer
		return err
	}, read)
}

// KID returns the account URL, which names the account in every signed request
// (RFC 8555 §6.2); empty while it is not known.
func (c *Client) KID() string {
	kid, _ := c.account.peek()
	return kid
}

// Thumbprint returns the RFC 7638 thumbprint of the account key.
func (c *Client) Thumbprint() (string, error) {
	if c.key == nil {
		return "", c.misconfigured("thumbprint", errors.New("there is no account key"))
	}
	t, err := Thumbprint(c.key.Public())
	if err != nil {
		return "", c.misconfigured("thumbprint", err)
	}
	return t, nil
}

// Thumbprint returns the RFC 7638 thumbprint of an account key.
func Thumbprint(key crypto.PublicKey) (string, error) { return xacme.JWKThumbprint(key) }

// KeyAuthorization returns token "." thumbprint, what a challenge wants to see
// (RFC 8555 §8.1). A token that is not valid is refused.
func (c *Client) KeyAuthorization(token string) (string, error) {
	if !ValidToken(token) {
		return "", c.misconfigured("key authorization", fmt.Errorf("token %q is not base64url of 22 to 128 characters", clip(token, 50)))
	}
	t, err := c.Thumbprint()
	if err != nil {
		return "", err
	}
	return token + "." + t, nil
}

// Close closes idle connections. Requests that still run are not disturbed.
func (c *Client) Close() { c.transport.CloseIdleConnections() }
