package state

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// What certd notes in a certificate's directory beside its files. The first two
// are acmetool's, whose are empty.
const (
	markRevoke   = "revoke"    // revocation is wanted; holds the reason
	markRevoked  = "revoked"   // it is done; holds the reason
	markSetAside = "set-aside" // not to be linked, because of a rollback
	markExpiring = "expiring"  // the event "expiring" was raised; holds its step
)

// readMarks reads the marks that are there.
func (c *certDir) readMarks() {
	wanted, reason := c.readMark(markRevoke)
	revoked, done := c.readMark(markRevoked)
	c.Revoked, c.RevokePending, c.RevokeReason = wanted || revoked, wanted && !revoked, cmp.Or(done, reason)
	c.SetAside, _ = c.readMark(markSetAside)
	_, c.Expiring = c.readMark(markExpiring)
}

// readMark reads one mark. One that cannot be read is there all the same.
func (c *certDir) readMark(name string) (there bool, text string) {
	data, _, err := c.dir.read(name, &c.buf.small)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist), ""
	}
	return true, strings.TrimSpace(string(data))
}

// setMark makes or removes a mark.
func (s *Store) setMark(certID, mark, text string, set bool) error {
	err := checkID("certificate", certID)
	var t *tree
	if err == nil {
		t, err = s.writer()
	}
	name := "certs/" + certID + "/" + mark
	if err == nil {
		_, err = t.root.Lstat("certs/" + certID + "/url")
	}
	switch {
	case err != nil:
	case set:
		err = t.putFile(name, []byte(text+"\n"), false)
	default:
		if _, missing := t.root.Lstat(name); missing == nil {
			err = t.remove(name)
		}
	}
	if err != nil {
		return fmt.Errorf("mark certificate %s: %w", certID, err)
	}
	return nil
}

// MarkRevoke makes durable that a certificate is to be revoked, and why (as in RFC
// 5280, such as "keyCompromise"): from now on it is replaced, not linked again, and
// each pass asks the CA until MarkRevoked or UnmarkRevoke.
func (s *Store) MarkRevoke(certID, reason string) error {
	return s.setMark(certID, markRevoke, reason, true)
}

// MarkRevoked makes durable that the CA has revoked a certificate.
func (s *Store) MarkRevoked(certID, reason string) error {
	return s.setMark(certID, markRevoked, reason, true)
}

// UnmarkRevoke takes MarkRevoke back: the CA will not revoke the certificate.
func (s *Store) UnmarkRevoke(certID string) error {
	return s.setMark(certID, markRevoke, "", false)
}

// SetAside keeps a certificate from being linked, or lets it be again.
func (s *Store) SetAside(certID string, aside bool) error {
	return s.setMark(certID, markSetAside, "", aside)
}

// MarkExpiring makes durable that the event "expiring" was raised for a
// certificate, and for which step.
func (s *Store) MarkExpiring(certID, step string) error {
	return s.setMark(certID, markExpiring, step, true)
}

// Leaf reads a certificate. It needs no lock.
func (s *Store) Leaf(certID string) (*x509.Certificate, error) {
	leaf, err := s.leaf(certID)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s: %w", certID, err)
	}
	return leaf, nil
}

func (s *Store) leaf(certID string) (*x509.Certificate, error) {
	if err := checkID("certificate", certID); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	data, err := readFile(root, "certs/"+certID+"/cert")
	if err != nil {
		return nil, err
	}
	certs, err := parseChain(data)
	if err == nil && len(certs) != 1 {
		err = fmt.Errorf("%d certificates, want 1", len(certs))
	}
	if err != nil {
		return nil, err
	}
	return certs[0], nil
}
