// Package challenge proves control of identifiers to a CA: http-01 by webroot,
// proxy, listener, stateless web server or hook (RFC 8555 §8.3).
package challenge

import (
	"context"
	"os"

	"certd/acme"
)

// A Solver is what every way of this package is; it matches issue.Solver.
type Solver interface {
	Present(ctx context.Context, id acme.Identifier, ch acme.Challenge) error
	CleanUp(ctx context.Context, id acme.Identifier, ch acme.Challenge) error
}

// A Way is one place where an answer to http-01 can be made visible. Present
// returns soon and may be called again for the same challenge; CleanUp is quick,
// removes what Present made, and is right also if there is nothing to remove.
// Both refuse a challenge whose token is malformed before they touch anything.
// The contract is the suite challengetest.Run.
type Way interface {
	Solver
	// Name says which way this is, in words for an error: "listen 127.0.0.1:402".
	Name() string
}

// A HookFunc runs an event such as "challenge-http-start" in every hook and
// reports whether one of them handled it. Hooks have hold, which may be nil, open
// while they run.
type HookFunc func(ctx context.Context, event string, args []string, stdin []byte, env map[string]string, hold *os.File) (handled bool, err error)

// adviser is a Way that knows what the operator must have set up for it to work:
// advice is a clause such as "the web server must ...".
type adviser interface {
	advice() string
}

// presenter is a Way of several places: present is Present that also says which
// of the places failed although another worked.
type presenter interface {
	present(ctx context.Context, id acme.Identifier, ch acme.Challenge) (failed reasons, err error)
}
