package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"

	"certd/acme"
	"certd/challenge"
	"certd/state"
)

// causeOf puts a failure into one of the words of the label "cause" of the
// metrics; phase is where the issuance was.
func causeOf(err error, phase string) string {
	if cause := clockCause(err); cause != "" {
		return cause
	}
	if p := problemOf(err); p != nil {
		if cause := problemCause(p); cause != "" {
			return cause
		}
	}
	var network net.Error
	_, dns := errors.AsType[*net.DNSError](err)
	_, op := errors.AsType[*net.OpError](err)
	_, path := errors.AsType[*fs.PathError](err)
	switch {
	case errors.Is(err, challenge.ErrUnhandled):
		return "hook"
	case dns, errors.Is(err, challenge.ErrNoAddress):
		return "dns"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case phase == "propagate", op:
		return "connect"
	case phase == "install", path, errors.Is(err, state.ErrNotLocked):
		return "store"
	}
	return "other"
}

// clockCause recognises a certificate of the CA's server that has expired or is
// not valid yet: rather than the CA it is this machine's clock.
func clockCause(err error) string {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "clock"
	}
	return ""
}

// problemCause is the cause that a CA has named, or empty.
func problemCause(p *acme.Problem) string {
	switch p.Type {
	case "dns", "caa", "unauthorized":
		return p.Type
	case "incorrectResponse":
		return "unauthorized"
	case "connection", "tls":
		return "connect"
	case "rateLimited":
		return "rate_limited"
	case "serverInternal":
		return "ca_internal"
	case "badCSR":
		return "csr"
	case "badPublicKey", "badSignatureAlgorithm":
		return "key"
	}
	switch {
	case p.Class == acme.ClassWait:
		return "rate_limited"
	case p.Status >= 500:
		return "ca_internal"
	}
	return ""
}
