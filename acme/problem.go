package acme

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ErrNoAccount reports that the CA knows no account for this key (RFC 8555 §7.3.1).
// It comes wrapped in a *Problem of ClassOperator.
var ErrNoAccount = errors.New("no account for this key")

// maxText is the length of a sanitised text in bytes.
const maxText = 512

// Class says what can be done about a failure; it decides when it is tried again.
type Class string

// The classes of failures.
const (
	ClassTransient Class = "transient" // network, 5xx, badNonce, a CA that talks nonsense: try again soon
	ClassWait      Class = "wait"      // the CA named a time (RFC 8555 §6.6): not before Problem.RetryAt
	ClassOperator  Class = "operator"  // somebody must act: terms, EAB, account, configuration, unacceptable certificate
	ClassName      Class = "name"      // this name is refused or could not be validated
)

// A Problem is every failure of a conversation with a CA: a problem document
// (RFC 8555 §6.7), an answer that breaks the protocol, or no answer at all.
// All its text is sanitised: printable, one line, at most 512 bytes a field.
type Problem struct {
	CA          string       // nickname
	Operation   string       // as in Exchange
	Type        string       // such as "rateLimited", without the URN prefix; empty if the CA sent none
	Detail      string       // the CA's own words, or ours
	Status      int          // HTTP status; zero without an answer
	Class       Class        // what can be done about it; never empty in an error of Client
	RetryAt     time.Time    // UTC, from Retry-After clamped to 1 s - 24 h from now; 1 h from now for ClassWait without one; else zero
	RetryGuess  bool         // RetryAt is not the CA's: it named no time
	Instance    string       // such as the URL of a page about it; text only, never fetched
	Paused      bool         // of rateLimited: the CA has paused the account for a name until a person acts; RetryAt is then a day from now
	Unpause     string       // http(s) URL at which a person can end that; empty if the CA gave none; text only, never fetched
	Identifier  Identifier   // that it is about; zero if none
	Challenge   string       // type of the challenge that failed, such as "http-01"; empty if none did
	Subproblems []Subproblem // RFC 8555 §6.7.1
	Err         error        // cause below; nil for problem documents

	request string // what was asked for in the words of RFC 8555, such as "newOrder"; empty means Operation
}

// A Subproblem is the part of a problem that concerns one identifier (RFC 8555 §6.7.1).
type Subproblem struct {
	Type       string
	Detail     string
	Identifier Identifier
}

// Error says who refused what, in the CA's own words, and what comes next:
// "letsencrypt: newOrder: rateLimited (429): too many certificates; try again
// after 2026-11-20T13:00:00Z".
func (p *Problem) Error() string {
	var b strings.Builder
	part := func(s string) {
		if s != "" {
			if b.Len() > 0 {
				b.WriteString(": ")
			}
			b.WriteString(s)
		}
	}
	part(p.CA)
	if p.request != "" {
		part(p.request)
	} else {
		part(p.Operation)
	}
	part(p.Identifier.Value)
	if !strings.Contains(p.text(), p.Challenge) {
		part(p.Challenge)
	}
	switch {
	case p.Type != "" && p.Status >= 400:
		part(fmt.Sprintf("%s (%d)", p.Type, p.Status))
	case p.Type != "":
		part(p.Type)
	case p.Status >= 400:
		part(fmt.Sprintf("HTTP status %d", p.Status))
	}
	part(p.text())
	p.appendSubproblems(&b)
	if p.Instance != "" {
		fmt.Fprintf(&b, "; see %s", p.Instance)
	}
	if !p.RetryAt.IsZero() {
		fmt.Fprintf(&b, "; try again after %s", p.RetryAt.UTC().Format(time.RFC3339))
	}
	return b.String()
}

// text is the detail, or the cause where there is none.
func (p *Problem) text() string {
	if p.Detail == "" && p.Err != nil {
		return Sanitize(p.Err.Error())
	}
	return p.Detail
}

// appendSubproblems writes the first few subproblems, each with its identifier.
func (p *Problem) appendSubproblems(b *strings.Builder) {
	const most = 5
	for i, s := range p.Subproblems {
		if i == most {
			fmt.Fprintf(b, "; and %d more", len(p.Subproblems)-most)
			return
		}
		b.WriteString("; ")
		if s.Identifier.Value != "" {
			b.WriteString(s.Identifier.Value + ": ")
		}
		fmt.Fprintf(b, "%s: %s", s.Type, s.Detail)
	}
}

// Unwrap returns the cause, such as context.Canceled, ErrNoAccount or an error
// of the network; nil for problem documents.
func (p *Problem) Unwrap() error { return p.Err }

// LogValue groups the fields that are set.
func (p *Problem) LogValue() slog.Value {
	var attrs []slog.Attr
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	add("ca", p.CA)
	add("operation", p.Operation)
	add("type", p.Type)
	add("detail", p.text())
	if p.Status != 0 {
		attrs = append(attrs, slog.Int("status", p.Status))
	}
	add("class", string(p.Class))
	if !p.RetryAt.IsZero() {
		attrs = append(attrs, slog.Time("retry_at", p.RetryAt))
	}
	add("instance", p.Instance)
	add("unpause", p.Unpause)
	add("identifier", p.Identifier.Value)
	for _, s := range p.Subproblems {
		add("subproblem", fmt.Sprintf("%s: %s: %s", s.Identifier.Value, s.Type, s.Detail))
	}
	return slog.GroupValue(attrs...)
}

// ClassOf returns the class of the Problem that err wraps. Other errors are
// transient; nil has no class.
func ClassOf(err error) Class {
	if err == nil {
		return ""
	}
	if p, ok := errors.AsType[*Problem](err); ok && p.Class != "" {
		return p.Class
	}
	return ClassTransient
}

// Sanitize makes text of a CA fit for a terminal, a log line and a file: valid
// UTF-8, printable, white space collapsed to one space, at most 512 bytes.
func Sanitize(s string) string { return clip(s, maxText) }

// clip is Sanitize with a limit in bytes, which must be at least 3.
func clip(s string, limit int) string {
	const ellipsis = "…"
	var b strings.Builder
	space := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case r == utf8.RuneError || !unicode.IsPrint(r):
			r = '?'
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
		if b.Len() > limit {
			break
		}
	}
	text := b.String()
	if len(text) <= limit {
		return text
	}
	text = text[:limit-len(ellipsis)]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text + ellipsis
}
