package challenge

import (
	"net/url"
	"slices"
	"strings"
)

const leastSecret = 6 // bytes; what is shorter is in too many words

// hide takes credentials out of text: providers' errors have URLs with tokens in
// them. Which variables are credentials their names say.
func (e environment) hide(text string) string {
	var secrets []string
	for _, v := range e.vars {
		name, value, _ := strings.Cut(v, "=")
		if len(value) >= leastSecret && isSecret(name) {
			secrets = append(secrets, value, url.QueryEscape(value), url.PathEscape(value))
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}

func isSecret(name string) bool {
	name = strings.ToUpper(name)
	if strings.HasSuffix(name, "_FILE") {
		return false // a path
	}
	return slices.ContainsFunc([]string{"KEY", "SECRET", "TOKEN", "PASS", "PWD", "AUTH", "CRED", "HMAC", "SESSION"},
		func(word string) bool { return strings.Contains(name, word) })
}
