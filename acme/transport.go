package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Limits of what is taken from a CA, in bytes, and of how long it may take.
const (
	maxJSON        = 1 << 20
	maxCertificate = 256 << 10
	maxProblem     = 64 << 10
	maxHeader      = 128 << 10

	dialTimeout    = 10 * time.Second
	tlsTimeout     = 10 * time.Second
	headerTimeout  = 30 * time.Second
	requestTimeout = 60 * time.Second
	idleTimeout    = 30 * time.Second

	maxIdle = 32 // connections kept open between requests
)

// An answer is what a CA said to one request, read to its end.
type answer struct {
	url    string
	status int
	header http.Header
	body   []byte
	at     time.Time // when it was there
	took   time.Duration
}

// ok reports whether the status is one of success.
func (a *answer) ok() bool { return a.status >= 200 && a.status <= 299 }

// date returns the CA's Date header, or when the answer came if that is absent
// or garbled.
func (a *answer) date() time.Time {
	if t, err := http.ParseTime(a.header.Get("Date")); err == nil {
		return t
	}
	return a.at
}

// newTransport returns what carries the requests: HTTP/1.1, because there a
// request that times out takes its dead connection with it, over TLS verified
// against roots (nil means the system's).
func newTransport(roots *x509.CertPool, timeout time.Duration) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: min(dialTimeout, timeout)}).DialContext,
		Protocols:   &protocols,
		TLSClientConfig: &tls.Config{
			RootCAs:            roots,
			MinVersion:         tls.VersionTLS12,
			ClientSessionCache: tls.NewLRUClientSessionCache(maxIdle),
		},
		TLSHandshakeTimeout:    min(tlsTimeout, timeout),
		ResponseHeaderTimeout:  min(headerTimeout, timeout),
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true, // a small body could unpack to a huge one
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTimeout,
	}
}

// exchange sends one request and reads the answer to its end, within the
// client's timeout and with at most limit bytes of body. The error is a *Problem.
func (c *Client) exchange(req *http.Request, operation string, limit int64) (*answer, error) {
	ctx, cancel := context.WithTimeout(req.Context(), c.timeout)
	defer cancel()
	seen := Exchange{CA: c.name, Operation: operation}
	seen.Sent = time.Now()
	a, err := c.roundTrip(req.WithContext(ctx), limit)
	seen.Took = time.Since(seen.Sent)
	seen.Err = err
	if a != nil {
		seen.read(a)
	}
	if c.observe != nil {
		c.observe(seen)
	}
	if err == nil {
		return a, nil
	}
	return nil, networkProblem(req.Context(), err, a, c.timeout)
}

// read takes what is to be told of an answer.
func (e *Exchange) read(a *answer) {
	e.Status = a.status
	e.Cached = a.header.Get("Age") != ""
	if t, err := http.ParseTime(a.header.Get("Date")); err == nil {
		e.Date = t
	}
	if a.status >= 400 && e.Err == nil {
		p := answerProblem(a, e.Operation)
		e.Problem, e.RetryAt = p.Type, p.RetryAt
	}
}

// roundTrip is exchange without its deadline. If the body could not be read,
// both the answer (without it) and the error are returned.
func (c *Client) roundTrip(req *http.Request, limit int64) (*answer, error) {
	start := time.Now()
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		limit = maxProblem
	}
	a := &answer{url: req.URL.String(), status: res.StatusCode, header: res.Header}
	if req.Method != http.MethodHead && res.ContentLength > limit {
		return a, fmt.Errorf("an answer of %d bytes, more than %d", res.ContentLength, limit)
	}
	a.body, err = io.ReadAll(io.LimitReader(res.Body, limit+1))
	a.at = time.Now()
	a.took = a.at.Sub(start)
	if err != nil {
		return a, fmt.Errorf("the answer broke off: %w", err)
	}
	if int64(len(a.body)) > limit {
		return a, fmt.Errorf("an answer of more than %d bytes", limit)
	}
	return a, nil
}

// networkProblem says why there is no complete answer. ctx is the caller's: if
// it ended, that is the cause. a has the status if there was one.
func networkProblem(ctx context.Context, err error, a *answer, timeout time.Duration) *Problem {
	p := &Problem{Class: ClassTransient, Err: err}
	if a != nil {
		p.Status = a.status
	}
	var timedOut net.Error
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case ctx.Err() != nil:
		p.Err = ctx.Err()
	case untrusted:
		p.Class = ClassOperator
		p.Detail = Sanitize(fmt.Sprintf("the CA's own TLS certificate is not trusted: %v; "+
			"if this CA is right, give its root as ca-bundle, and check the clock", err))
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timedOut) && timedOut.Timeout():
		// The deadline was ours for this request; the caller's context goes on.
		p.Err = errors.New(Sanitize(fmt.Sprintf("no complete answer within %v: %v", timeout, err)))
	}
	return p
}
