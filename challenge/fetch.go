package challenge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode"

	"certd/acme"
)

// Bounds of one fetch.
const (
	maxRedirects   = 10
	maxBody        = 1 << 10 // bytes; a key authorization has at most 172
	maxHeaderBytes = 16 << 10
	maxURL         = 2 << 10
	snippetLength  = 80 // bytes of a wrong answer that are shown
)

// A fetcher gets the answer from one address of the identifier, and from
// wherever it is redirected to.
type fetcher struct {
	test    *SelfTest
	host    string     // of the identifier
	addr    netip.Addr // that host stands for
	token   string
	reached atomic.Bool // addr was connected to
}

// fetch asks one address of id, as RFC 8555 §8.3 tells a CA to.
func (s *SelfTest) fetch(ctx context.Context, id acme.Identifier, ch acme.Challenge, addr netip.Addr) finding {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	f := &fetcher{test: s, host: id.Value, addr: addr, token: ch.Token}
	start := f.url()
	last, err := f.get(ctx, start, ch)
	if err == nil {
		return finding{reached: true}
	}
	via := ""
	if last != start {
		via = ", redirected to " + f.show(last)
	}
	return finding{reached: f.reached.Load(), err: fmt.Errorf("%s from %s%s: %w", f.show(start), addr, via, err)}
}

// url is where a CA starts.
func (f *fetcher) url() string {
	host := f.host
	if f.addr.Is6() && host == f.addr.String() {
		host = "[" + host + "]"
	}
	if port := orPort(f.test.Port, 80); port != 80 {
		host += ":" + strconv.Itoa(port)
	}
	return "http://" + host + PathPrefix + f.token
}

// show is a URL for an error: the token is noise there, and the rest may be
// the choice of a stranger.
func (f *fetcher) show(u string) string {
	return shorten(strings.ReplaceAll(acme.Sanitize(u), f.token, "…"), 2*snippetLength)
}

// get follows redirects and compares the answer; last is the URL it ended at.
func (f *fetcher) get(ctx context.Context, start string, ch acme.Challenge) (last string, err error) {
	last = start
	transport := &http.Transport{
		DialContext:            f.dial,
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true}, // CAs do not verify either: the certificate may be what is missing
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		last = req.URL.String()
		req.Header.Del("Referer")
		return f.allow(req.URL, len(via))
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, start, nil)
	if err != nil {
		return last, err
	}
	req.Header.Set("User-Agent", "certd self-test")
	req.Header.Set("Accept", "*/*")
	resp, err := client.Do(req)
	if err != nil {
		return last, plain(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return last, fmt.Errorf("%d, then the body ended early: %w", resp.StatusCode, plain(err))
	}
	return last, compare(resp.StatusCode, string(body), ch)
}

// allow refuses redirects that a public CA does not follow.
func (f *fetcher) allow(u *url.URL, hops int) error {
	if hops > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if len(u.String()) > maxURL {
		return errors.New("the redirect is too long")
	}
	if u.User != nil {
		return errors.New("the redirect has a user name; a CA does not follow that")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("a CA follows redirects to http and https only")
	}
	if !slices.Contains(f.ports(), portOf(u)) {
		return fmt.Errorf("a CA follows redirects to the ports %s only", f.portList())
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil && u.Hostname() != f.host {
		return errors.New("a CA does not follow redirects to IP addresses; redirect to a name")
	}
	return nil
}

// ports are those that redirects may lead to.
func (f *fetcher) ports() []string {
	ports := []string{"80", "443"}
	for _, n := range []int{f.test.Port, f.test.TLSPort} {
		if p := strconv.Itoa(n); n != 0 && !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	}
	return ports
}

func (f *fetcher) portList() string { return strings.Join(f.ports(), ", ") }

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

// dial connects to the address under test if it stands for the host, else to
// the first address of the host that answers, v6 first.
func (f *fetcher) dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	d := &net.Dialer{Timeout: dialTimeout}
	if strings.EqualFold(host, f.host) {
		c, err := d.DialContext(ctx, network, net.JoinHostPort(f.addr.String(), port))
		if err == nil {
			f.reached.Store(true)
		}
		return c, err
	}
	addrs, err := lookup(ctx, f.test.Resolver, host)
	if err != nil {
		return nil, err
	}
	d.Timeout = nextDialTimeout
	var failed reasons
	for _, addr := range addrs[:min(len(addrs), maxAddrs)] {
		c, err := d.DialContext(ctx, network, net.JoinHostPort(addr.String(), port))
		if err == nil {
			return c, nil
		}
		failed = append(failed, err)
	}
	return nil, failed
}

// plain takes the wrapping off an error that repeats the URL and the address.
func plain(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		if e.Timeout() {
			return fetchError{"no connection within its time", err}
		}
		err = e.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fetchError{"no answer within its time", err}
	}
	return fetchError{shorten(acme.Sanitize(err.Error()), 2*snippetLength), err}
}

// A fetchError has text that is safe to print, for an error that may quote a stranger.
type fetchError struct {
	text string
	err  error
}

func (e fetchError) Error() string { return e.text }
func (e fetchError) Unwrap() error { return e.err }

// compare is nil if the answer is the key authorization; white space after it
// is fine (RFC 8555 §8.3).
func compare(status int, body string, ch acme.Challenge) error {
	if status == http.StatusOK && len(body) <= maxBody && strings.TrimRightFunc(body, unicode.IsSpace) == ch.KeyAuthorization {
		return nil
	}
	if strings.TrimSpace(body) == "" {
		return fmt.Errorf("%d, empty body", status)
	}
	_, thumbprint, _ := strings.Cut(ch.KeyAuthorization, ".")
	if status == http.StatusOK && strings.HasPrefix(body, ch.Token+".") && !strings.Contains(body, thumbprint) {
		return errors.New("200, but with the thumbprint of another account key")
	}
	body = strings.NewReplacer(ch.KeyAuthorization, "(key authorization)", ch.Token, "(token)", thumbprint, "(thumbprint)").Replace(body)
	return fmt.Errorf("%d, body %q", status, shorten(acme.Sanitize(body), snippetLength))
}

// shorten cuts s after n bytes, between characters, and marks the cut.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
