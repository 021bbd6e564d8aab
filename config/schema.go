package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// schema is every key of a target file but those that decide together with
// others (see read).
func (t *Target) schema() schema {
	c := &t.Challenge
	return schema{
		"satisfy.names":    into(&t.Names, list(maxNames, name)),
		"satisfy.key.type": into(&t.parts.satisfy, checked(keyAlgorithm)),
		"satisfy.margin":   into(&t.Margin, between(0, 3650)),

		"request.names":            into(&t.RequestNames, list(maxNames, name)),
		"request.key.type":         into(&t.parts.request, checked(keyAlgorithm)),
		"request.key.rsa-size":     into(&t.parts.bits, between(minRSABits, maxRSABits)),
		"request.key.ecdsa-curve":  into(&t.parts.curve, checked(keyCurve)),
		"request.key.id":           into(&t.KeyID, checked(keyID)),
		"request.key.reuse":        into(&t.KeyReuse, boolean),
		"request.key.":             into(&t.KeyReuse, checked(keyWord)),
		"request.profile":          t.profile,
		"request.ocsp-must-staple": into(&t.MustStaple, boolean),
		"request.preferred-chain":  into(&t.Chain, text),

		"request.challenge.method":         into(&c.Method, checked(ParseMethod)),
		"request.challenge.webroot-paths":  into(&c.WebrootPaths, list(64, checked(absolute))),
		"request.challenge.http-ports":     into(&c.HTTPPorts, ports),
		"request.challenge.tls-ports":      into(&c.TLSPorts, ports),
		"request.challenge.http-self-test": into(&c.SelfTest, boolean),
		"request.challenge.env":            environment(&c.Env),
		"request.challenge.dns-provider":   into(&c.DNSProvider, checked(token)),
		"request.challenge.dns-env-file":   into(&c.DNSEnvFile, checked(absolute)),
		"request.challenge.delegate":       into(&c.Delegate, checked(recordName)),

		"priority": into(&t.Priority, between(-1<<31, 1<<31-1)),
		"label":    into(&t.Label, checked(label)),
		"probe":    into(&t.Probe, hostList),

		"files.owner": into(&t.Files.Owner, checked(token)),
		"files.group": into(&t.Files.Group, checked(token)),
		"files.mode":  into(&t.Files.Mode, checked(mode)),
	}
}

// profile reads request.profile: a name, which is required then, or a mapping that
// says whether it is.
func (t *Target) profile(v value) {
	if v.node.Kind != yaml.MappingNode {
		if name, ok := checked(token)(v); ok {
			t.Profile, t.ProfileWish = name, false
		}
		return
	}
	name, required := "", true
	before := len(v.mistakes)
	v.mapping(v.node, v.key+".", "", schema{"name": into(&name, checked(token)), "required": into(&required, boolean)})
	switch {
	case len(v.mistakes) > before:
	case name == "":
		v.refuse("has no name; want the name of a profile, or {name: shortlived, required: false}")
	default:
		t.Profile, t.ProfileWish = name, !required
	}
}

// label accepts what may stand behind the colon of a live name.
func label(s string) (string, error) {
	if len(s) > 63 || strings.HasPrefix(s, ".") || strings.HasPrefix(s, "-") ||
		strings.ContainsFunc(s, func(r rune) bool { return !letterOrDigit(r) && !strings.ContainsRune("-_.", r) }) {
		return "", fmt.Errorf("label %s: want at most 63 letters, digits, \"-\", \"_\" or \".\", beginning with a letter or digit", quote(s))
	}
	return s, nil
}

// nickname accepts the name of a CA.
func nickname(s string) (string, error) {
	if _, err := label(s); err != nil || s != strings.ToLower(s) {
		return "", fmt.Errorf("CA name %s: want at most 63 lower-case letters, digits, \"-\", \"_\" or \".\", or a URL that begins with https://", quote(s))
	}
	return s, nil
}

// token accepts one word of printable ASCII.
func token(s string) (string, error) {
	if len(s) > 253 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("/\\\"'`$", r) }) {
		return "", fmt.Errorf("%s: want one word of letters, digits and signs, at most 253", quote(s))
	}
	return s, nil
}

// keyWord accepts what may stand behind request.key in place of a mapping.
func keyWord(s string) (bool, error) {
	if s != "reuse" {
		return false, fmt.Errorf("%s: want reuse, or \"type:\" and other keys below it", quote(s))
	}
	return true, nil
}

// recordName accepts the name of a DNS record, in which labels may have "_".
func recordName(s string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if err := checkLabels(strings.ReplaceAll(name, "_", "x")); err != nil || len(name) > 253 {
		return "", fmt.Errorf("%s is no name of a DNS record; want one such as x7.acme.example.net", quote(s))
	}
	return name, nil
}

// keyID accepts the name of a directory of keys/.
func keyID(s string) (string, error) {
	if len(s) != 52 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return "", fmt.Errorf("%s is no key ID; want the 52 letters and digits of a directory name in keys/", quote(s))
	}
	return s, nil
}
