package acme

import (
	"encoding/json"
	"net/url"
	"strings"
)

// maxPageURL bounds the URL of a page for people: that of Let's Encrypt has a
// token in it.
const maxPageURL = 2048

// A detail is text for people to read, and the first URL in it, which may be too
// long for the text.
type detail struct {
	text string // sanitised
	url  string // as webURL returns it
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *detail) UnmarshalJSON(data []byte) error {
	var s string
	if json.Unmarshal(data, &s) != nil {
		return nil
	}
	d.text = Sanitize(s)
	for _, scheme := range []string{"https://", "http://"} {
		if _, rest, ok := strings.Cut(s, scheme); ok {
			word, _, _ := strings.Cut(rest, " ")
			d.url = webURL(scheme + strings.TrimRight(word, ".,;:)>\"'"))
			break
		}
	}
	return nil
}

// webURL returns s if it is an http or https URL that can be shown to people as it
// is: of printable ASCII without a user and of a sensible length; else nothing.
func webURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || len(s) > maxPageURL || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil {
		return ""
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"'`<>\\", r) }) {
		return ""
	}
	return s
}

// saysPaused recognises the rateLimited answer of a CA that serves an account no
// more for a name, because of too many failures, until a person acts. It has no
// type of its own: Boulder tells it by its words and a link to unpause.
func saysPaused(w *wireProblem) bool {
	for _, s := range []string{w.Detail.text, w.Detail.url, string(w.Instance)} {
		s = strings.ToLower(s)
		if strings.Contains(s, "paused") || strings.Contains(s, "unpause") || strings.Contains(s, "temporarily prevented from requesting") {
			return true
		}
	}
	return false
}
