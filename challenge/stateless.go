package challenge

import (
	"context"
	"fmt"
	"strings"

	"certd/acme"
)

// Stateless is the way of a web server that answers every token by itself with
// token "." thumbprint; there is nothing to do at run time.
type Stateless struct {
	Thumbprint string // of the account key (RFC 8555 §8.1), shown to the operator; empty means not known here
}

// Name is "stateless".
func (*Stateless) Name() string { return "stateless" }

func (s *Stateless) advice() string {
	thumbprint := s.Thumbprint
	if thumbprint == "" {
		thumbprint = "<thumbprint of the account key>"
	}
	return "the web server must answer " + PathPrefix + "<token> with <token>." + acme.Sanitize(thumbprint)
}

// Present does nothing but compare the thumbprint with that of the challenge.
func (s *Stateless) Present(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	if err := check(id, ch); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stateless challenge for %s: %w", id.Value, err)
	}
	if s.Thumbprint != "" && !strings.HasSuffix(ch.KeyAuthorization, "."+s.Thumbprint) {
		return fmt.Errorf("stateless challenge for %s: it belongs to another account key than the one with the thumbprint %s", id.Value, acme.Sanitize(s.Thumbprint))
	}
	return nil
}

// CleanUp does nothing.
func (*Stateless) CleanUp(_ context.Context, id acme.Identifier, ch acme.Challenge) error {
	return check(id, ch)
}
