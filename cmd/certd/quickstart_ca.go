package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"certd/config"
)

// byURL answers choose-server for a CA that is none of the list.
const byURL = "url"

// caQuestions are about the CA. Each answer is tried out on the CA at once.
func caQuestions() []question {
	return append([]question{
		{
			id:      "choose-server",
			text:    say("Which CA shall sign your certificates?"),
			help:    say("Let's Encrypt is free and trusted everywhere; its staging CA is for trying things out, no browser trusts it."),
			initial: (*setup).presentCA,
			choices: (*setup).knownCAs,
			url:     byURL,
			take:    takeServer,
		},
		{
			id:   "enter-directory-url",
			text: say("Directory URL of the CA:"),
			help: say("The https address that the CA's documentation calls ACME directory, such as https://ca.internal/acme/acme/directory."),
			when: func(s *setup) bool { return s.answers["choose-server"] == byURL },
			take: takeDirectory,
		},
		{
			id:      "ca-bundle",
			text:    say("File with the CA's root certificates (PEM):"),
			help:    say("This machine does not trust the CA's own TLS certificate, so certd has to know who signs it; an internal CA has such a file."),
			when:    func(s *setup) bool { return s.untrusted },
			initial: func(s *setup) string { return s.old["ca-bundle"] },
			take:    takeBundle,
		},
	}, customerQuestions()...)
}

// customerQuestions are about what a CA's directory asks for and offers.
func customerQuestions() []question {
	return []question{
		{
			id:      "eab-kid",
			text:    say("Key identifier of the external account binding (kid):"),
			help:    say("This CA makes accounts only for its customers: its web page gives you a key identifier and a secret (HMAC key)."),
			when:    (*setup).needsEAB,
			initial: func(s *setup) string { return s.ca.EABKeyID },
			take: func(_ context.Context, s *setup, answer string) (string, error) {
				if answer == "" || strings.ContainsAny(answer, " \t\"'") {
					return "", errors.New("want the key identifier as the CA shows it, one word")
				}
				s.ca.EABKeyID = answer
				return answer, nil
			},
		},
		{
			id:      "eab-hmac-file",
			text:    say("File with the HMAC key:"),
			help:    say("Put the secret into a file that only root, or the user certd runs as, can read; certd needs it once, and again if the account is ever lost."),
			when:    (*setup).needsEAB,
			initial: func(s *setup) string { return s.ca.EABHMACFile },
			take:    takeHMAC,
		},
		{
			id:       "profile",
			text:     say("Certificate profile:"),
			help:     say("Profiles are kinds of certificates that this CA offers, such as short-lived ones; its default is right for almost everybody."),
			when:     func(s *setup) bool { return len(s.profiles()) > 0 },
			expert:   true,
			optional: true,
			initial:  func(s *setup) string { return orText(s.present.Profile, noProfile) },
			choices: func(s *setup) []choice {
				out := []choice{{noProfile, "the CA's default", ""}}
				for _, name := range s.profiles() {
					out = append(out, choice{name, name, ""})
				}
				return out
			},
			take: func(_ context.Context, s *setup, answer string) (string, error) {
				if answer != noProfile && !slices.Contains(s.profiles(), answer) {
					return "", fmt.Errorf("%s has no profile %q; it has %s", s.ca.Name, answer, join(s.profiles()))
				}
				return answer, nil
			},
		},
	}
}

// noProfile answers profile for the CA's own default.
const noProfile = "none"

// profiles are the names of the CA's profiles, sorted.
func (s *setup) profiles() []string {
	if s.directory == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.directory.Profiles))
}

func (s *setup) needsEAB() bool {
	return s.directory != nil && s.directory.EABRequired && !s.account
}

