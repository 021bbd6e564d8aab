package acme

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	xacme "golang.org/x/crypto/acme"
)

const (
	maxNonceTries  = 8 // repetitions after badNonce within one call
	maxServerTries = 2 // repetitions after a 5xx
)

// errAnswered stops golang.org/x/crypto/acme from sending more than was asked for.
var errAnswered = errors.New("the question of this call was answered")

// A request says what a call asks a CA.
type request struct {
	name    string         // in the words of RFC 8555, for errors
	op      string         // Exchange.Operation
	limit   int64          // of a successful answer in bytes; zero means maxJSON
	repeat  bool           // may be sent again after a 5xx, because it changes nothing or the same
	once    bool           // nothing may be sent after the first successful answer
	members map[string]any // to put into the payload, for what the library cannot say; nil means none
}

// A call is one use of golang.org/x/crypto/acme, and the http.RoundTripper under
// it. The library's client is made anew for each call, as it would make callers
// wait for each other without regard to their contexts; what lasts (directory,
// nonces, account) lives in our Client and is handed to the library as if it came
// from the network. Not for concurrent use.
type call struct {
	request
	client *Client
	last   *answer // to the last request that went out, but not of newNonce if that gave a nonce
	failed error   // the *Problem because of which there is no answer
	over   bool    // answered, and request.once

	nonceTries, serverTries int
}

// RoundTrip implements http.RoundTripper.
func (k *call) RoundTrip(req *http.Request) (*http.Response, error) {
	if k.over {
		return nil, errAnswered
	}
	a, err := k.answer(req)
	if err != nil {
		k.failed = err
		return nil, err
	}
	return a.response(req), nil
}

// response is the answer as net/http would have given it.
func (a *answer) response(req *http.Request) *http.Response {
	return &http.Response{
		Status:        strconv.Itoa(a.status) + " " + http.StatusText(a.status),
		StatusCode:    a.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        a.header,
		Body:          io.NopCloser(bytes.NewReader(a.body)),
		ContentLength: int64(len(a.body)),
		Request:       req,
	}
}

// answer answers req from what the client knows, or sends it.
func (k *call) answer(req *http.Request) (*answer, error) {
	c := k.client
	switch req.Method {
	case http.MethodGet: // the library reads nothing else without signing
		if d, ok := c.directory.peek(); ok {
			return &answer{url: c.directoryURL, status: http.StatusOK, header: http.Header{}, body: d.body}, nil
		}
	case http.MethodHead:
		return k.nonce(req)
	case http.MethodPost:
		if k.members != nil {
			var err error
			if req, err = withMembers(req, c.key, k.members); err != nil {
				c.nonces.put("")
				return nil, &Problem{Class: ClassOperator, Detail: "cannot sign", Err: err}
			}
		}
	}
	a, err := k.send(req, k.request)
	if err != nil {
		c.nonces.put("")
		return nil, err
	}
	k.last = a
	if a.status == http.StatusBadRequest && isBadNonce(answerProblem(a, k.name)) {
		c.nonces.clear()
	}
	c.nonces.put(a.header.Get("Replay-Nonce"))
	a.header.Del("Replay-Nonce") // ours to keep: the library asks for each one it needs
	k.over = k.once && a.ok()
	return a, nil
}

// nonce answers a request for a nonce. A failing CA is asked up to
// maxServerTries times more.
func (k *call) nonce(req *http.Request) (a *answer, err error) {
	defer func() {
		if err != nil {
			k.client.nonces.put("") // no request follows
		}
	}()
	if nonce := k.client.nonces.take(req.Context()); nonce != "" {
		return &answer{status: http.StatusOK, header: http.Header{"Replay-Nonce": {nonce}}}, nil
	}
	r := request{name: "newNonce", op: "nonce"}
	for try := 1; ; try++ {
		a, err = k.send(req, r)
		if err != nil {
			return nil, err
		}
		switch {
		case a.ok() && validNonce(a.header.Get("Replay-Nonce")):
			return a, nil
		case a.ok():
			return nil, k.client.problem(r, a, errors.New("the answer has no usable Replay-Nonce header"))
		case !a.mayRepeat() || try > maxServerTries:
			return nil, k.client.problem(r, a, answerProblem(a, r.name))
		}
		if err := sleep(req.Context(), serverDelay(try)); err != nil {
			return nil, k.client.problem(r, nil, err)
		}
	}
}

