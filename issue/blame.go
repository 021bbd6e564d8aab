package issue

import (
	"errors"

	"certd/acme"
)

// Blame says whose failure it is that there is no certificate, and so whether
// another CA may do better.
type Blame string

// The blames.
const (
	// BlameCA: the CA could not be reached, answered with an error of its own, broke
	// the protocol, took too long, or gave a certificate that is not acceptable.
	BlameCA Blame = "ca"
	// BlameRefusal: this CA does not serve us, or not like this: its terms, an
	// external account binding, the account, the profile, the kind of identifier.
	BlameRefusal Blame = "refusal"
	// BlameLimit: the CA limits how much it is asked, see Problem.RetryAt.
	BlameLimit Blame = "limit"
	// BlameOwn: a name that is refused or could not be validated, or this machine.
	// No other CA would help.
	BlameOwn Blame = "own"
)

// A broken error is that the CA broke the protocol or its promises.
type broken struct{ error }

func (b broken) Unwrap() error { return b.error }

// BlameOf returns whose failure an error of Issue, or of acme.Client, is. nil is
// nobody's, which is empty.
func BlameOf(err error) Blame {
	if err == nil {
		return ""
	}
	problem, ok := errors.AsType[*acme.Problem](err)
	if _, nonsense := errors.AsType[broken](err); nonsense && acme.ClassOf(err) != acme.ClassName {
		return BlameCA
	}
	if !ok || problem.CA == "" { // it did not come from the CA
		return BlameOwn
	}
	switch problem.Class {
	case acme.ClassTransient:
		return BlameCA
	case acme.ClassWait:
		if problem.Type == "rateLimited" {
			return BlameLimit
		}
		return BlameCA
	case acme.ClassOperator:
		return blameRefusal(problem)
	}
	if problem.Type == "unsupportedIdentifier" {
		return BlameRefusal
	}
	return BlameOwn
}

// blameRefusal tells refusals that are this CA's from those that any would share.
func blameRefusal(p *acme.Problem) Blame {
	switch p.Type {
	case "userActionRequired", "externalAccountRequired", "accountDoesNotExist", "unsupportedContact", "invalidContact",
		"invalidProfile", "unauthorized":
		return BlameRefusal
	}
	if p.Operation == "account" || p.Operation == "directory" || p.Status == 401 || p.Status == 403 {
		return BlameRefusal
	}
	return BlameOwn
}

// itsTurn reports whether the run last waited for the CA, and not for something
// here, such as a hook or the self-test.
func (r *run) itsTurn() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last != "authorize" && r.last != "self-test"
}