// knownCAs are the CAs to choose from: well-known ones, those of conf/certd.yaml,
// and any other by its URL.
func (s *setup) knownCAs() []choice {
	const eab = "wants an external account binding (EAB)"
	out := []choice{
		{"letsencrypt", "Let's Encrypt", "free, nothing to prepare"},
		{"letsencrypt-staging", "Let's Encrypt staging", "for tests, no browser trusts it"},
		{"zerossl", "ZeroSSL", eab},
		{"google", "Google Trust Services", eab},
		{"google-test", "Google Trust Services, test", eab},
		{"sslcom-ecc", "SSL.com, ECDSA", eab},
		{"sslcom-rsa", "SSL.com, RSA", eab},
		{"actalis", "Actalis", eab},
		{"sectigo", "Sectigo", eab},
		{"globalsign", "GlobalSign", eab},
		{"digicert", "DigiCert", eab},
		{"litessl", "LiteSSL", eab},
		{"freessl", "FreeSSL", eab},
	}
	for _, ca := range s.settings.CAs {
		if !slices.ContainsFunc(out, func(c choice) bool { return c.value == ca.Name }) {
			out = append(out, choice{ca.Name, ca.Name, "in conf/certd.yaml"})
		}
	}
	if name := s.presentCA(); !slices.ContainsFunc(out, func(c choice) bool { return c.value == name }) {
		out = append(out, choice{name, name, "in conf/target"})
	}
	return append(out, choice{byURL, "another CA", "type the URL of its directory"})
}

// takeServer takes a name of the list, url, or the URL itself as acmetool's
// response files have it.
func takeServer(ctx context.Context, s *setup, answer string) (string, error) {
	if answer == byURL {
		return byURL, nil
	}
	if answer == "" {
		return "", errors.New("want the name of a CA, or the URL of its directory")
	}
	if strings.Contains(answer, "/") {
		return takeDirectory(ctx, s, answer)
	}
	ca, err := s.settings.CA(answer)
	if err != nil {
		return "", err
	}
	s.custom = false
	return ca.Name, s.meet(ctx, ca)
}

// takeDirectory takes the URL of any CA. One that is known is called by its name.
func takeDirectory(ctx context.Context, s *setup, answer string) (string, error) {
	if !strings.Contains(answer, "/") {
		return "", fmt.Errorf("%q is no URL such as https://ca.internal/acme/acme/directory", answer)
	}
	ca, err := s.settings.CA(answer)
	if err != nil {
		return "", err
	}
	if _, err = s.settings.CA(ca.Name); err != nil {
		if ca.Name, err = s.newName(ca.Directory); err != nil {
			return "", err
		}
		s.custom = true
	} else {
		s.custom = false
	}
	return answer, s.meet(ctx, ca)
}

// newName makes a name for a CA from the host of its directory.
func (s *setup) newName(directory string) (string, error) {
	u, err := url.Parse(directory)
	if err != nil {
		return "", err
	}
	host := strings.Trim(strings.ReplaceAll(strings.ToLower(u.Hostname()), ":", "-"), "-.")
	name := host
	for i := 2; ; i++ {
		if _, err := s.settings.CA(name); err != nil {
			return name, nil
		}
		name = fmt.Sprintf("%s-%d", host, i)
	}
}

func takeBundle(ctx context.Context, s *setup, answer string) (string, error) {
	if !filepath.IsAbs(answer) {
		return "", fmt.Errorf("%q is no absolute path", answer)
	}
	answer = s.image.inside(answer)
	ca := s.ca
	ca.Bundle = answer
	if err := s.meet(ctx, ca); err != nil {
		s.ca.Bundle, s.untrusted = "", true
		return "", err
	}
	return answer, nil
}

func takeHMAC(_ context.Context, s *setup, answer string) (string, error) {
	if !filepath.IsAbs(answer) {
		return "", fmt.Errorf("%q is no absolute path", answer)
	}
	answer = s.image.inside(answer)
	ca := s.image.ca(config.CA{Name: s.ca.Name, EABKeyID: s.ca.EABKeyID, EABHMACFile: answer})
	if _, _, err := ca.EAB(); err != nil {
		return "", err
	}
	s.ca.EABHMACFile = answer
	return answer, nil
}

// isUntrusted reports whether a TLS certificate was signed by somebody unknown.
func isUntrusted(err error) bool {
	_, ok := errors.AsType[x509.UnknownAuthorityError](err)
	return ok
}
