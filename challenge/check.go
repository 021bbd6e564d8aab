package challenge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"certd/acme"
)

// TypeHTTP01 is the challenge type this package answers (RFC 8555 §8.3).
const TypeHTTP01 = "http-01"

// PathPrefix is where a CA looks for the answer, followed by the token (RFC 8555 §8.3).
const PathPrefix = "/.well-known/acme-challenge/"

// ErrToken reports a challenge that no way will touch: its token is not
// [A-Za-z0-9_-]{22,128}, or its key authorization does not belong to the token.
var ErrToken = errors.New("the CA sent a malformed token; nothing was written")

// check refuses what must never become a file name, a map key or an argument,
// whoever failed to refuse it earlier. Its errors do not repeat the token.
func check(id acme.Identifier, ch acme.Challenge) error {
	if !acme.ValidToken(ch.Token) {
		return fmt.Errorf("challenge for %q: %w", shorten(acme.Sanitize(id.Value), 255), ErrToken)
	}
	thumb, ok := strings.CutPrefix(ch.KeyAuthorization, ch.Token+".")
	if !ok || !isBase64URL(thumb) {
		return fmt.Errorf("challenge for %q: key authorization is not token.thumbprint: %w", shorten(acme.Sanitize(id.Value), 255), ErrToken)
	}
	if strings.HasPrefix(id.Value, "*.") {
		return fmt.Errorf("challenge for %q: %s cannot prove a wildcard name; use the method dns", shorten(acme.Sanitize(id.Value), 255), acme.Sanitize(ch.Type))
	}
	if !isHost(id.Value) {
		return fmt.Errorf("challenge for %q: not a host name or IP address", shorten(acme.Sanitize(id.Value), 255))
	}
	return nil
}

// isBase64URL reports whether s is 1 to 128 characters of the base64url alphabet.
func isBase64URL(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return !isAlphanumeric(r) && r != '-' && r != '_'
	})
}

// isHost reports whether s can be handed to a hook or a URL as it is: letters,
// digits, and "-._:" inside. The full grammar of names is config.ParseName's.
func isHost(s string) bool {
	if s == "" || len(s) > 253 || s[0] == '-' || s[0] == '.' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !isAlphanumeric(r) && !strings.ContainsRune("-._:", r)
	})
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// reasons are several errors on one line.
type reasons []error

// Error joins the reasons with "; ".
func (r reasons) Error() string {
	s := make([]string, len(r))
	for i, err := range r {
		s[i] = err.Error()
	}
	return strings.Join(s, "; ")
}

// Unwrap gives the reasons to errors.Is and errors.As.
func (r reasons) Unwrap() []error { return r }

// err is nil if there are no reasons.
func (r reasons) err() error {
	if len(r) == 0 {
		return nil
	}
	return r
}

// cause strips the operation and the (temporary) file name off an error of
// package os, for a caller that names both in better words.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
