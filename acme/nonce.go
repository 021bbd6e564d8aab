package acme

import "sync"

const (
	maxNonces   = 128 // kept: one for each of that many orders at once
	maxNonceLen = 256 // bytes
)

// nonces keeps the anti-replay nonces that came with answers (RFC 8555 §6.5), so
// that newNonce is asked only at the start. The newest is used first, because
// CAs forget old ones.
type nonces struct {
	mu    sync.Mutex
	stack []string // guarded by mu
}

// put keeps nonce, unless it is not one (§6.5.1: invalid values are ignored).
func (n *nonces) put(nonce string) {
	if !validNonce(nonce) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.stack) < maxNonces {
		n.stack = append(n.stack, nonce)
	}
}

// take returns the newest nonce and forgets it, or "" if there is none.
func (n *nonces) take() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.stack) == 0 {
		return ""
	}
	last := len(n.stack) - 1
	nonce := n.stack[last]
	n.stack = n.stack[:last]
	return nonce
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
