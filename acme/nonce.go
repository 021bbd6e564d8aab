package acme

import (
	"context"
	"sync"
	"time"
)

const (
	maxNonces   = 128 // kept: one for each of that many orders at once
	maxNonceLen = 256 // bytes
)

// noncePatience is how long a request waits for the nonce of another's answer
// before it asks for one of its own: with a CA close by there is one at once, and
// with one far away as many nonces are asked for as requests are under way.
const noncePatience = 100 * time.Millisecond

// nonces keeps the anti-replay nonces that came with answers (RFC 8555 §6.5), so
// that newNonce is asked only at the start. The newest is used first, because
// CAs forget old ones.
type nonces struct {
	mu    sync.Mutex
	stack []string      // guarded by mu
	out   int           // guarded by mu: requests whose answers will bring one
	back  chan struct{} // guarded by mu: closed when one has; nil while nobody waits
}

// put ends a request that take began, and keeps the nonce of its answer, unless it
// is not one (§6.5.1: invalid values are ignored).
func (n *nonces) put(nonce string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.out = max(0, n.out-1)
	if validNonce(nonce) && len(n.stack) < maxNonces {
		n.stack = append(n.stack, nonce)
	}
	if n.back != nil {
		close(n.back)
		n.back = nil
	}
}

// take begins a request: it returns the newest nonce and forgets it, or "" if the
// CA has to be asked for one, because no answer brings one within noncePatience.
func (n *nonces) take(ctx context.Context) string {
	patience := time.NewTimer(noncePatience)
	defer patience.Stop()
	for {
		nonce, back := n.pop()
		if back == nil {
			return nonce
		}
		select {
		case <-back:
			continue
		case <-patience.C:
		case <-ctx.Done():
		}
		n.mu.Lock()
		n.out = 1 // ours: what we waited for may be lost
		n.mu.Unlock()
		return ""
	}
}

// pop returns the newest nonce, or "" if none will come by itself, or what to wait
// for.
func (n *nonces) pop() (nonce string, back <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	last := len(n.stack) - 1
	switch {
	case last >= 0:
		nonce, n.stack = n.stack[last], n.stack[:last]
	case n.out > 0:
		if n.back == nil {
			n.back = make(chan struct{})
		}
		return "", n.back
	}
	n.out++
	return nonce, nil
}

// clear forgets every nonce: the CA rejected one, and they are all older than
// the one in its answer.
func (n *nonces) clear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stack = nil
}

// validNonce reports whether s is base64url of a sane length (RFC 8555 §6.5.1).
func validNonce(s string) bool {
	return s != "" && len(s) <= maxNonceLen && isBase64URL(s)
}

// isBase64URL reports whether s has only characters of the URL-safe alphabet
// (RFC 4648 §5), without padding.
func isBase64URL(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