// send sends req for r if it may leave, and returns the answer unless it is a redirect.
func (k *call) send(req *http.Request, r request) (*answer, error) {
	c := k.client
	if err := c.origin.check("request", req.URL.String()); err != nil {
		return nil, c.problem(r, nil, err)
	}
	limit := r.limit
	if limit == 0 {
		limit = maxJSON
	}
	a, err := c.exchange(req, r.op, limit)
	if err != nil {
		return nil, c.problem(r, nil, err)
	}
	if a.status >= 300 && a.status <= 399 {
		return nil, c.problem(r, nil, &Problem{Class: ClassTransient, Status: a.status, Detail: Sanitize(fmt.Sprintf(
			"the CA redirects to %q, which certd does not follow; if the CA has moved, change its directory URL",
			clip(a.header.Get("Location"), 200)))})
	}
	return a, nil
}

// mayRepeat reports whether the CA failed in a way that may pass within a second.
func (a *answer) mayRepeat() bool {
	return a.status >= 500 && a.header.Get("Retry-After") == ""
}

// backoff is xacme.Client.RetryBackoff: how long to wait before the request is
// repeated, or -1 for not at all. 429 and all long waits are left to the caller.
func (k *call) backoff(_ int, _ *http.Request, _ *http.Response) time.Duration {
	switch {
	case k.last == nil:
		return -1
	case k.last.status >= 400 && isBadNonce(answerProblem(k.last, k.name)):
		if k.nonceTries++; k.nonceTries <= maxNonceTries {
			return 10*time.Millisecond + rand.N(40*time.Millisecond)
		}
	case k.repeat && k.last.mayRepeat():
		if k.serverTries++; k.serverTries <= maxServerTries {
			return serverDelay(k.serverTries)
		}
	}
	return -1
}

// serverDelay is the wait before the nth repetition after a 5xx.
func serverDelay(n int) time.Duration {
	return time.Duration(n)*200*time.Millisecond + rand.N(100*time.Millisecond)
}

// isBadNonce reports whether the CA did nothing but reject our nonce (RFC 8555 §6.5).
func isBadNonce(err error) bool {
	p, ok := errors.AsType[*Problem](err)
	return ok && strings.EqualFold(p.Type, "badNonce")
}

// do makes one call: f uses the library, read takes what is needed from the
// answer. The error is a *Problem. After too many badNonce the call is made once
// more, as the CA has done nothing yet.
func (c *Client) do(ctx context.Context, r request, f func(context.Context, *xacme.Client) error, read func(*answer) error) error {
	err := c.try(ctx, r, f, read)
	if isBadNonce(err) && ctx.Err() == nil {
		err = c.try(ctx, r, f, read)
	}
	return err
}

// try is do without the repetition.
func (c *Client) try(ctx context.Context, r request, f func(context.Context, *xacme.Client) error, read func(*answer) error) error {
	limited, cancel := context.WithTimeout(ctx, callTimeouts*c.timeout)
	defer cancel()
	k := &call{request: r, client: c}
	err := f(limited, c.library(k))
	_, refused := errors.AsType[*xacme.Error](err)
	a := k.last
	switch {
	case err == nil || k.over: // there is an answer to read
	case ctx.Err() != nil:
		return c.problem(r, nil, ctx.Err())
	case limited.Err() != nil:
		return c.problem(r, nil, fmt.Errorf("not done within %v", callTimeouts*c.timeout))
	case k.failed != nil:
		return c.problem(r, nil, k.failed)
	case a == nil: // nothing was sent
		return c.problem(r, nil, &Problem{Class: ClassOperator, Err: err})
	case !a.ok():
		return c.problem(r, a, answerProblem(a, r.name))
	case refused:
		return c.problem(r, a, fmt.Errorf("status %d is not the one of RFC 8555", a.status))
	}
	// The library may have stumbled over something that we do not need; what
	// counts is our own reading.
	if err := read(a); err != nil {
		return c.problem(r, a, err)
	}
	return nil
}

// problem completes or makes the *Problem of r. An err that is none means that
// the answer a is no use, whose beginning is then quoted; a may be nil.
func (c *Client) problem(r request, a *answer, err error) *Problem {
	var p *Problem
	if known, ok := errors.AsType[*Problem](err); ok {
		p = new(*known) // it may be shared with others who waited for it
	} else {
		p = &Problem{Class: ClassTransient, Err: err}
		if a != nil && err != nil {
			p.Detail = Sanitize(err.Error() + "; " + quote(a.body))
		}
	}
	if a != nil && p.Status == 0 {
		p.Status = a.status
	}
	if p.Operation == "" {
		p.Operation = r.op
	}
	if p.request == "" && p.Operation == r.op {
		p.request = r.name
	}
	p.CA = c.name
	return p
}
