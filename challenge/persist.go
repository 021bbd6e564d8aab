package challenge

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"certd/acme"
	"certd/challenge/dnscheck"
)

// The challenge types of drafts: dns-account-01 is dns-01 under a label of the
// account (draft-ietf-acme-dns-account-label), and dns-persist-01 has a TXT record
// that stays (draft-ietf-acme-dns-persist).
const (
	TypeDNSAccount01 = "dns-account-01"
	TypeDNSPersist01 = "dns-persist-01"
)

// Bounds of the records that are read.
const (
	maxPersistTexts = 100
	maxPersistText  = 2 << 10 // bytes
	persistTime     = 15 * time.Second
)

// AccountLabel is the label in front of "_acme-challenge" for dns-account-01: by
// it each account has a record of its own. account is its URL.
func AccountLabel(account string) string {
	sum := sha256.Sum256([]byte(account))
	return "_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:10]))
}

// PersistName is the name of the TXT records of dns-persist-01 for a name, "*."
// or not.
func PersistName(name string) string {
	return "_validation-persist." + strings.TrimPrefix(strings.ToLower(name), "*.")
}

// A PersistRecord is one TXT record of dns-persist-01: who may issue to whom.
type PersistRecord struct {
	Issuer   string    // name of the CA, as in CAA records
	Account  string    // URL
	Wildcard bool      // for the wildcard, and names below, too
	Until    time.Time // UTC; zero means for ever
}

// String is the text of the record.
func (r PersistRecord) String() string {
	s := r.Issuer + "; accounturi=" + r.Account
	if r.Wildcard {
		s += "; policy=wildcard"
	}
	if !r.Until.IsZero() {
		s += "; persistUntil=" + strconv.FormatInt(r.Until.Unix(), 10)
	}
	return s
}

// ParsePersist reads the text of a record, in the syntax of RFC 8659 §4.2.
func ParsePersist(text string) (PersistRecord, error) {
	const blank = " \t"
	if len(text) > maxPersistText {
		return PersistRecord{}, fmt.Errorf("it is longer than %d bytes", maxPersistText)
	}
	parts := strings.Split(text, ";")
	r := PersistRecord{Issuer: strings.ToLower(strings.Trim(parts[0], blank))}
	if r.Issuer == "" {
		return PersistRecord{}, errors.New("it names no CA")
	}
	seen := map[string]bool{}
	for _, part := range parts[1:] {
		key, value, ok := strings.Cut(part, "=")
		key, value = strings.ToLower(strings.Trim(key, blank)), strings.Trim(value, blank)
		switch {
		case !ok || key == "":
			return PersistRecord{}, fmt.Errorf("%q is not key=value", strings.Trim(part, blank))
		case seen[key]:
			return PersistRecord{}, fmt.Errorf("%q comes twice", key)
		case strings.ContainsFunc(value, func(c rune) bool { return c < '!' || c > '~' }):
			return PersistRecord{}, fmt.Errorf("the value of %q has characters that it must not", key)
		}
		seen[key] = true
		switch key {
		case "accounturi":
			r.Account = value
		case "policy":
			r.Wildcard = strings.EqualFold(value, "wildcard")
		case "persistuntil":
			seconds, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return PersistRecord{}, fmt.Errorf("persistUntil %q is no time in seconds", value)
			}
			r.Until = time.Unix(seconds, 0).UTC()
		}
	}
	if r.Account == "" {
		return PersistRecord{}, errors.New("it has no accounturi")
	}
	return r, nil
}

// permits says what is wrong with r for a name, empty if it is right. No issuers
// mean that any will do.
func (r PersistRecord) permits(issuers []string, account string, wildcard bool, now time.Time) string {
	switch {
	case len(issuers) > 0 && !slices.Contains(issuers, r.Issuer):
		return "is for another CA"
	case r.Account != account:
		return "is for another account than " + account
	case wildcard && !r.Wildcard:
		return "does not say policy=wildcard"
	case !r.Until.IsZero() && !now.Before(r.Until):
		return "ended at " + r.Until.Format(time.RFC3339)
	}
	return ""
}

// Persist uses TXT records of dns-persist-01 that somebody has created. It
// matches issue.Solver and issue.Preparer.
type Persist struct {
	Checker *dnscheck.Checker // must be set
	Account string            // URL
}

// Prepared returns nil if the record is there, and says what is missing if not.
func (p *Persist) Prepared(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	if id.Type != "dns" || !isHost(id.Value) || strings.Contains(id.Value, ":") {
		return fmt.Errorf("challenge for %q: %w", acme.Sanitize(id.Value), errNoDNSName)
	}
	if len(ch.IssuerDomains) == 0 {
		return errors.New("the CA does not say which issuer domain name the record must have")
	}
	return p.Check(ctx, id.Value, ch.IssuerDomains, ch.Wildcard)
}

// Check returns nil if a record lets one of issuers (empty means any CA) issue
// for name to the account. The error names the record to create.
func (p *Persist) Check(ctx context.Context, name string, issuers []string, wildcard bool) error {
	ctx, cancel := context.WithTimeout(ctx, persistTime)
	defer cancel()
	record := PersistName(name)
	texts, err := p.Checker.Texts(ctx, record)
	if err != nil {
		return fmt.Errorf("look up TXT record %s: %w", record, err)
	}
	wanted := PersistRecord{Issuer: "<the CA's name>", Account: p.Account, Wildcard: wildcard}
	if len(issuers) > 0 {
		wanted.Issuer = issuers[0]
	}
	create := fmt.Sprintf("; create the record: %s. TXT %q", record, wanted)
	if len(texts) == 0 {
		return errors.New("there is no TXT record " + record + create)
	}
	var wrong []string
	for _, text := range texts[:min(len(texts), maxPersistTexts)] {
		r, err := ParsePersist(text)
		why := ""
		if err != nil {
			why = "is malformed: " + err.Error()
		} else if why = r.permits(issuers, p.Account, wildcard, time.Now()); why == "" {
			return nil
		}
		if len(wrong) < 3 {
			wrong = append(wrong, fmt.Sprintf("%.200q %s", text, why))
		}
	}
	return errors.New("TXT record " + record + ": " + strings.Join(wrong, "; ") + create)
}

// Present does nothing but to look again: the record is somebody else's.
func (p *Persist) Present(ctx context.Context, id acme.Identifier, ch acme.Challenge) error {
	return p.Prepared(ctx, id, ch)
}

// CleanUp leaves the record as it is.
func (p *Persist) CleanUp(context.Context, acme.Identifier, acme.Challenge) error { return nil }
